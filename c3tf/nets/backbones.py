"""Feature extractors: published classification networks, rebuilt at a smaller output stride.

A backbone is the *reference* network (of keras.applications, or EfficientNet-Lite) listed layer by
layer (`flat`), its strides and dilations placed anew (`dilation`), and built in the caller's graph.
Three things change: where the strides are, how far the later convolutions are dilated, and whether
batch norm is trained. The kernels keep their numbers, so weights made for the reference network
still fit; and the dilated features, read at every second (fourth) position, are the reference's.

Two facts belong to the weights and not to the architecture, so they arrive in a `Layout`: how the
input is scaled, and which convolution of a stage's first residual block carries the stride.

Only built-in Keras layers appear in the result, so that it can be archived and loaded anywhere.
"""

import dataclasses
import functools
import zlib
from collections.abc import Callable
from typing import Any, NamedTuple

import keras
import numpy as np

from c3tf.config.networks import BACKBONES, OUTPUT_STRIDES
from c3tf.nets import dilation, flat, lite
from c3tf.nets.flat import IMAGE, Step
from c3tf.nets.layouts import (
    EFFICIENTNET_LITE,
    EFFICIENTNET_V2,
    KERAS_DENSENET,
    KERAS_RESNET,
    KERAS_RESNET_V2,
    NORMALISED,
    SIGNED,
    TORCH_RESNET,
    Layout,
)

# Every backbone layer's name begins with this, which is how optimizers tell backbone from heads.
PREFIX = "backbone_"

NAMES = tuple(BACKBONES)

# Pixels per position of the features that the decoder of DeepLab v3+ reads beside the last ones.
LOW_LEVEL_STRIDE = 4

# Which map of the reference network feeds the heads: the last one; that of the last block, before
# what was widened for the classifier; or that of the last block whose stride is 16, so that output
# stride 16 dilates nothing. The stages behind it hold 2.3 of EfficientNet-Lite0's 3.0 million
# parameters, and at output stride 16 they would more than double the time of a training step on a
# CPU, which is what this family is for.
_LAST, _LAST_BLOCK, _STRIDE_16 = "last", "last block", "last block at stride 16"


@dataclasses.dataclass(frozen=True)
class _Backbone:
    """One entry of the table of backbones.

    Attributes:
        make: builds the reference network, given `weights`.
        library_layout: the layout of the weights that the reference library publishes.
        torch_layout: the layout of the weights that PyTorch users publish; its normalised input
            also suits random weights.
        features: which map feeds the heads.
        bgr: whether the library's weights read blue before red.
    """

    make: Callable[..., keras.Model]
    library_layout: Layout
    torch_layout: Layout
    features: str = _LAST
    bgr: bool = False


def _application(name: str, **options: Any) -> Callable[..., keras.Model]:
    """Returns what builds a network of keras.applications without its classifier."""
    return functools.partial(
        getattr(keras.applications, name),
        include_top=False,
        input_shape=(None, None, 3),
        **options,
    )


def _family(
    names: dict[str, str], layout: Layout, features: str = _LAST, **options: Any
) -> dict[str, _Backbone]:
    return {
        name: _Backbone(_application(published, **options), layout, layout, features)
        for name, published in names.items()
    }


_BARE = {"include_preprocessing": False}
_BACKBONES = {
    **{
        f"resnet{depth}": _Backbone(
            _application(f"ResNet{depth}"), KERAS_RESNET, TORCH_RESNET, bgr=True
        )
        for depth in (50, 101, 152)
    },
    **{
        f"efficientnet_lite{number}": _Backbone(
            functools.partial(lite.build, number),
            EFFICIENTNET_LITE,
            EFFICIENTNET_LITE,
            _STRIDE_16,
        )
        for number in lite.NUMBERS
    },
    **_family({f"resnet{n}v2": f"ResNet{n}V2" for n in (50, 101, 152)}, KERAS_RESNET_V2),
    **_family({"mobilenet": "MobileNet"}, SIGNED),
    **_family({"mobilenetv2": "MobileNetV2"}, SIGNED, _LAST_BLOCK),
    **_family(
        {f"mobilenetv3_{n.lower()}": f"MobileNetV3{n}" for n in ("Small", "Large")},
        SIGNED,
        _LAST_BLOCK,
        **_BARE,
    ),
    **_family(
        {f"efficientnetv2_b{n}": f"EfficientNetV2B{n}" for n in range(4)},
        NORMALISED,
        _LAST_BLOCK,
        **_BARE,
    ),
    **_family(
        {f"efficientnetv2_{n.lower()}": f"EfficientNetV2{n}" for n in "SML"},
        EFFICIENTNET_V2,
        _LAST_BLOCK,
        **_BARE,
    ),
    **_family(
        {f"convnext_{n.lower()}": f"ConvNeXt{n}" for n in ("Tiny", "Small", "Base", "Large")},
        NORMALISED,
        **_BARE,
    ),
    **_family({f"densenet{n}": f"DenseNet{n}" for n in (121, 169, 201)}, KERAS_DENSENET),
}


def check_name(name: str) -> None:
    """Refuses a backbone that does not exist.

    Raises:
        ValueError: `name` is not one of `NAMES`.
    """
    if name not in _BACKBONES:
        raise ValueError(f"`backbone` must be one of {NAMES}. Received: backbone={name!r}")


def library_layout(name: str) -> Layout:
    """Returns the layout of the weights that the reference library publishes for a backbone."""
    check_name(name)
    return _BACKBONES[name].library_layout


def torch_layout(name: str) -> Layout:
    """Returns the layout of a backbone's published PyTorch weights, used for random ones too."""
    check_name(name)
    return _BACKBONES[name].torch_layout


def is_bgr(name: str) -> bool:
    """Tells whether the weights that the reference library publishes read blue before red."""
    check_name(name)
    return _BACKBONES[name].bgr


def reference(name: str, weights: str | None = None) -> keras.Model:
    """Builds a backbone as its library publishes it: output stride 32, no preprocessing.

    Weight files name and shape their arrays after this network's layers.

    Args:
        name: one of `NAMES`.
        weights: None, or what its library can download.

    Returns:
        A functional model; with fresh random weights it works offline.
    """
    check_name(name)
    return _BACKBONES[name].make(weights=weights)


class Features(NamedTuple):
    """What a backbone makes of images `(B, H, W, 3)`.

    Attributes:
        last: `(B, ceil(H / output_stride), ceil(W / output_stride), F)`.
        low_level: `(B, ceil(H / 4), ceil(W / 4), L)`, where the last block at stride 4 ends.
    """

    last: Any
    low_level: Any


def build(
    image: Any,
    name: str,
    base: keras.Model,
    output_stride: int,
    layout: Layout,
    train_batch_norm: bool = False,
    seed: int = 0,
    max_pool_ceil: bool = False,
) -> Features:
    """Adds preprocessing and a backbone to a functional graph.

    Args:
        image: Keras input tensor `(B, H, W, 3)`, RGB in 0..255.
        name: one of `NAMES`.
        base: the model that `reference(name)` returned; it is not changed.
        output_stride: 8 or 16, input pixels per feature position.
        layout: input scaling, stride placement and epsilon of the weights to come.
        train_batch_norm: trains batch norm, its moments taken over all replicas. By default it is
            frozen: moving statistics are used and nothing of it is trainable. Layer norm, which
            has no statistics, is trained in either case.
        seed: draws the initial kernels; equal seeds give equal kernels.
        max_pool_ceil: round the size of a ResNet's max-pooling up instead of down.

    Returns:
        Keras tensors.

    Raises:
        ValueError: `name` or `output_stride` is not known.
        c3tf.nets.flat.BackboneError: a layer cannot be dilated as the output stride needs.
    """
    check_name(name)
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(
            f"`output_stride` must be one of {OUTPUT_STRIDES}. "
            f"Received: output_stride={output_stride}"
        )
    placed = place(name, base, output_stride, layout)
    # The input is scaled in the variables' precision also under a mixed policy: bytes have more
    # digits than bfloat16 keeps after the mean is taken away.
    rescale = keras.layers.Rescaling(
        scale=list(layout.scale),
        offset=list(layout.offset),
        dtype=keras.config.dtype_policy().variable_dtype,
        name=f"{PREFIX}preprocess",
    )
    readers = flat.readers(placed.steps)
    maps = {IMAGE: rescale(image)}
    for step in placed.steps:
        config = _seeded(step.config, step.name, seed)
        if step.kind is keras.layers.BatchNormalization:
            config |= {
                "epsilon": layout.epsilon,
                "trainable": train_batch_norm,
                "synchronized": train_batch_norm,
            }
        elif _has_batch_norm(readers[step.name]) and "use_bias" in config:
            config["use_bias"] = False  # Batch norm has a bias of its own.
        elif max_pool_ceil and step.name == _RESNET_POOL_PAD:
            # One more row and column at the far end; features are not negative there, so zeros
            # change no maximum.
            config["padding"] = ((1, 2), (1, 2))
        inputs = [maps[source] for source in step.inputs]
        layer = step.kind.from_config(config | {"name": PREFIX + step.name})
        maps[step.name] = layer(inputs if len(inputs) > 1 else inputs[0])
    return Features(maps[placed.last], maps[placed.low_level])


class Placed(NamedTuple):
    """A backbone with its strides placed.

    Attributes:
        steps: its layers up to the one that feeds the heads.
        grids: of every map, see `dilation.Grid`.
        last: name of the step whose output feeds the heads.
        low_level: name of the step where the last block at stride 4 ends.
    """

    steps: list[Step]
    grids: dict[str, dilation.Grid]
    last: str
    low_level: str


def place(name: str, base: keras.Model, output_stride: int, layout: Layout) -> Placed:
    """Places a backbone's strides and dilations, see `build`."""
    listed = flat.steps(base)
    if _BACKBONES[name].bgr and layout.stride_kernel == 3:
        listed = dilation.with_stride_in_3x3(listed)
    try:
        steps, grids = dilation.dilated(listed, output_stride)
    except flat.BackboneError as error:
        raise flat.BackboneError(
            f"`--backbone={name}` must be given another `--output_stride`: {error}. "
            f"Received: --output_stride={output_stride}"
        ) from error
    last = {
        _LAST: lambda: steps[-1].name,
        _LAST_BLOCK: lambda: flat.block_ends(steps)[-1],
        _STRIDE_16: lambda: _end_at(steps, grids, 16),
    }[_BACKBONES[name].features]()
    low_level = _end_at(steps, grids, LOW_LEVEL_STRIDE)
    return Placed(flat.until(steps, last), grids, last, low_level)


def _end_at(steps: list[Step], grids: dict[str, dilation.Grid], stride: int) -> str:
    """Names where the last block of a published stride ends."""
    own = [s for s in steps if s.name in grids and grids[s.name].published == stride]
    ends = set(flat.block_ends(steps))
    blocks = [step.name for step in own if step.name in ends]
    # A network without blocks: where its last activation is.
    return blocks[-1] if blocks else [s.name for s in own if flat.is_activation(s)][-1]


def _has_batch_norm(reading: list[Step]) -> bool:
    """Whether nothing but batch norm reads a convolution."""
    return [step.kind for step in reading] == [keras.layers.BatchNormalization]


_RESNET_POOL_PAD = "pool1_pad"


def _seeded(config: dict[str, Any], layer_name: str, seed: int) -> dict[str, Any]:
    """Returns a layer's configuration with a seed of its own in every random initializer."""
    result = dict(config)
    for key, value in config.items():
        if key.endswith("_initializer") and "seed" in value.get("config", {}):
            settings = value["config"] | {"seed": layer_seed(layer_name, seed)}
            result[key] = value | {"config": settings}
    return result


def layer_seed(layer_name: str, seed: int) -> int:
    """Returns the seed of one layer's initializer, so that equal shapes get unequal kernels."""
    return zlib.crc32(f"{seed}/{layer_name}".encode()) & np.iinfo(np.int32).max
