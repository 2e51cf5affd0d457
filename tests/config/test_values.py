"""Values that flags write as text."""

import pytest

from c3tf.config import ALL, ConfigError, absl_flags, parse_labeled, parse_size
from c3tf.config.values import parse_steps


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
        with pytest.raises(ConfigError, match=f"`--labeled` must be .*Received: --labeled={text}$"):
            parse_labeled(text, 10)
    assert parse_labeled("11") == 11
    with pytest.raises(
        ConfigError, match=r"`--labeled` must be at most 10, .*Received: --labeled=11"
    ):
        parse_labeled("11", 10)


def test_a_duration_is_a_number_of_steps_or_a_share_of_the_run():
    assert parse_steps("ramp", "4000", 600) == 4000
    shares = {"0%": 0, "10%": 60, "16.7%": 100, "0.5%": 3, "33.3%": 200, "100%": 600}
    assert {text: parse_steps("ramp", text, 600) for text in shares} == shares


@pytest.mark.parametrize(
    "text", ["", "%", "x%", "1.5", "-1%", "101%", "nan%", "inf%", "10 percent"]
)
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(ConfigError, match=rf"`--ramp` must be .*Received: --ramp={text}$"):
        parse_steps("ramp", text, 600)


def test_flags_take_shares_and_the_configuration_holds_steps():
    """So a run may be begun with the one and continued with the other."""
    names = ("supervised_steps", "consistency_ramp_steps", "contrast_ramp_steps")
    for steps in (1000, 3000):
        shares = absl_flags.from_files([], {"steps": steps, **dict.fromkeys(names, "16%")})
        counts = absl_flags.from_files(
            [], {"steps": steps, **dict.fromkeys(names, steps * 4 // 25)}
        )
        assert shares == counts
        assert shares.method.supervised_steps == steps * 4 // 25
    with pytest.raises(ConfigError, match="`--supervised_steps` must be below `--steps`"):
        absl_flags.from_files([], {"supervised_steps": "100%"})


@pytest.mark.parametrize(
    ("name", "steps", "phases"),
    [("demo", 600, (60, 100)), ("camvid_1_8", 3000, (300, 480)), ("camvid_1_30", 3000, (300, 480))],
)
def test_a_run_of_another_length_needs_no_other_flag(name, steps, phases):
    for times in (1, 2):
        changed = {"steps": times * steps} if times > 1 else {}
        config = absl_flags.from_files([f"configs/{name}.flags"], changed)
        method = config.method
        assert config.training.steps == times * steps
        wanted = tuple(times * length for length in phases)
        assert (method.supervised_steps, method.consistency_ramp_steps) == wanted
