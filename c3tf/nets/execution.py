"""A functional network as training runs it: frozen batch norm folded, dilation rearranged.

Keras runs a network layer by layer. Two things of that cost passes over activations, forward and
backward, that nothing needs, and a third costs arithmetic:

- A frozen batch norm multiplies each channel by a constant and adds another. Here the constant goes
  into the kernel of the convolution before it, and the other becomes that convolution's bias, which
  TensorFlow computes in one operation together with the activation.
- A dilated convolution goes through `tf.nn.convolution`, which rearranges the image into a batch of
  smaller ones that are convolved without dilation, and back. Layers that act on each position by
  itself do not care how positions are arranged, so here they stay rearranged from the first to the
  last dilated layer.
- On CPUs, convolutions of many channels take less time as products of matrices: 3x3 ones by
  `c3tf.nets.winograd`, 1x1 ones as they are.

The variables are the network's own, gradients flow to them, and results are equal up to rounding.
"""

import dataclasses
import math
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf

from c3tf.nets import folding, order, recomputation, winograd

# How the positions of a map are arranged: factors by which it was cut into interleaved smaller
# maps, one cut after the other. Their product is the dilation that a plain kernel then has.
Cuts = tuple[int, ...]

# What a convolution and the batch norm folded into it compute with: the convolution's own "kernel",
# the "scale" that batch norm multiplies it with, and the "bias" of both; those that there are.
Weights = dict[str, tf.Tensor]

# With so many channels oneDNN takes less time for the gradient of a matrix than for that of a
# kernel of one tap, and as much for the rest (docs/performance.md).
_FEWEST_CHANNELS_OF_PRODUCT = 512

_POINTWISE = (keras.layers.Activation, keras.layers.ReLU, keras.layers.Add)


@dataclasses.dataclass
class _Value:
    """A map by its arrangements; the others are made when they are asked for.

    Attributes:
        cuts: of the arrangement in which it was computed.
        maps: what has been made.
    """

    cuts: Cuts
    maps: dict[Cuts, tf.Tensor]

    def arranged(self, cuts: Cuts) -> tf.Tensor:
        """Returns the map in an arrangement."""
        if cuts not in self.maps:
            common = len(cuts) if self.cuts[: len(cuts)] == cuts else 0
            if cuts[: len(self.cuts)] == self.cuts:
                common = len(self.cuts)
            x = self.maps[self.cuts]
            for factor in reversed(self.cuts[common:]):
                x = tf.batch_to_space(x, [factor, factor], [[0, 0], [0, 0]])
            for factor in cuts[common:]:
                x = tf.space_to_batch(x, [factor, factor], [[0, 0], [0, 0]])
            self.maps[cuts] = x
        return self.maps[cuts]


def fast(
    network: keras.Model, recompute: bool = False
) -> Callable[[tf.Tensor | list[tf.Tensor]], dict]:
    """Returns a network in training mode as a function of images.

    Args:
        network: functional; its layers are called once each.
        recompute: keep few maps for the backward pass, which computes the others again.

    Returns:
        Maps `(B, H, W, 3)` of the network's input dtype and of static size, or what else the
        network takes, to its outputs by their names, or by their numbers where they have none. A
        network that trains batch norm, or has other convolutions than `c3tf.nets.deeplab` builds,
        is run as it is.
    """
    if not all(map(_can_be_fast, network.layers)):
        return lambda inputs: _by_name(network(inputs, training=True))
    graph = folding.graph_of(network)
    norm_of = {
        convolution: network.get_layer(norm)
        for convolution, norm in folding.foldable(network).items()
    }
    folded = {norm.name for norm in norm_of.values()}
    names = [layer.name for layer in network.layers if layer.name not in graph.arguments]
    stretches = recomputation.stretches(graph, names) if recompute else []
    rest = names[sum(len(stretch.layers) for stretch in stretches) :]

    def weights_of(name: str) -> Weights:
        return _weights(network.get_layer(name), norm_of.get(name))

    def weights_after(values: dict[str, _Value], name: str) -> Weights:
        with _after(values[_awaited(network, graph, values, name)]):
            return weights_of(name)

    def go_through(
        names: list[str], values: dict[str, _Value], weights_of: Callable[[str], Weights]
    ) -> None:
        for name in names:
            layer = network.get_layer(name)
            sources = [values[source] for source in graph.inputs[name]]
            if name in folded:
                values[name] = sources[0]
            elif isinstance(layer, folding.CONVOLUTIONS):
                values[name] = _convolve(layer, sources[0], **weights_of(name))
            else:
                values[name] = _call(layer, sources)

    def recomputed(stretch: recomputation.Stretch, source: _Value) -> _Value:
        with _after(source):
            weights = {n: weights_of(n) for n in stretch.layers if _convolves(network, n)}
        cuts: Cuts = ()

        def forward(x: tf.Tensor, *flat: tf.Tensor) -> tf.Tensor:
            nonlocal cuts
            values = {stretch.source: _Value(source.cuts, {source.cuts: x})}
            go_through(stretch.layers, values, tf.nest.pack_sequence_as(weights, flat).__getitem__)
            result = values[stretch.result]
            cuts = result.cuts
            return result.maps[cuts]

        flat = tf.nest.flatten(weights)
        maps = recomputation.recomputed(forward, source.maps[source.cuts], *flat)
        return _Value(cuts, {cuts: maps})

    def run(inputs: tf.Tensor | list[tf.Tensor]) -> dict:
        given = keras.tree.flatten(inputs)
        values = {name: _Value((), {(): x}) for name, x in zip(graph.arguments, given, strict=True)}
        for stretch in stretches:
            values[stretch.result] = recomputed(stretch, values[stretch.source])
        go_through(rest, values, lambda name: weights_after(values, name))
        return {name: values[layer].arranged(()) for name, layer in graph.outputs.items()}

    return run


def _after(value: _Value) -> AbstractContextManager:
    """Has kernels folded when what they convolve is there: before that they would take memory."""
    return order.after(value.maps[value.cuts])


def _awaited(
    network: keras.Model, graph: folding.Graph, values: dict[str, _Value], name: str
) -> str:
    """Returns the layer whose map a convolution's kernel waits for."""
    (source,) = graph.inputs[name]
    # TensorFlow makes one operation of padding and convolution, which would wait for itself.
    if isinstance(network.get_layer(source), keras.layers.ZeroPadding2D):
        (before,) = graph.inputs[source]
        return before if before in values else source
    return source


def _weights(layer: keras.layers.Layer, norm: keras.layers.BatchNormalization | None) -> Weights:
    """Reads what a convolution and its batch norm compute with."""
    kernel, scale, bias = folding.kernel_scale_and_bias(layer, norm)
    named = {"kernel": kernel, "scale": scale, "bias": bias}
    return {part: x for part, x in named.items() if x is not None}


def _convolves(network: keras.Model, name: str) -> bool:
    return isinstance(network.get_layer(name), folding.CONVOLUTIONS)


def _by_name(outputs: Any) -> dict:
    """Returns outputs by their names, or by their numbers where they have none."""
    return outputs if isinstance(outputs, dict) else dict(enumerate(keras.tree.flatten(outputs)))


def _can_be_fast(layer: keras.layers.Layer) -> bool:
    """Whether what is done here instead of a layer's own call is equal to it."""
    if isinstance(layer, keras.layers.BatchNormalization):
        return not layer.trainable
    if isinstance(layer, folding.CONVOLUTIONS):
        return type(layer) in folding.CONVOLUTIONS and layer.data_format == "channels_last"
    return not layer.trainable_weights


def _call(layer: keras.layers.Layer, sources: list[_Value]) -> _Value:
    """Runs a layer that is no convolution, in the arrangement that suits it."""
    cuts = max((x.cuts for x in sources), key=math.prod) if type(layer) in _POINTWISE else ()
    inputs = [x.arranged(cuts) for x in sources]
    outputs = layer(inputs[0] if len(inputs) == 1 else inputs, training=True)
    return _Value(cuts, {cuts: outputs})


def _convolve(
    layer: keras.layers.Layer,
    source: _Value,
    kernel: tf.Tensor,
    scale: tf.Tensor | None = None,
    bias: tf.Tensor | None = None,
) -> _Value:
    """Runs a convolution with the weights that it and its batch norm have."""
    if _has_few_outputs(layer):
        cuts, x = (), _shift_and_add(layer, source, _folded(layer, kernel, scale))
    else:
        cuts = _cuts_for(layer, source)
        x = tf.cast(source.arranged(cuts), layer.compute_dtype)
        x = _operation(layer, x, (1, 1) if cuts else layer.dilation_rate, kernel, scale)
    if bias is not None:
        x = tf.nn.bias_add(x, tf.cast(bias, x.dtype))
    return _Value(cuts, {cuts: layer.activation(x)})


def _folded(layer: keras.layers.Layer, kernel: tf.Tensor, scale: tf.Tensor | None) -> tf.Tensor:
    """Returns a kernel with its batch norm, rounded once to the layer's dtype."""
    return tf.cast(folding.scaled(kernel, scale), layer.compute_dtype)


def _operation(
    layer: keras.layers.Layer,
    x: tf.Tensor,
    dilations: tuple[int, int],
    kernel: tf.Tensor,
    scale: tf.Tensor | None,
) -> tf.Tensor:
    """Convolves as a layer does, but with the given dilation and weights."""
    if dilations == (1, 1) and _favours_products(x) and winograd.suits(layer, x.shape):
        return winograd.conv2d(x, kernel, scale)
    kernel, padding = _folded(layer, kernel, scale), layer.padding.upper()
    if _acts_on_positions(layer):
        return _at_each_position(x, kernel)
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        strides = [1, *layer.strides, 1]
        return tf.nn.depthwise_conv2d(x, kernel, strides, padding, dilations=dilations)
    # Not `tf.nn.conv2d`: TensorFlow has no gradient of a dilated convolution on every processor.
    return tf.nn.convolution(x, kernel, layer.strides, padding, dilations=dilations)


def _favours_products(x: tf.Tensor) -> bool:
    """Whether products of matrices are faster than convolutions where they do the same.

    Measured on CPUs in float32. On GPUs, TensorFlow's library chooses among such ways by itself.
    """
    return x.dtype in (tf.float32, tf.float64) and not tf.config.list_logical_devices("GPU")


def _acts_on_positions(layer: keras.layers.Layer) -> bool:
    """Whether each output is of one position alone."""
    plain = type(layer) is keras.layers.Conv2D and layer.groups == 1
    return plain and (layer.kernel_size, layer.strides) == ((1, 1), (1, 1))


def _at_each_position(x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
    """Multiplies the channels of every position with a kernel of one tap."""
    inputs, outputs = kernel.shape[2:]
    if min(inputs, outputs) < _FEWEST_CHANNELS_OF_PRODUCT or not _favours_products(x):
        return tf.nn.conv2d(x, kernel, 1, "VALID")
    product = tf.matmul(tf.reshape(x, [-1, inputs]), kernel[0, 0])
    return tf.reshape(product, [-1, *x.shape[1:3], outputs])


def _cuts_for(layer: keras.layers.Layer, source: _Value) -> Cuts:
    """Chooses the arrangement in which a convolution needs no dilation, where there is one."""
    if max(layer.strides) > 1:
        return ()
    if max(layer.kernel_size) == 1:
        return source.cuts
    if layer.padding != "same":
        return ()
    dilation, done = layer.dilation_rate[0], math.prod(source.cuts)
    rows, columns = source.maps[source.cuts].shape[1:3]
    if dilation == 1 or set(layer.dilation_rate) != {dilation} or not _is_centred(layer):
        return ()
    # A map that the cuts do not divide would need a margin of zeros kept zero.
    if rows * done % dilation or columns * done % dilation:
        return ()
    further, left = divmod(dilation, done)
    if left:
        return (dilation,)
    return source.cuts if further == 1 else (*source.cuts, further)


def _has_few_outputs(layer: keras.layers.Layer) -> bool:
    """Whether a dilated kernel makes fewer maps, over all its taps, than it reads."""
    if isinstance(layer, keras.layers.DepthwiseConv2D) or layer.padding != "same":
        return False
    rows, columns, inputs, outputs = layer.kernel.shape
    dilated = max(layer.dilation_rate) > 1 and max(layer.strides) == 1
    one_group = layer.groups == 1 and _is_centred(layer)
    return dilated and one_group and rows * columns * outputs < inputs


def _is_centred(layer: keras.layers.Layer) -> bool:
    """Whether padding is the same on both sides of a position."""
    return all(size % 2 for size in layer.kernel_size)


def _shift_and_add(layer: keras.layers.Layer, source: _Value, kernel: tf.Tensor) -> tf.Tensor:
    """Convolves with a dilated kernel: its taps as one product of each position, then shifted.

    The shifts move the few maps that come out, where rearranging would move the many that go in.
    """
    rows, columns, inputs, outputs = kernel.shape
    taps = tf.reshape(kernel, [rows * columns, inputs, outputs])
    taps = tf.reshape(tf.transpose(taps, [1, 0, 2]), [1, 1, inputs, -1])
    x = tf.cast(source.arranged(source.cuts), kernel.dtype)
    products = _Value(source.cuts, {source.cuts: _at_each_position(x, taps)}).arranged(())
    height, width = products.shape[1:3]
    parts = []
    for tap, product in enumerate(tf.split(products, rows * columns, axis=3)):
        down = (tap // columns - rows // 2) * layer.dilation_rate[0]
        right = (tap % columns - columns // 2) * layer.dilation_rate[1]
        if abs(down) < height and abs(right) < width:
            parts.append(_shifted(product, down, right))
    return tf.add_n(parts)


def _shifted(x: tf.Tensor, down: int, right: int) -> tf.Tensor:
    """Returns the map whose position p shows position p + (down, right), zeros from outside."""
    height, width = x.shape[1:3]
    top, left = max(down, 0), max(right, 0)
    part = x[:, top : height + min(down, 0), left : width + min(right, 0)]
    margins = [[max(-down, 0), top], [max(-right, 0), left]]
    return tf.pad(part, [[0, 0], *margins, [0, 0]])
