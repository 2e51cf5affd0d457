"""What networks cost: parameters, multiplications and time of each backbone with either head."""

import dataclasses
import time
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from c3tf.config.networks import BACKBONES
from c3tf.nets import backbones, deeplab, heads, weights

_V2, _V3PLUS = "logits_v2", "logits_v3plus"
_NONE = "-"


@dataclasses.dataclass(frozen=True)
class Cost:
    """Parameters, and multiply-accumulate operations of the convolutions for one image."""

    parameters: int
    macs: int


@dataclasses.dataclass(frozen=True)
class Row:
    """What is known of a backbone.

    Attributes:
        name: of the backbone.
        channels: of its last features and of those at stride 4.
        output_stride: for which the operations are counted.
        backbone: cost of the backbone alone.
        deeplab_v2: cost with the head, without projection head.
        deeplab_v3plus: likewise.
        seconds: of one image through the network with DeepLab v2 on this machine, the median; None
            where it was not measured.
    """

    name: str
    channels: tuple[int, int]
    output_stride: int
    backbone: Cost
    deeplab_v2: Cost
    deeplab_v3plus: Cost
    seconds: float | None


def survey(
    name: str, num_classes: int, size: tuple[int, int], output_stride: int, runs: int
) -> Row:
    """Builds a backbone with random weights under both heads, and looks at it.

    Args:
        name: one of `backbones.NAMES`.
        num_classes: C.
        size: height and width of the image, multiples of 16.
        output_stride: taken where the backbone can; the smallest that it can otherwise.
        runs: how often an image is sent through; 0 measures no time.
    """
    output_stride = max(output_stride, min(BACKBONES[name].output_strides))
    layout = backbones.library_layout(name)
    image = keras.Input((None, None, 3), name="image")
    features = backbones.build(image, name, backbones.reference(name), output_stride, layout)
    v2 = heads.deeplab_v2(features.last, num_classes, deeplab.ASPP_DILATIONS, 0, _V2)
    decoded = heads.deeplab_v3plus(features, output_stride, True, 0)
    v3plus = heads.classifier(decoded, num_classes, 0, _V3PLUS)
    with_v2 = keras.Model(image, v2)
    return Row(
        name,
        (features.last.shape[-1], features.low_level.shape[-1]),
        output_stride,
        cost(keras.Model(image, features.last), size),
        cost(with_v2, size),
        cost(keras.Model(image, v3plus), size),
        latency(with_v2, size, runs) if runs else None,
    )


def cost(network: keras.Model, size: tuple[int, int]) -> Cost:
    """Counts a network whose layers are called once each, at one image size."""
    shapes, macs = {}, 0
    for layer in network.layers:
        if isinstance(layer, keras.layers.InputLayer):
            shapes[layer.name] = (1, *size, 3)
            continue
        read = [shapes[x._keras_history.operation.name] for x in keras.tree.flatten(layer.input)]
        shape = tuple(layer.compute_output_shape(read if len(read) > 1 else read[0]))
        shapes[layer.name] = shape
        # A kernel's values are used once each at every position that the layer makes.
        if isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            macs += shape[1] * shape[2] * int(np.prod(layer.kernel.shape))
    return Cost(network.count_params(), macs)


def latency(network: keras.Model, size: tuple[int, int], runs: int) -> float:
    """Measures the least seconds of one image on this machine, compiled, after one run."""
    image = tf.zeros([1, *size, 3])
    compiled = tf.function(lambda x: network(x, training=False))
    seconds = []
    for _ in range(runs + 1):
        began = time.perf_counter()
        compiled(image).numpy()
        seconds.append(time.perf_counter() - began)
    # What disturbs a run only makes it longer.
    return min(seconds[1:])


def markdown(rows: Sequence[Row]) -> str:
    """Writes rows as a table."""
    head = (
        "`--backbone`",
        "features",
        "at stride 4",
        "output strides",
        "norm",
        "backbone",
        "DeepLab v2",
        "DeepLab v3+",
        "ImageNet weights",
    )
    timed = any(row.seconds is not None for row in rows)
    lines = [[*head, *(["ms, v2"] if timed else [])]]
    lines.append(["---"] * len(lines[0]))
    for row in rows:
        facts = BACKBONES[row.name]
        cells = [
            f"`{row.name}`",
            *map(str, row.channels),
            ", ".join(map(str, facts.output_strides)),
            "batch" if facts.batch_norm else "layer",
            *map(_shown, (row.backbone, row.deeplab_v2, row.deeplab_v3plus)),
            weights.at_hand(row.name) or _NONE,
        ]
        if timed:
            cells.append(_NONE if row.seconds is None else f"{1000 * row.seconds:.0f}")
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _shown(part: Cost) -> str:
    return f"{part.parameters / 1e6:.1f} M, {part.macs / 1e9:.1f} G"
