"""Maps that are computed again in the backward pass instead of being kept for it."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any

import tensorflow as tf

from c3tf.nets.folding import Graph


@dataclasses.dataclass(frozen=True)
class Stretch:
    """Layers in a row, of which the rest of the network sees one input and one output.

    Attributes:
        source: the layer before them, whose output they read.
        layers: their names, in order.
    """

    source: str
    layers: list[str]

    @property
    def result(self) -> str:
        """The layer whose output the rest of the network reads."""
        return self.layers[-1]


def stretches(graph: Graph, layers: Sequence[str]) -> list[Stretch]:
    """Cuts a network into stretches, about as many as each has places where it could be cut.

    With that number, what is kept between the stretches and what one of them needs while its
    gradient is computed grow alike, with the square root of the depth.

    Args:
        graph: of the network.
        layers: all layers but the arguments, each behind those that it reads.

    Returns:
        The stretches in order, from the argument on; what follows the last one belongs to none.
        Empty for a network of several arguments.
    """
    if len(graph.arguments) > 1:
        return []
    last_use = {name: place for place, layer in enumerate(layers) for name in graph.inputs[layer]}
    last_use.update(dict.fromkeys(graph.outputs.values(), len(layers)))
    cuts, live = [], set(graph.arguments)
    for place, layer in enumerate(layers):
        live = {name for name in (*live, layer) if last_use[name] > place}
        if live == {layer}:
            cuts.append(place)
    size = math.ceil(math.sqrt(len(cuts)))
    # From the end, so that the last stretch, before the heads, is a whole one.
    chosen = cuts[::-1][::size][::-1]
    ends = [-1, *chosen]
    return [
        Stretch(
            source=layers[before] if before >= 0 else graph.arguments[0],
            layers=list(layers[before + 1 : end + 1]),
        )
        for before, end in zip(ends, chosen, strict=False)
    ]


def recomputed(run: Callable[..., tf.Tensor], *tensors: tf.Tensor) -> tf.Tensor:
    """Runs a function of which nothing but the arguments is kept for the backward pass.

    Args:
        run: draws no random numbers; no gradient flows to variables that it reads.
        *tensors: its arguments; gradients flow to them.
    """

    @tf.custom_gradient
    def once(*tensors: tf.Tensor) -> tuple:
        def backward(upstream: tf.Tensor, variables: Sequence[tf.Variable] = ()) -> Any:
            # Not before its turn, and not the same operations as those of the forward pass.
            with tf.control_dependencies([upstream]):
                again = [tf.identity(x) for x in tensors]
            with tf.GradientTape() as tape:
                tape.watch(again)
                outputs = run(*again)
            gradients = tape.gradient(outputs, again, upstream)
            # TensorFlow passes the variables of a frozen norm that no convolution takes up.
            return (gradients, [None] * len(variables)) if variables else gradients

        return run(*tensors), backward

    return once(*tensors)
