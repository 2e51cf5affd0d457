"""Feature extractors: published classification networks, rebuilt at a smaller output stride.

A backbone is the *reference* network (keras.applications' ResNet, keras-cv's EfficientNet-Lite)
cloned layer by layer into the caller's graph. Cloning lets three things change: where the strides
are, how far the later convolutions are dilated, and whether batch norm is trained. The kernels
keep their shapes, so weights made for the reference network still fit; and dilation is placed so
that the dilated features, read at every second (fourth) position, are the reference's features.

Two facts belong to the weights and not to the architecture, so they arrive in a `Layout`: how the
input is scaled, and which convolution of a stage's first residual block carries the stride.

Only built-in Keras layers appear in the result, so that it can be archived and loaded anywhere.
"""

import dataclasses
import re
import zlib
from typing import Any

import keras
import numpy as np

# Every backbone layer's name begins with this, which is how optimizers tell backbone from heads.
PREFIX = "backbone_"

OUTPUT_STRIDES = (8, 16)

_BYTE = float(np.iinfo(np.uint8).max)


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a set of weights expects of the network that it is loaded into.

    Attributes:
        scale: per-channel (RGB) factor applied to the 0..255 input.
        offset: per-channel (RGB) term added after scaling.
        stride_kernel: 1 or 3, the kernel size of the convolution that carries the stride in a
            ResNet stage's first block (the original and keras.applications: 1; torchvision: 3).
            EfficientNet-Lite strides its depthwise convolution whatever this says.
        epsilon: batch norm's epsilon.
    """

    scale: tuple[float, float, float]
    offset: tuple[float, float, float]
    stride_kernel: int
    epsilon: float

    def __post_init__(self) -> None:
        if self.stride_kernel not in (1, 3):
            raise ValueError(
                f"`stride_kernel` must be 1 or 3. Received: stride_kernel={self.stride_kernel}"
            )
        for field in ("scale", "offset"):
            values = getattr(self, field)
            if len(values) != 3 or not np.all(np.isfinite(values)):
                raise ValueError(
                    f"`{field}` must be three finite numbers. Received: {field}={values}"
                )
        if not 0.0 < self.epsilon < 1.0:
            raise ValueError(f"`epsilon` must be in (0, 1). Received: epsilon={self.epsilon}")


# keras.applications expects BGR minus the mean; its first kernel is flipped when it is loaded, so
# that the graph sees RGB throughout.
KERAS_RESNET = Layout(
    scale=(1.0, 1.0, 1.0),
    offset=(-123.68, -116.779, -103.939),
    stride_kernel=1,
    epsilon=1.001e-5,
)
_TORCH_MEAN = (0.485, 0.456, 0.406)
_TORCH_STD = (0.229, 0.224, 0.225)
TORCH_RESNET = Layout(
    scale=tuple(1.0 / (_BYTE * std) for std in _TORCH_STD),
    offset=tuple(-mean / std for mean, std in zip(_TORCH_MEAN, _TORCH_STD, strict=True)),
    stride_kernel=3,
    epsilon=1e-5,
)
EFFICIENTNET_LITE = Layout(
    scale=(1.0 / 128.0,) * 3,
    offset=(-127.0 / 128.0,) * 3,
    stride_kernel=3,
    epsilon=1e-3,
)


@dataclasses.dataclass(frozen=True)
class _Backbone:
    """One entry of the table of backbones.

    Attributes:
        feature_layer: the reference layer whose output feeds the heads.
        library_layout: the layout of the weights that the reference library publishes.
        torch_layout: the layout of the weights that PyTorch users publish; its normalised input
            also suits random weights.
        grids: per stage, the reference's stride in pixels at its input and at its output.
    """

    feature_layer: str
    library_layout: Layout
    torch_layout: Layout
    grids: dict[int, tuple[int, int]]


_RESNET = _Backbone(
    feature_layer="conv5_block3_out",
    library_layout=KERAS_RESNET,
    torch_layout=TORCH_RESNET,
    grids={2: (4, 4), 3: (4, 8), 4: (8, 16), 5: (16, 32)},
)
_LITE0 = _Backbone(
    # The last layer whose own stride is 16, so that output stride 16 dilates nothing. The two
    # stages behind it hold 2.3 of 3.0 million parameters, and at output stride 16 they would more
    # than double the time of a training step on a CPU, which is what this backbone is for.
    feature_layer="block5c_add",
    library_layout=EFFICIENTNET_LITE,
    torch_layout=EFFICIENTNET_LITE,
    grids={1: (2, 2), 2: (2, 4), 3: (4, 8), 4: (8, 16), 5: (16, 16), 6: (16, 32), 7: (32, 32)},
)
_BACKBONES = {"resnet101": _RESNET, "resnet50": _RESNET, "efficientnet_lite0": _LITE0}
NAMES = tuple(_BACKBONES)


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


def reference(name: str) -> keras.Model:
    """Builds a backbone as its library publishes it: output stride 32, no preprocessing.

    Weight files name and shape their arrays after this network's layers.

    Args:
        name: one of `NAMES`.

    Returns:
        A functional model with fresh random weights; works offline.
    """
    check_name(name)
    if name == "efficientnet_lite0":
        return _efficientnet_lite0()
    make = {"resnet50": keras.applications.ResNet50, "resnet101": keras.applications.ResNet101}
    return make[name](include_top=False, weights=None, input_shape=(None, None, 3))


def build(
    image: Any,
    name: str,
    base: keras.Model,
    output_stride: int,
    layout: Layout,
    train_batch_norm: bool = False,
    seed: int = 0,
    max_pool_ceil: bool = False,
) -> Any:
    """Adds preprocessing and a backbone to a functional graph.

    Args:
        image: Keras input tensor `(B, H, W, 3)`, RGB in 0..255.
        name: one of `NAMES`.
        base: the model that `reference(name)` returned; it is not changed.
        output_stride: 8 or 16, input pixels per feature position.
        layout: input scaling, stride placement and epsilon of the weights to come.
        train_batch_norm: trains batch norm, its moments taken over all replicas. By default it is
            frozen: moving statistics are used and nothing of it is trainable.
        seed: draws the initial kernels; equal seeds give equal kernels.
        max_pool_ceil: round the size of a ResNet's max-pooling up instead of down.

    Returns:
        Keras tensor `(B, ceil(H / output_stride), ceil(W / output_stride), F)`.

    Raises:
        ValueError: `name` or `output_stride` is not known.
    """
    check_name(name)
    if output_stride not in OUTPUT_STRIDES:
        raise ValueError(
            f"`output_stride` must be one of {OUTPUT_STRIDES}. "
            f"Received: output_stride={output_stride}"
        )
    entry = _BACKBONES[name]
    # The input is scaled in the variables' precision also under a mixed policy: bytes have more
    # digits than bfloat16 keeps after the mean is taken away.
    rescale = keras.layers.Rescaling(
        scale=list(layout.scale),
        offset=list(layout.offset),
        dtype=keras.config.dtype_policy().variable_dtype,
        name=f"{PREFIX}preprocess",
    )
    cut = keras.Model(base.inputs[0], base.get_layer(entry.feature_layer).output)
    first = cut.layers[1].name

    def clone(layer: keras.layers.Layer) -> keras.layers.Layer:
        config = _seeded(layer.get_config(), layer.name, seed)
        if isinstance(layer, keras.layers.BatchNormalization):
            config |= {
                "epsilon": layout.epsilon,
                "trainable": train_batch_norm,
                "synchronized": train_batch_norm,
            }
        elif isinstance(layer, keras.layers.Conv2D | keras.layers.DepthwiseConv2D):
            config["use_bias"] = False  # Batch norm follows and has a bias of its own.
            config |= _placement(layer.name, entry.grids, output_stride, layout.stride_kernel)
        elif max_pool_ceil and layer.name == _RESNET_POOL_PAD:
            # One more row and column at the far end; features are not negative there, so zeros
            # change no maximum.
            config["padding"] = ((1, 2), (1, 2))
        return type(layer).from_config(config | {"name": PREFIX + layer.name})

    def call(layer: keras.layers.Layer, x: Any, **options: Any) -> Any:
        name = layer.name.removeprefix(PREFIX)
        if name == first:
            x = rescale(x)
        if _LITE_PAD.fullmatch(name):
            return x
        if isinstance(layer, keras.layers.Conv2D) and _pads_itself(layer):
            x = keras.layers.ZeroPadding2D(1, name=f"{PREFIX}{name}_pad")(x)
        return layer(x, **options)

    cloned = keras.models.clone_model(
        cut, input_tensors=image, clone_function=clone, call_function=call
    )
    return cloned.outputs[0]


_RESNET_POOL_PAD = "pool1_pad"
_RESNET_CONV = re.compile(r"conv(\d)_block(\d+)_(\d)_conv")
_LITE_CONV = re.compile(r"block(\d)([a-z])_dwconv")
# Replaced by padding="same", which is equal for even sizes and, unlike a pad chosen before the
# size is known, keeps the last row and column of odd ones.
_LITE_PAD = re.compile(r"stem_conv_pad|block\d[a-z]_dwconv_pad")


def _placement(
    name: str, grids: dict[int, tuple[int, int]], output_stride: int, stride_kernel: int
) -> dict[str, Any]:
    """Returns the strides, dilation and padding that differ from the reference layer's."""
    if name == "stem_conv":
        return {"padding": "same"}
    if match := _LITE_CONV.fullmatch(name):
        stage, is_first = int(match[1]), match[2] == "a"
        stride, before, after = _grid(*grids[stage], output_stride)
        return {
            "strides": stride if is_first else 1,
            "dilation_rate": before if is_first else after,
            "padding": "same",
        }
    if match := _RESNET_CONV.fullmatch(name):
        stage, block, index = (int(v) for v in match.groups())
        stride, before, after = _grid(*grids[stage], output_stride)
        strided = block == 1 and index in (0, 1 if stride_kernel == 1 else 2)
        changes: dict[str, Any] = {"strides": stride if strided else 1}
        if index == 2:
            # A 3x3 convolution that was to subsample still reads the finer grid before it.
            changes["dilation_rate"] = before if strided else after
            if strided and stride > 1:
                changes["padding"] = "valid"
        return changes
    return {}


def _pads_itself(layer: keras.layers.Conv2D) -> bool:
    """Whether a 3x3 convolution needs a pad of one on every side before it.

    "same" would pad an even size on one side only, and shift what torchvision's weights saw.
    """
    return (
        bool(_RESNET_CONV.fullmatch(layer.name.removeprefix(PREFIX)))
        and layer.kernel_size == (3, 3)
        and layer.padding == "valid"
    )


def _grid(before: int, after: int, output_stride: int) -> tuple[int, int, int]:
    """Returns a stage's stride, and the dilations on the grids at its input and its output."""
    dilation_in = max(1, before // output_stride)
    dilation_out = max(1, after // output_stride)
    stride = 1 if dilation_out > dilation_in else after // before
    return stride, dilation_in, dilation_out


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


def _efficientnet_lite0() -> keras.Model:
    """Builds EfficientNet-Lite0 from explicit arguments; keras-cv's presets need a download."""
    # Imported where it is used: a ResNet run need not pay for keras-cv's import.
    from keras_cv.models import EfficientNetLiteBackbone

    return EfficientNetLiteBackbone(
        include_rescaling=False,
        width_coefficient=1.0,
        depth_coefficient=1.0,
        drop_connect_rate=0.0,
        stackwise_kernel_sizes=[3, 3, 5, 3, 5, 5, 3],
        stackwise_num_repeats=[1, 2, 2, 3, 3, 4, 1],
        stackwise_input_filters=[32, 16, 24, 40, 80, 112, 192],
        stackwise_output_filters=[16, 24, 40, 80, 112, 192, 320],
        stackwise_expansion_ratios=[1, 6, 6, 6, 6, 6, 6],
        stackwise_strides=[1, 2, 2, 2, 1, 2, 1],
        input_shape=(None, None, 3),
    )
