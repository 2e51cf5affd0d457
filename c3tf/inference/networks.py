"""Networks on images of any size: logits, probabilities, class maps, compiled functions.

A network answers on a grid of one position per `stride` x `stride` pixels. An image whose sides are
no multiples of the stride is first continued to the right and below by its last row and column,
and the logits are cut back after upsampling: every position then lies where training put it. A
network that sees odd sizes as they are shifts its grid, by up to a stride over its depth. Networks
of the authors' making (aligned corners, rounded-up pooling) have no such blocks: there the grid is
stretched over the image, as it is in training.
"""

from collections.abc import Callable
from typing import Any

import keras
import tensorflow as tf

from c3tf.nets import deeplab
from c3tf.nets.deeplab import aligns_corners

# Images uint8 (B, H, W, 3) and a size (h, w) to class maps uint8 (B, h, w).
Predictor = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
# Images uint8 (B, H, W, 3) to softmax probabilities float32 (B, H, W, C).
Probabilities = Callable[[tf.Tensor], tf.Tensor]
# Images uint8 (B, H, W, 3) to softmax float32 (B, H, W, C) and features float32 (B, D).
ProbabilitiesAndFeatures = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]

IMAGES = tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")
SIZE = tf.TensorSpec([2], tf.int32, name="size")

# Larger than any output stride; a multiple of all of them.
_PROBE = 256


def logits_at(model: keras.Model, images: tf.Tensor, size: tf.Tensor | None = None) -> tf.Tensor:
    """Computes logits at full size, see `options.RESIZE`.

    Args:
        model: maps images to logits at its output stride, alone or as `"logits"` of a dict.
        images: `(B, H, W, 3)` RGB, 0 to 255, any numeric dtype.
        size: `(2,)` height and width of the result; the images' own when absent.

    Returns:
        `(B, h, w, C)` float32.
    """
    outputs, continued = _outputs(model, images)
    logits = outputs["logits"] if isinstance(outputs, dict) else outputs
    return _at_size(model, logits, tf.shape(images)[1:3], continued, size)


def output_stride(model: keras.Model) -> int | None:
    """Finds how many pixels of the image one position of the logits stands for.

    Returns:
        The stride; None where positions do not stand for blocks of pixels: with aligned corners,
        or where a network rounds its grid up.
    """
    shapes = model.compute_output_shape((1, _PROBE, _PROBE, 3))
    shape = shapes["logits"] if isinstance(shapes, dict) else shapes
    height, width = shape[1:3]
    if aligns_corners(model) or height != width or _PROBE % height:
        return None
    return _PROBE // height


def class_map(model: keras.Model, images: tf.Tensor, size: tf.Tensor | None = None) -> tf.Tensor:
    """Computes the most likely class of every pixel.

    The evaluator and the SavedModel both call this function, so they agree.

    Args:
        model: as for `logits_at`.
        images: `(B, H, W, 3)` RGB, 0 to 255, any numeric dtype.
        size: `(2,)` height and width of the result; the images' own when absent.

    Returns:
        `(B, h, w)` uint8 train ids.
    """
    return most_likely(logits_at(model, images, size))


def most_likely(scores: tf.Tensor) -> tf.Tensor:
    """Takes the class of the largest score: `(B, h, w, C)` to `(B, h, w)` uint8."""
    return tf.cast(tf.argmax(scores, axis=-1, output_type=tf.int32), tf.uint8)


def predictor(model: keras.Model) -> Predictor:
    """Makes the compiled predictor of a network; it follows later changes of the weights.

    It is traced once for all batch and image sizes.
    """
    network = logits_network(model)

    @tf.function(input_signature=[IMAGES, SIZE])
    def predict(images: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        return class_map(network, images, size)

    return predict


def probabilities(model: keras.Model) -> Probabilities:
    """Makes the compiled function from images to their softmax, as a SavedModel's signature."""
    network = logits_network(model)

    @tf.function(input_signature=[IMAGES])
    def compute(images: tf.Tensor) -> tf.Tensor:
        return tf.nn.softmax(logits_at(network, images))

    return compute


def probabilities_and_features(model: keras.Model) -> ProbabilitiesAndFeatures:
    """Makes the compiled function from images to their softmax and one vector per image.

    The vector is the mean of the features that the heads read, divided by its length: what is on
    an image, not where. The projection head's embedding would do for runs whose method trains it.

    Args:
        model: a network made by `deeplab.build`.

    Returns:
        A function from images uint8 `(B, H, W, 3)` to float32 `(B, H, W, C)` and `(B, D)`.
    """
    outputs = {"logits": model.output["logits"], "features": deeplab.features(model)}
    network = keras.Model(model.inputs, outputs, name=f"{model.name}_features")

    @tf.function(input_signature=[IMAGES])
    def compute(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        found, continued = _outputs(network, images)
        logits = _at_size(network, found["logits"], tf.shape(images)[1:3], continued, None)
        pooled = tf.reduce_mean(tf.cast(found["features"], tf.float32), axis=(1, 2))
        return tf.nn.softmax(logits), tf.math.l2_normalize(pooled, axis=-1)

    return compute


def logits_network(model: keras.Model) -> keras.Model:
    """Cuts a functional network down to its logits; it shares the variables.

    Args:
        model: a functional model with the output `"logits"`.

    Returns:
        A model without the layers that only the other outputs (the embedding) need.

    Raises:
        ValueError: the model has no such output.
    """
    outputs = model.output
    if not isinstance(outputs, dict) or "logits" not in outputs:
        raise ValueError(f'`model` must have an output "logits". Received: {outputs}')
    return keras.Model(model.inputs, outputs["logits"], name=f"{model.name}_logits")


def _outputs(model: keras.Model, images: tf.Tensor) -> tuple[Any, tf.Tensor]:
    """Computes the outputs of images continued as the stride asks for, and the size of these."""
    stride = output_stride(model)
    continued = images
    if stride is not None:
        continued = _continued(images, deeplab.image_multiple(model, stride))
    return model(tf.cast(continued, tf.float32), training=False), tf.shape(continued)[1:3]


def _at_size(
    model: keras.Model,
    logits: tf.Tensor,
    own: tf.Tensor,
    continued: tf.Tensor,
    size: tf.Tensor | None,
) -> tf.Tensor:
    """Brings the logits of continued images to the images' own size, or to another one."""
    # Upsampled in float32 whatever the compute dtype: argmax must not see rounding steps.
    logits = tf.cast(logits, tf.float32)
    if output_stride(model) is None:
        aligned = aligns_corners(model)
        return tf.raw_ops.ResizeBilinear(
            images=logits,
            size=own if size is None else size,
            align_corners=aligned,
            half_pixel_centers=not aligned,
        )
    full = tf.image.resize(logits, continued, method="bilinear")
    full = full[:, : own[0], : own[1]]
    return full if size is None else tf.image.resize(full, size, method="bilinear")


def _continued(images: tf.Tensor, stride: int) -> tf.Tensor:
    """Repeats the last column and row until both sides are multiples of the stride."""
    for axis in (1, 2):
        static = images.shape[axis]
        if static is not None and static % stride == 0:
            continue
        length = tf.shape(images)[axis]
        places = tf.range((length + stride - 1) // stride * stride)
        images = tf.gather(images, tf.minimum(places, length - 1), axis=axis)
    return images
