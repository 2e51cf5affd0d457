"""Values that flags write as text."""

import pytest

from c3tf.config import ALL, ConfigError, parse_labeled, parse_size


def test_a_size_is_height_and_width():
    assert parse_size("window", "512x1024") == (512, 1024)
    assert parse_size("window", "512X1024") == (512, 1024)


@pytest.mark.parametrize("text", ["512", "512x", "x512", "512x-4", "0x8", "8x0", "1x2x3", "a", ""])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(ConfigError, match=rf"`--window` must be .*Received: --window={text}$"):
        parse_size("window", text)


def test_labeled_is_a_count_or_all():
    assert parse_labeled("7", 10) == 7
    assert parse_labeled(ALL, 10) == 10
    for text in ("0", "-3", "every", "", "1.5"):
        with pytest.raises(ConfigError, match=f"`--labeled` must be .*Received: {text}"):
            parse_labeled(text, 10)
