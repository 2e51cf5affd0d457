"""Rewrites of a network that is served: folded batch norm, native dilation, half-size weights.

At inference batch norm multiplies each channel by a constant and adds another. A convolution is
linear, so the two together are one convolution with another kernel and a bias.
"""

import collections
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from c3tf.serving.options import ServingError

_CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)


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
    norm_of = _foldable(model)
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
            layer.set_weights(_folded(original, model.get_layer(norm_of[layer.name])))
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


def _foldable(model: keras.Model) -> dict[str, str]:
    """Maps each convolution that can take up a batch norm to that batch norm, by name."""
    config = model.get_config()
    inputs = {layer["name"]: list(_tensors(layer["inbound_nodes"])) for layer in config["layers"]}
    readers = collections.Counter(name for names in inputs.values() for name in names)
    readers.update(_names(config["output_layers"]))
    norm_of = {}
    for layer in model.layers:
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        source, *others = inputs[layer.name]
        convolution = model.get_layer(source)
        if not others and readers[source] == 1 and _takes_up(convolution, layer):
            norm_of[source] = layer.name
    return norm_of


def _takes_up(layer: keras.layers.Layer, norm: keras.layers.BatchNormalization) -> bool:
    """Whether a layer is a linear convolution and batch norm acts on its channels."""
    if not isinstance(layer, _CONVOLUTIONS) or layer.activation is not keras.activations.linear:
        return False
    channel_axis = 3 if layer.data_format == "channels_last" else 1
    return norm.axis % 4 == channel_axis


def _folded(
    convolution: keras.layers.Layer, norm: keras.layers.BatchNormalization
) -> list[np.ndarray]:
    """Computes the kernel and the bias, in float64 so that only the result is rounded."""
    kernel, *bias = (np.asarray(w, np.float64) for w in convolution.get_weights())
    mean, variance = (np.asarray(v, np.float64) for v in (norm.moving_mean, norm.moving_variance))
    scale = 1.0 / np.sqrt(variance + norm.epsilon)
    if norm.gamma is not None:
        scale = scale * np.asarray(norm.gamma, np.float64)
    shift = -mean if not bias else bias[0] - mean
    shift = shift * scale
    if norm.beta is not None:
        shift = shift + np.asarray(norm.beta, np.float64)
    # A depthwise kernel ends in (input channel, multiplier), which together count its channels.
    depthwise = isinstance(convolution, keras.layers.DepthwiseConv2D)
    return [kernel * (scale.reshape(kernel.shape[2:]) if depthwise else scale), shift]


def _tensors(node: Any) -> Iterator[str]:
    """Yields the layer behind every tensor in a serialised call."""
    if isinstance(node, dict):
        if node.get("class_name") == "__keras_tensor__":
            yield node["config"]["keras_history"][0]
        else:
            yield from _tensors(list(node.values()))
    elif isinstance(node, list | tuple):
        for part in node:
            yield from _tensors(part)


def _names(outputs: Any) -> Iterator[str]:
    """Yields the layers of serialised outputs, a nest of `[layer name, node, tensor]`."""
    if isinstance(outputs, dict):
        outputs = list(outputs.values())
    if outputs and isinstance(outputs[0], str):
        yield outputs[0]
        return
    for part in outputs:
        yield from _names(part)


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
