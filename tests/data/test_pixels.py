"""Windows of encoded images: the pixels that decoding the whole image gives."""

import numpy as np
import pytest
import tensorflow as tf

from c3tf.data import tfrecord
from c3tf.data.pixels import open_record

pytestmark = pytest.mark.smoke


def picture(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    rough = rng.integers(0, 256, (height // 3 + 1, width // 3 + 1, 3)).astype(np.uint8)
    return rough.repeat(3, axis=0).repeat(3, axis=1)[:height, :width]


def record(image: np.ndarray, kind: str, size=None, label=None) -> bytes:
    encoded = tfrecord.encode_jpeg(image) if kind == "jpeg" else tfrecord.encode_png(image)
    height, width = size or image.shape[:2]
    label = None if label is None else tfrecord.encode_png(label)
    return tfrecord.serialize(tfrecord.Record(encoded, kind, label, "n", height, width, "d", "s"))


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_window_equals_the_whole_image(kind):
    image = picture(83, 117)
    reader = open_record(tf.constant(record(image, kind)))
    encoded = tfrecord.parse(tf.constant(record(image, kind)))["image"]
    whole = tfrecord.decode_image(encoded).numpy()
    np.testing.assert_array_equal(reader.size, (83, 117))
    rng = np.random.default_rng(1)
    for _ in range(60):
        top, left = rng.integers(83), rng.integers(117)
        height, width = rng.integers(1, 84 - top), rng.integers(1, 118 - left)
        window = reader.image(tf.constant([top, left, height, width], tf.int32))
        expected = whole[top : top + height, left : left + width]
        np.testing.assert_array_equal(window, expected)


@pytest.mark.parametrize("kind", ["jpeg", "png"])
def test_another_size_than_stated_names_the_record(kind):
    reader = open_record(tf.constant(record(picture(20, 30), kind, size=(20, 29))))
    with pytest.raises(tf.errors.InvalidArgumentError, match="that are stated: record n"):
        reader.image(tf.constant([0, 0, 4, 4]))


def test_label_of_another_size_names_the_record():
    image = picture(20, 30)
    reader = open_record(tf.constant(record(image, "png", label=image[:, 1:, 0])))
    with pytest.raises(tf.errors.InvalidArgumentError, match="differ in size: record n"):
        reader.label(tf.constant([0, 0, 4, 4]))
