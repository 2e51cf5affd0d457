"""Batch norm folded into the convolution before it, and the graph that says where that can be done.

With fixed statistics batch norm multiplies each channel by a constant and adds another. A
convolution is linear, so the two together are one convolution with another kernel and a bias.
"""

import collections
import dataclasses
from collections.abc import Iterator
from typing import Any

import keras
import tensorflow as tf

CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)


@dataclasses.dataclass(frozen=True)
class Graph:
    """Who reads whom in a functional network whose layers are called once each, by name.

    Attributes:
        inputs: for each layer the layers that it reads, in the order of its arguments.
        outputs: the layers behind the outputs, by the outputs' names, or numbers without names.
        arguments: the input layers, in the order of the network's arguments.
    """

    inputs: dict[str, list[str]]
    outputs: dict[str | int, str]
    arguments: list[str]


def graph_of(model: keras.Model) -> Graph:
    """Reads the graph of a functional network."""
    config = model.get_config()
    inputs = {layer["name"]: list(_tensors(layer["inbound_nodes"])) for layer in config["layers"]}
    outputs = config["output_layers"]
    if isinstance(outputs, dict):
        outputs = {name: next(_names(layer)) for name, layer in outputs.items()}
    else:
        outputs = dict(enumerate(_names(outputs)))
    return Graph(inputs, outputs, list(_names(config["input_layers"])))


def foldable(model: keras.Model) -> dict[str, str]:
    """Maps each convolution that can take up a batch norm to that batch norm, by name.

    That is every plain or depthwise convolution without activation that nothing reads but a batch
    norm over its channels.
    """
    graph = graph_of(model)
    readers = collections.Counter(name for names in graph.inputs.values() for name in names)
    readers.update(graph.outputs.values())
    norm_of = {}
    for layer in model.layers:
        if not isinstance(layer, keras.layers.BatchNormalization):
            continue
        source, *others = graph.inputs[layer.name]
        if not others and readers[source] == 1 and _takes_up(model.get_layer(source), layer):
            norm_of[source] = layer.name
    return norm_of


def kernel_and_bias(
    convolution: keras.layers.Layer,
    norm: keras.layers.BatchNormalization | None,
    dtype: str | tf.DType | None = None,
) -> tuple[tf.Tensor, tf.Tensor | None]:
    """Computes the kernel and the bias of a convolution with its batch norm folded in.

    Args:
        convolution: plain or depthwise.
        norm: what follows it; None where nothing does.
        dtype: dtype to compute in; the kernel's when absent.

    Returns:
        The kernel and `(channels,)` the bias, None without bias and batch norm. Gradients flow to
        the variables.
    """
    kernel, scale, bias = kernel_scale_and_bias(convolution, norm, dtype)
    return scaled(kernel, scale), bias


def scaled(kernel: tf.Tensor, scale: tf.Tensor | None) -> tf.Tensor:
    """Multiplies a kernel with the factor of its batch norm, where it has one."""
    return kernel if scale is None else kernel * scale


def kernel_scale_and_bias(
    convolution: keras.layers.Layer,
    norm: keras.layers.BatchNormalization | None,
    dtype: str | tf.DType | None = None,
) -> tuple[tf.Tensor, tf.Tensor | None, tf.Tensor | None]:
    """Computes what `kernel_and_bias` does, but leaves the factor of batch norm beside the kernel.

    Args:
        convolution: plain or depthwise.
        norm: what follows it; None where nothing does.
        dtype: dtype to compute in; the kernel's when absent.

    Returns:
        The convolution's own kernel; the factor, `(channels,)`, or of the shape of the last two
        axes of a depthwise kernel, None without batch norm; and the bias as in `kernel_and_bias`.
    """
    dtype = dtype or convolution.kernel.dtype

    def read(variable: keras.Variable) -> tf.Tensor:
        # Now, where its reader stands: a cast to the same dtype would leave the variable unread.
        return tf.cast(tf.convert_to_tensor(variable.value), dtype)

    kernel = read(convolution.kernel)
    bias = None if convolution.bias is None else read(convolution.bias)
    if norm is None:
        return kernel, None, bias
    scale = 1.0 / tf.sqrt(read(norm.moving_variance) + norm.epsilon)
    if norm.gamma is not None:
        scale *= read(norm.gamma)
    shift = -read(norm.moving_mean) if bias is None else bias - read(norm.moving_mean)
    shift *= scale
    if norm.beta is not None:
        shift += read(norm.beta)
    # A depthwise kernel ends in (input channel, multiplier), which together count its channels.
    if isinstance(convolution, keras.layers.DepthwiseConv2D):
        scale = tf.reshape(scale, kernel.shape[2:])
    return kernel, scale, shift


def _takes_up(layer: keras.layers.Layer, norm: keras.layers.BatchNormalization) -> bool:
    """Whether a layer is a linear convolution and batch norm acts on its channels."""
    if not isinstance(layer, CONVOLUTIONS) or layer.activation is not keras.activations.linear:
        return False
    channel_axis = 3 if layer.data_format == "channels_last" else 1
    return norm.axis % 4 == channel_axis


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
    """Yields the layers of serialised inputs or outputs, a nest of `[layer, node, tensor]`."""
    if outputs and isinstance(outputs[0], str):
        yield outputs[0]
        return
    for part in outputs:
        yield from _names(part)
