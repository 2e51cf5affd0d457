"""Rewrites of a network that is served: folded batch norm, native dilation, half-size weights."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from c3tf.nets import folding
from c3tf.serving.options import ServingError


def fold_batch_norm(model: keras.Model) -> keras.Model:
    """Builds a network without batch norm that computes what a network does at inference.

    Folded is every batch norm whose input is a convolution (plain or depthwise, no activation)
    that nothing else reads; any other stays as it is. Layers keep their names: the convolution
    `x` still has its kernel at `x/kernel`, and has a bias at `x/bias`.

    Args:
        model: a functional network of built-in Keras layers; it is not changed.

    Returns:
        A new functional network of built-in layers with variables of its own, equal to `model`
        at inference up to rounding.
    """
    norm_of = folding.foldable(model)
    folded_norms = set(norm_of.values())

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = layer.get_config()
        if layer.name in norm_of:
            config["use_bias"] = True
        return type(layer).from_config(config)

    def call(layer: keras.layers.Layer, x: Any, **options: Any) -> Any:
        return x if layer.name in folded_norms else layer(x, **options)

    result = keras.models.clone_model(model, clone_function=clone, call_function=call)
    for layer in result.layers:
        if not layer.weights:
            continue
        original = model.get_layer(layer.name)
        if layer.name in norm_of:
            norm = model.get_layer(norm_of[layer.name])
            # In float64, so that only the result is rounded.
            folded = folding.kernel_and_bias(original, norm, "float64")
            layer.set_weights([part.numpy() for part in folded])
        else:
            layer.set_weights(original.get_weights())
    return result


def with_native_dilation(model: keras.Model) -> keras.Model:
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
        kind = _NativeConv2D if _is_dilated(layer) else type(layer)
        return kind.from_config(layer.get_config())

    result = keras.models.clone_model(model, clone_function=clone)
    result.set_weights(model.get_weights())
    return result


def with_half_weights(model: keras.Model) -> keras.Model:
    """Builds the same network with variables in float16, which computes in float32.

    Args:
        model: a functional network of built-in Keras layers, or of those of `with_native_dilation`;
            it is not changed.

    Returns:
        A new functional network with variables of its own under the same names, for tracing.

    Raises:
        ServingError: a weight is too large for half precision.
    """
    too_large = [
        variable.path
        for variable in model.weights
        if np.abs(np.asarray(variable)).max(initial=0) > np.finfo(np.float16).max
    ]
    if too_large:
        raise ServingError(
            f"Weights of {', '.join(too_large[:3])} are beyond what half precision holds. Export "
            "without --half."
        )

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        return type(layer).from_config({**layer.get_config(), "dtype": _HalfWeights()})

    result = keras.models.clone_model(model, clone_function=clone)
    result.set_weights(model.get_weights())
    return result


class _HalfWeights(keras.DTypePolicy):
    """Variables in float16, computation in float32: layers cast what they read."""

    def __init__(self) -> None:
        super().__init__("float32")
        self._variable_dtype = "float16"


def _is_dilated(layer: keras.layers.Layer) -> bool:
    """Whether a layer is a plain dilated convolution in TensorFlow's own layout."""
    return (
        type(layer) is keras.layers.Conv2D
        and max(layer.dilation_rate) > 1
        and layer.groups == 1
        and layer.data_format == "channels_last"
    )


class _NativeConv2D(keras.layers.Conv2D):
    """A convolution that hands its dilation to TensorFlow's operation."""

    def convolution_op(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.nn.conv2d(
            inputs,
            kernel,
            strides=self.strides,
            padding=self.padding.upper(),
            dilations=self.dilation_rate,
        )
