"""Runs a network on images of any size: logits, class maps and compiled predictors."""

from collections.abc import Callable

import keras
import tensorflow as tf

# Images uint8 (B, H, W, 3) and a size (h, w) to class maps uint8 (B, h, w).
Predictor = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]

IMAGES = tf.TensorSpec([None, None, None, 3], tf.uint8, name="images")
SIZE = tf.TensorSpec([2], tf.int32, name="size")


def logits_at(model: keras.Model, images: tf.Tensor, size: tf.Tensor | None = None) -> tf.Tensor:
    """Computes logits at full size: bilinear, half-pixel centres, not antialiased.

    Args:
        model: maps images to logits at its output stride, alone or as `"logits"` of a dict.
        images: `(B, H, W, 3)` RGB, 0 to 255, any numeric dtype.
        size: `(2,)` height and width of the result; the images' own when absent.

    Returns:
        `(B, h, w, C)` float32.
    """
    outputs = model(tf.cast(images, tf.float32), training=False)
    logits = outputs["logits"] if isinstance(outputs, dict) else outputs
    size = tf.shape(images)[1:3] if size is None else size
    # Upsampled in float32 whatever the compute dtype: argmax must not see rounding steps.
    return tf.image.resize(tf.cast(logits, tf.float32), size, method="bilinear")


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
    logits = logits_at(model, images, size)
    return tf.cast(tf.argmax(logits, axis=-1, output_type=tf.int32), tf.uint8)


def predictor(model: keras.Model) -> Predictor:
    """Makes the compiled predictor of a network; it follows later changes of the weights.

    It is traced once for all batch and image sizes.
    """
    network = logits_network(model)

    @tf.function(input_signature=[IMAGES, SIZE])
    def predict(images: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        return class_map(network, images, size)

    return predict


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
