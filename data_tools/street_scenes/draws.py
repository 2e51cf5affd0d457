"""Small random draws and colour arithmetic shared by all painting modules.

Colours are RGB triples of floats, 0 to 1, until the canvas turns them into bytes.
"""

import colorsys
from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Color = tuple[float, float, float]
Range = tuple[float, float]
T = TypeVar("T")


def pick(rng: np.random.Generator, options: Sequence[T]) -> T:
    """Draws one of `options`, all equally likely."""
    return options[int(rng.integers(len(options)))]


def chance(rng: np.random.Generator, probability: float) -> bool:
    """Draws whether something with this probability happens."""
    return bool(rng.random() < probability)


def between(rng: np.random.Generator, low: float, high: float) -> float:
    """Draws a number uniformly from `[low, high)`."""
    return low + (high - low) * float(rng.random())


def hsv(rng: np.random.Generator, hue: Range, saturation: Range, value: Range) -> Color:
    """Draws a colour from ranges of hue (in turns), saturation and value."""
    return colorsys.hsv_to_rgb(
        between(rng, *hue) % 1.0, between(rng, *saturation), between(rng, *value)
    )


def scale(color: Color, factor: float) -> Color:
    """Multiplies a colour's brightness."""
    return color[0] * factor, color[1] * factor, color[2] * factor


def mix(first: Color, second: Color, share: float) -> Color:
    """Blends two colours; `share` is the weight of the second."""
    return tuple(a + (b - a) * share for a, b in zip(first, second, strict=True))


def jitter(rng: np.random.Generator, color: Color, amount: float) -> Color:
    """Shifts the channels of a colour together and, half as far, apart."""
    common = between(rng, -amount, amount)
    return tuple(min(1.0, max(0.0, c + common + between(rng, -amount, amount) / 2)) for c in color)


def draw_paint(rng: np.random.Generator) -> Color:
    """Draws the colour of something that people paint as they like: vehicles, doors, clothes."""
    if chance(rng, 0.5):
        return hsv(rng, (0, 1), (0, 0.12), (0.08, 0.95))
    return hsv(rng, (0, 1), (0.3, 0.95), (0.2, 0.9))
