"""EfficientNet-Lite0 to 4 of plain Keras layers, named as keras-cv's.

EfficientNet without squeeze-and-excitation and with ReLU6 (Google, 2020). The stem, the top and
the number of blocks of the first and the last stage are the same in all five.
"""

import math
from typing import Any, NamedTuple

import keras

# Width and depth of each, as multiples of the first one's.
_SCALES = {0: (1.0, 1.0), 1: (1.0, 1.1), 2: (1.1, 1.2), 3: (1.2, 1.4), 4: (1.4, 1.8)}
NUMBERS = tuple(_SCALES)
_STEM, _TOP = 32, 1280
_DIVISOR = 8
_EPSILON = 1e-3


class _Stage(NamedTuple):
    """A row of the table of EfficientNet-B0."""

    kernel: int
    blocks: int
    filters: int
    expansion: int
    stride: int


_STAGES = (
    _Stage(3, 1, 16, 1, 1),
    _Stage(3, 2, 24, 6, 2),
    _Stage(5, 2, 40, 6, 2),
    _Stage(3, 3, 80, 6, 2),
    _Stage(5, 3, 112, 6, 1),
    _Stage(5, 4, 192, 6, 2),
    _Stage(3, 1, 320, 6, 1),
)


def blocks(number: int) -> tuple[int, ...]:
    """Returns the number of blocks of each stage."""
    depth = _SCALES[number][1]
    inner = [math.ceil(depth * stage.blocks) for stage in _STAGES[1:-1]]
    return (_STAGES[0].blocks, *inner, _STAGES[-1].blocks)


def build(number: int, weights: None = None) -> keras.Model:
    """Builds one of the family, without preprocessing, classifier and dropout.

    Args:
        number: 0 to 4.
        weights: None; there are none that Keras could download.

    Returns:
        A functional model with random weights.
    """
    del weights
    width = _SCALES[number][0]
    image = keras.Input((None, None, 3))
    x = keras.layers.ZeroPadding2D(((0, 1), (0, 1)), name="stem_conv_pad")(image)
    x = _convolution(x, _STEM, 3, "stem_", strides=2, padding="valid")
    for index, (stage, count) in enumerate(zip(_STAGES, blocks(number), strict=True), start=1):
        for place in range(count):
            name = f"block{index}{chr(ord('a') + place)}_"
            stride = stage.stride if place == 0 else 1
            x = _block(x, stage, _rounded(width * stage.filters), stride, name)
    x = _convolution(x, _TOP, 1, "top_")
    return keras.Model(image, x, name=f"efficientnet_lite{number}")


def _block(x: Any, stage: _Stage, filters: int, stride: int, name: str) -> Any:
    """Adds a block: to more channels, a depthwise convolution, and back to few."""
    entered, channels = x, x.shape[-1]
    if stage.expansion > 1:
        x = _convolution(x, channels * stage.expansion, 1, f"{name}expand_")
    if stride > 1:
        far = stage.kernel // 2
        pad = ((far - 1, far), (far - 1, far))
        x = keras.layers.ZeroPadding2D(pad, name=f"{name}dwconv_pad")(x)
    x = keras.layers.DepthwiseConv2D(
        stage.kernel,
        strides=stride,
        padding="valid" if stride > 1 else "same",
        use_bias=False,
        depthwise_initializer=_initializer(),
        name=f"{name}dwconv",
    )(x)
    x = _normed(x, name)
    x = keras.layers.Activation("relu6", name=f"{name}activation")(x)
    x = _convolution(x, filters, 1, f"{name}project_", activation=False)
    if stride == 1 and filters == channels:
        x = keras.layers.Add(name=f"{name}add")([x, entered])
    return x


def _convolution(
    x: Any,
    filters: int,
    kernel: int,
    name: str,
    strides: int = 1,
    padding: str = "same",
    activation: bool = True,
) -> Any:
    x = keras.layers.Conv2D(
        filters,
        kernel,
        strides=strides,
        padding=padding,
        use_bias=False,
        kernel_initializer=_initializer(),
        name=f"{name}conv",
    )(x)
    x = _normed(x, name)
    return keras.layers.Activation("relu6", name=f"{name}activation")(x) if activation else x


def _normed(x: Any, name: str) -> Any:
    return keras.layers.BatchNormalization(axis=3, epsilon=_EPSILON, name=f"{name}bn")(x)


def _initializer() -> keras.initializers.Initializer:
    return keras.initializers.VarianceScaling(2.0, "fan_out", "truncated_normal")


def _rounded(filters: float) -> int:
    """Rounds to a multiple of eight, and not down by more than a tenth."""
    nearest = max(_DIVISOR, int(filters + _DIVISOR / 2) // _DIVISOR * _DIVISOR)
    return nearest if nearest >= 0.9 * filters else nearest + _DIVISOR
