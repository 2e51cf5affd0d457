"""What is said of TensorFlow's errors."""

import re
from pathlib import Path

import pytest
import tensorflow as tf

from c3tf.data import record_reader
from c3tf.errors import DataError
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
    error = UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")
    assert tensorflow_errors.reason(error) == r"\xff (no UTF-8)"
    assert tensorflow_errors.reason(ValueError()) == "ValueError"


def test_messages_are_shortened_in_one_place(repository):
    """A first line alone may be noise, or missing."""
    cut = re.compile(r"message\.(splitlines|split|partition)")
    files = [
        path for room in ("c3tf", "data_tools") for path in Path(repository, room).rglob("*.py")
    ]
    assert [path for path in files if cut.search(path.read_text(encoding="utf-8"))] == []


def test_bytes_that_are_no_text_are_escaped():
    found = b"Key: \xe8(.  Data types differ.\nmore"
    error = UnicodeDecodeError("utf-8", found, 5, 6, "invalid continuation byte")
    assert isinstance(error, tensorflow_errors.of_data())
    assert tensorflow_errors.reason(error) == r"Key: \xe8(.  Data types differ. (no UTF-8)"


def test_a_record_whose_damage_tensorflow_quotes_is_named(tmp_path):
    """TensorFlow names the feature that it misses by bytes of the record."""
    path = tmp_path / "a.tfrecord"
    feature = tf.train.Feature(int64_list=tf.train.Int64List(value=[1]))
    example = tf.train.Example(features=tf.train.Features(feature={"name": feature}))
    damaged = example.SerializeToString()
    with tf.io.TFRecordWriter(str(path)) as writer:
        writer.write(damaged[:-3] + b"\xe8\xff\xe8")
    with pytest.raises(DataError, match=r"a\.tfrecord: record 0 cannot be read"):
        record_reader.read_records([str(path)], 1)
