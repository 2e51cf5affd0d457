"""A functional network as training runs it: frozen batch norm folded, few passes over its maps.

Keras runs a network layer by layer, and a frozen batch norm multiplies each channel by a constant
and adds another: passes over activations, forward and backward, that nothing needs. Here the
constant goes into the kernel of the convolution before it, and the other becomes that convolution's
bias, which TensorFlow computes in one operation together with the activation. How each layer is
then computed is `c3tf.nets.operations`.

The variables are the network's own, gradients flow to them, and results are equal up to rounding.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import keras
import tensorflow as tf

from c3tf.nets import folding, order, recomputation
from c3tf.nets.operations import Cuts, Map, call, convolve

# What a convolution and the batch norm folded into it compute with: the convolution's own "kernel",
# the "scale" that batch norm multiplies it with, and the "bias" of both; those that there are.
Weights = dict[str, tf.Tensor]


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
    return _Folded(network, recompute)


class _Folded:
    """A network whose layers are run one by one, in the order of its graph."""

    def __init__(self, network: keras.Model, recompute: bool) -> None:
        self._network = network
        self._graph = folding.graph_of(network)
        self._norm_of = {
            convolution: network.get_layer(norm)
            for convolution, norm in folding.foldable(network).items()
        }
        self._norms = {norm.name for norm in self._norm_of.values()}
        names = [x.name for x in network.layers if x.name not in self._graph.arguments]
        self._stretches = recomputation.stretches(self._graph, names) if recompute else []
        self._rest = names[sum(len(stretch.layers) for stretch in self._stretches) :]

    def __call__(self, inputs: tf.Tensor | list[tf.Tensor]) -> dict:
        arguments = zip(self._graph.arguments, keras.tree.flatten(inputs), strict=True)
        maps = {name: Map(x) for name, x in arguments}
        for stretch in self._stretches:
            maps[stretch.result] = self._recomputed(stretch, maps[stretch.source])
        self._go_through(self._rest, maps, lambda name: self._weights_after(maps, name))
        return {name: maps[layer].arranged(()) for name, layer in self._graph.outputs.items()}

    def _go_through(
        self, names: list[str], maps: dict[str, Map], weights_of: Callable[[str], Weights]
    ) -> None:
        """Adds the maps of layers to those of the layers before them."""
        for name in names:
            layer = self._network.get_layer(name)
            sources = [maps[source] for source in self._graph.inputs[name]]
            if name in self._norms:
                maps[name] = sources[0]
            elif isinstance(layer, folding.CONVOLUTIONS):
                maps[name] = convolve(layer, sources[0], **weights_of(name))
            else:
                maps[name] = call(layer, sources)

    def _recomputed(self, stretch: recomputation.Stretch, source: Map) -> Map:
        """Returns the map at the end of layers of which nothing is kept for the backward pass."""
        layers = map(self._network.get_layer, stretch.layers)
        convolutions = [x.name for x in layers if isinstance(x, folding.CONVOLUTIONS)]
        with _after(source):
            weights = {name: self._weights(name) for name in convolutions}
        cuts: Cuts = ()

        def forward(x: tf.Tensor, *flat: tf.Tensor) -> tf.Tensor:
            nonlocal cuts
            maps = {stretch.source: Map(x, source.cuts)}
            weights_of = tf.nest.pack_sequence_as(weights, flat).__getitem__
            self._go_through(stretch.layers, maps, weights_of)
            cuts = maps[stretch.result].cuts
            return maps[stretch.result].computed

        computed = recomputation.recomputed(forward, source.computed, *tf.nest.flatten(weights))
        return Map(computed, cuts)

    def _weights(self, name: str) -> Weights:
        """Reads what a convolution and its batch norm compute with."""
        layer, norm = self._network.get_layer(name), self._norm_of.get(name)
        kernel, scale, bias = folding.kernel_scale_and_bias(layer, norm)
        named = {"kernel": kernel, "scale": scale, "bias": bias}
        return {part: x for part, x in named.items() if x is not None}

    def _weights_after(self, maps: dict[str, Map], name: str) -> Weights:
        """Reads them when what the convolution reads has been computed."""
        (source,) = self._graph.inputs[name]
        # TensorFlow makes one operation of padding and convolution, which would wait for itself.
        if isinstance(self._network.get_layer(source), keras.layers.ZeroPadding2D):
            (before,) = self._graph.inputs[source]
            source = before if before in maps else source
        with _after(maps[source]):
            return self._weights(name)


def _after(x: Map) -> AbstractContextManager:
    """Has kernels folded when what they convolve is there: before that they would take memory."""
    return order.after(x.computed)


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
