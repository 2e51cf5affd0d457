"""The functions of a SavedModel, under the names that it serves them by.

Images are RGB, all of one size in a call; class maps hold train ids.

    serving_default  images uint8 (B, H, W, 3)              -> class_map uint8 (B, H, W)
    probabilities    images uint8 (B, H, W, 3)              -> probabilities float32 (B, H, W, C)
    image_bytes      image_bytes string (B), JPEG or PNG    -> class_map uint8 (B, H, W)
    resized          images uint8, size int32 (2): h, w     -> class_map uint8 (B, h, w)
"""

import os
from collections.abc import Callable

import keras
import tensorflow as tf

from c3tf.data import tfrecord
from c3tf.inference.networks import IMAGES, SIZE, class_map, logits_at
from c3tf.io import files

SIGNATURES = ("serving_default", "probabilities", "image_bytes", "resized")

_IMAGE_BYTES = tf.TensorSpec([None], tf.string, name="image_bytes")
# What JPEG and PNG files begin with. TensorFlow's decoder would take GIF as well.
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"


def write(network: keras.Model, folder: str | os.PathLike) -> None:
    """Writes the SavedModel of a network into a folder.

    Args:
        network: maps images to logits at its output stride.
        folder: is made; must not hold a SavedModel yet.

    Raises:
        OSError: it cannot be written.
    """
    # Only the variables are tracked: with the Keras model itself its metadata would be written
    # too, which plain TensorFlow warns about.
    module = tf.Module()
    module.weights = {variable.path: variable.value for variable in network.weights}
    # Gradients of some activations would be written as well, which nobody asks an export for.
    plain = tf.saved_model.SaveOptions(experimental_custom_gradients=False)
    with files.through_tensorflow(os.fspath(folder)):
        tf.saved_model.save(module, os.fspath(folder), _functions(network), plain)


def _functions(network: keras.Model) -> dict[str, Callable]:
    """Builds the functions of the module docstring."""

    @tf.function(input_signature=[IMAGES])
    def serving_default(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"class_map": class_map(network, images)}

    @tf.function(input_signature=[IMAGES])
    def probabilities(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"probabilities": tf.nn.softmax(logits_at(network, images))}

    @tf.function(input_signature=[_IMAGE_BYTES])
    def image_bytes(image_bytes: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"class_map": class_map(network, _decode_batch(image_bytes))}

    @tf.function(input_signature=[IMAGES, SIZE])
    def resized(images: tf.Tensor, size: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"class_map": class_map(network, images, size)}

    return dict(
        zip(SIGNATURES, (serving_default, probabilities, image_bytes, resized), strict=True)
    )


def _decode_batch(image_bytes: tf.Tensor) -> tf.Tensor:
    """Decodes `(B)` JPEG or PNG strings of one image size to `(B, H, W, 3)` uint8."""
    count = tf.size(image_bytes)
    some = tf.debugging.Assert(count > 0, ["image_bytes must hold at least one image"])
    known = tf.debugging.Assert(
        tf.reduce_all(_begins_with(image_bytes, _JPEG) | _begins_with(image_bytes, _PNG)),
        ["image_bytes must hold JPEG or PNG files"],
    )

    def decode(index: tf.Tensor, size: tf.Tensor, images: tf.TensorArray) -> tuple:
        image = tfrecord.decode_image(image_bytes[index])
        own_size = tf.shape(image)
        size = tf.where(index == 0, own_size, size)
        message = "image_bytes must hold images of one size. Received (h, w, 3):"
        same = tf.debugging.Assert(tf.reduce_all(own_size == size), [message, size, own_size])
        with tf.control_dependencies([same]):
            return index + 1, size, images.write(index, image)

    # A loop, not `tf.map_fn`, which would fail at stacking and not say why.
    with tf.control_dependencies([some, known]):
        images = tf.TensorArray(tf.uint8, count, element_shape=[None, None, 3], infer_shape=False)
    *_, images = tf.while_loop(
        lambda index, *_: index < count,
        decode,
        (tf.constant(0), tf.zeros([3], tf.int32), images),
    )
    return images.stack()


def _begins_with(strings: tf.Tensor, prefix: bytes) -> tf.Tensor:
    return tf.strings.substr(strings, 0, len(prefix)) == prefix
