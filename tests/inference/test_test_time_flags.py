"""What the flags of a protocol are read as."""

import pytest
from absl import flags

from c3tf.errors import UserError
from c3tf.inference import test_time_flags
from c3tf.inference.options import InferenceOptions


@pytest.fixture
def read(monkeypatch):
    """Reads words as a command would, from flags of its own."""
    own = flags.FlagValues()
    for kind in ("enum", "string", "float", "bool", "list"):
        define = getattr(flags, f"DEFINE_{kind}")
        with_own = lambda *given, define=define: define(*given, flag_values=own)  # noqa: E731
        monkeypatch.setattr(test_time_flags.flags, f"DEFINE_{kind}", with_own)
    test_time_flags.define()
    monkeypatch.setattr(test_time_flags.flags, "FLAGS", own)

    def parse(*words):
        own(["command", *words])
        return test_time_flags.read()

    return parse


def test_the_default_is_the_whole_image(read):
    assert read() == InferenceOptions()


def test_everything_is_read(read):
    words = (
        "--inference=sliding --window=512X1024 --overlap=0.25 --tta_flip --tta_scales=0.75,1,1.25"
    )
    expected = InferenceOptions("sliding", (512, 1024), 0.25, True, (0.75, 1.0, 1.25))
    assert read(*words.split()) == expected


@pytest.mark.parametrize(
    "words",
    [
        "--inference=sliding --window=512 --overlap=0.5",
        "--inference=sliding --window=512x-4 --overlap=0.5",
        "--inference=sliding --overlap=0.5",
        "--window=512x1024",
        "--tta_scales=1,two",
        "--tta_scales=",
    ],
)
def test_what_cannot_be_read_is_refused(read, words):
    with pytest.raises(UserError, match=r"--(window|tta_scales)"):
        read(*words.split())
