"""Bilinear enlargement by whole factors, of built-in layers that take maps of any size."""

from typing import Any

import keras

# What the first of the layers is called, after the prefix.
REPEATED_ROWS = "repeated_rows"


def upsampled(x: Any, factor: int, prefix: str = "", dtype: Any = None) -> Any:
    """Enlarges maps bilinearly, with half-pixel centres.

    `UpSampling2D(interpolation="bilinear")` fails where the size is unknown when a graph is
    traced. Repeating each value `2 * factor` times and averaging as many at every second place is
    the same: the average of a step function is linear, and at the border the pooling counts
    inside values alone, which repeats the outermost value.

    Args:
        x: Keras tensor `(B, h, w, C)`.
        factor: how many positions one becomes, in each direction.
        prefix: of the layers' names.
        dtype: in which to compute; the policy's when absent.

    Returns:
        `(B, factor h, factor w, C)`.
    """
    repeats = 2 * factor
    for name, size, step in (("rows", (repeats, 1), (2, 1)), ("columns", (1, repeats), (1, 2))):
        x = keras.layers.UpSampling2D(size, dtype=dtype, name=f"{prefix}repeated_{name}")(x)
        x = keras.layers.AveragePooling2D(
            size, step, padding="same", dtype=dtype, name=f"{prefix}averaged_{name}"
        )(x)
    return x


def factor_of(network: keras.Model, prefix: str) -> int:
    """Returns by how much a network enlarges maps under a prefix; 1 where it does not."""
    for layer in network.layers:
        if layer.name == f"{prefix}{REPEATED_ROWS}":
            return layer.size[0] // 2
    return 1
