"""Readers of one image's pixels, window by window, wherever they are kept.

A view reads about a quarter of an image. What is drawn for it needs the image's size only, so
nothing is decoded before the window is known, and no more than the window where the format allows.
"""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from c3tf.data import tfrecord


class ImageReader(NamedTuple):
    """Reads windows of one image and, where it has one, of its label.

    Attributes:
        name: string scalar, to be named in complaints.
        size: int32 `(2,)`, height and width of both.
        image: maps a window, int32 `(4,)` (top, left, height, width), to its pixels, uint8
            `(height, width, 3)`.
        label: maps a window to its train ids, uint8 `(height, width, 1)`.
    """

    name: tf.Tensor
    size: tf.Tensor
    image: Callable[[tf.Tensor], tf.Tensor]
    label: Callable[[tf.Tensor], tf.Tensor]


_IMAGE = "The image has not the height and width that are stated: record "
_LABEL = "Image and label differ in size: record "
# Makes the reader of one element of a source.
ImageOpener = Callable[[tf.Tensor], ImageReader]


def open_record(serialized: tf.Tensor) -> ImageReader:
    """Opens a serialized record, inside a graph.

    Of a JPEG only the window is decoded: the rest of its rows is unpacked but not transformed. A
    PNG has to be decoded from its start.

    Args:
        serialized: string scalar.

    Returns:
        The image; its label must not be read where the record has none.
    """
    parsed = tfrecord.parse(serialized)
    encoded, name = parsed["image"], parsed["name"]
    size = tf.cast(tf.stack([parsed["height"], parsed["width"]]), tf.int32)

    def image(window: tf.Tensor) -> tf.Tensor:
        return tf.cond(
            tf.io.is_jpeg(encoded),
            lambda: _jpeg_window(encoded, window, size, name),
            lambda: cut(_of_size(tfrecord.decode_image(encoded), size, _IMAGE, name), window),
        )

    def label(window: tf.Tensor) -> tf.Tensor:
        return cut(_of_size(tfrecord.decode_label(parsed["label"]), size, _LABEL, name), window)

    return ImageReader(name, size, image, label)


def cut(pixels: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Cuts a window, int32 `(4,)`, out of pixels `(H, W, channels)`."""
    top, left, height, width = tf.unstack(window)
    return pixels[top : top + height, left : left + width]


def _jpeg_window(
    encoded: tf.Tensor, window: tf.Tensor, size: tf.Tensor, name: tf.Tensor
) -> tf.Tensor:
    stored = tf.io.extract_jpeg_shape(encoded)[:2]
    with tf.control_dependencies([_check_size(stored, size, _IMAGE, name)]):
        return tfrecord.decode_jpeg_window(encoded, window)


def _of_size(pixels: tf.Tensor, size: tf.Tensor, message: str, name: tf.Tensor) -> tf.Tensor:
    with tf.control_dependencies([_check_size(tf.shape(pixels)[:2], size, message, name)]):
        return tf.identity(pixels)


def _check_size(found: tf.Tensor, size: tf.Tensor, message: str, name: tf.Tensor) -> tf.Operation:
    return tf.debugging.assert_equal(found, size, tf.strings.join([message, name]))
