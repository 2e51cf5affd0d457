"""What is said of TensorFlow's errors."""

import re
from pathlib import Path

import pytest
import tensorflow as tf

from c3tf.io import tensorflow_errors

pytestmark = pytest.mark.smoke

NODE = "{{function_node __wrapped__ParseSingleExample_device_/cpu:0}} "


@pytest.mark.parametrize(
    ("message", "said"),
    [
        (
            f"{NODE}Key: name.  Data types differ. [Op:Parse] name: ",
            "Key: name.  Data types differ.",
        ),
        (f"Graph execution error:\n\n{NODE}assertion failed: [size] [3]\n\t [[node]]", None),
        ("\n first \nsecond", "first"),
        ("", "DataLossError"),
    ],
)
def test_the_sentence_is_kept_without_its_noise(message, said):
    error = tf.errors.DataLossError(None, None, message)
    assert tensorflow_errors.reason(error) == (said or "assertion failed: [size] [3]")


def test_errors_of_others_have_a_sentence_too():
    assert tensorflow_errors.reason(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")).endswith(
        "bad"
    )
    assert tensorflow_errors.reason(ValueError()) == "ValueError"


def test_messages_are_shortened_in_one_place(repository):
    """A first line alone may be noise, or missing."""
    cut = re.compile(r"message\.(splitlines|split|partition)")
    files = [
        path for room in ("c3tf", "data_tools") for path in Path(repository, room).rglob("*.py")
    ]
    assert [path for path in files if cut.search(path.read_text(encoding="utf-8"))] == []
