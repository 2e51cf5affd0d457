"""Lets dilated convolutions run as one operation each, in networks that are served."""

import keras
import tensorflow as tf


def with_direct_dilation(model: keras.Model) -> keras.Model:
    """Builds the same network with dilated convolutions that TensorFlow runs directly.

    Keras' own go through `tf.nn.convolution`, which rearranges the image into a batch of smaller
    ones and back around every dilated convolution. That costs copies, and keeps TensorFlow from
    fusing bias and activation into the convolution.

    Args:
        model: a functional network of built-in Keras layers; it is not changed.

    Returns:
        A new functional network with variables of its own under the same names. Its dilated
        layers are no built-in ones, so it is for tracing, not for archives.
    """

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        kind = _DirectConv2D if _is_dilated(layer) else type(layer)
        return kind.from_config(layer.get_config())

    result = keras.models.clone_model(model, clone_function=clone)
    result.set_weights(model.get_weights())
    return result


def _is_dilated(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a plain dilated convolution in TensorFlow's own layout."""
    return (
        type(layer) is keras.layers.Conv2D
        and max(layer.dilation_rate) > 1
        and layer.groups == 1
        and layer.data_format == "channels_last"
    )


class _DirectConv2D(keras.layers.Conv2D):
    """A convolution that hands its dilation to TensorFlow's operation."""

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(
            inputs,
            kernel,
            strides=self.strides,
            padding=self.padding.upper(),
            dilations=self.dilation_rate,
        )
