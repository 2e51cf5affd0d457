"""What annotation tools draw on an image: shapes of classes, one over the other."""

import collections
import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from c3tf.errors import DataError
from c3tf.io import image_bytes, schema

Point = tuple[float, float]
# A circle is drawn as so many corners, an ellipse as well.
_CORNERS = 64
# Beyond any image, and within what a drawing library counts in.
_FARTHEST = 10**6
# Pixels by which tools place corners outside.
_ROUNDED = 1


class AnnotationError(DataError):
    """An annotation file cannot be used; the message names the file and the annotation."""


@dataclasses.dataclass(frozen=True)
class Polygon:
    """A filled outline in pixels of the image, x to the right and y down; its border belongs to it.

    Attributes:
        label: name of its class.
        outline: at least one corner.
        holes: outlines that are cut out of it.
    """

    label: str
    outline: Sequence[Point]
    holes: Sequence[Sequence[Point]] = ()

    def cover(self, size: tuple[int, int]) -> np.ndarray:
        """Returns the pixels that it covers, `(H, W)` bool."""
        height, width = size
        canvas = Image.new("L", (width, height))
        draw = ImageDraw.Draw(canvas)
        _fill(draw, self.outline, 1)
        for hole in self.holes:
            _fill(draw, hole, 0)
        return np.asarray(canvas, bool)

    def reaches_beyond(self, size: tuple[int, int]) -> bool:
        """Tells whether a corner lies outside of the image, by more than tools round."""
        height, width = size
        return any(
            not (-_ROUNDED <= x <= width + _ROUNDED and -_ROUNDED <= y <= height + _ROUNDED)
            for x, y in self.outline
        )


@dataclasses.dataclass(frozen=True)
class Bitmap:
    """Pixels of a class.

    Attributes:
        label: name of its class.
        pixels: `(h, w)` bool.
        left: column of its first one in the image.
        top: row of its first one.
    """

    label: str
    pixels: np.ndarray
    left: int = 0
    top: int = 0

    def cover(self, size: tuple[int, int]) -> np.ndarray:
        """Returns the pixels that it covers, `(H, W)` bool; what lies outside is cut off."""
        covered = np.zeros(size, bool)
        height, width = self.pixels.shape
        top, left = max(self.top, 0), max(self.left, 0)
        bottom, right = min(self.top + height, size[0]), min(self.left + width, size[1])
        if bottom > top and right > left:
            covered[top:bottom, left:right] = self.pixels[
                top - self.top : bottom - self.top, left - self.left : right - self.left
            ]
        return covered

    def reaches_beyond(self, size: tuple[int, int]) -> bool:
        """Tells whether a part lies outside of the image."""
        height, width = self.pixels.shape
        bottom, right = self.top + height, self.left + width
        return min(self.top, self.left) < 0 or bottom > size[0] or right > size[1]


Shape = Polygon | Bitmap


@dataclasses.dataclass(frozen=True)
class Drawing:
    """What one annotation file, or one entry of it, says of an image.

    Attributes:
        image: path or name of the image, as the annotation has it.
        source: the file, for messages.
        size: height and width of the image as it was drawn on; None where it is not noted.
        shapes: in the order in which they are drawn, later ones over earlier ones.
        open_shapes: number of shapes without an area (points, lines), by their kind.
        other_names: what the image may be called where there is none of its name, in order.
        beside: where the image should lie, which decides between several of its name.
    """

    image: str
    source: str
    size: tuple[int, int] | None
    shapes: Sequence[Shape]
    open_shapes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    other_names: Sequence[str] = ()
    beside: str = ""


def points_of(numbers: Sequence[float], where: str) -> list[Point]:
    """Makes points of x, y, x, y, ...

    Raises:
        AnnotationError: they are an odd number, none, or no place in any image.
    """
    if not numbers or len(numbers) % 2:
        raise AnnotationError(
            f"{where}: an outline of {len(numbers)} numbers is no list of points."
        )
    # A comparison that is false for NaN as well.
    if not all(-_FARTHEST <= value <= _FARTHEST for value in numbers):
        raise AnnotationError(f"{where}: an outline lies beyond {_FARTHEST} pixels.")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


def points_of_pairs(pairs: Sequence[Sequence[float]], where: str) -> list[Point]:
    """Makes points of lists of x and y, see `points_of`."""
    return points_of([number for pair in pairs for number in pair], where)


def check(what: schema.Check, value: Any, name: str, where: str) -> None:
    """Checks a part of an annotation that only its kind says the form of.

    Raises:
        AnnotationError: it is something else.
    """
    try:
        what(value, name)
    except schema.SchemaError as error:
        raise AnnotationError(f"{where}: {error}.") from error


def rectangle(left: float, top: float, right: float, bottom: float) -> list[Point]:
    """Returns the corners of a rectangle."""
    return [(left, top), (right, top), (right, bottom), (left, bottom)]


def ellipse(x: float, y: float, x_radius: float, y_radius: float) -> list[Point]:
    """Returns corners of an ellipse around a point."""
    angles = [2 * math.pi * index / _CORNERS for index in range(_CORNERS)]
    return [(x + x_radius * math.cos(a), y + y_radius * math.sin(a)) for a in angles]


def turned(points: Sequence[Point], center: Point, degrees: float) -> list[Point]:
    """Turns points around another one, clockwise as one sees them."""
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    x, y = center
    return [
        (x + cosine * (a - x) - sine * (b - y), y + sine * (a - x) + cosine * (b - y))
        for a, b in points
    ]


def size_of(height: int, width: int, where: str) -> tuple[int, int]:
    """Returns a size that an annotation notes.

    Raises:
        AnnotationError: no image of that size is ever read.
    """
    if not (height > 0 and width > 0 and height * width <= image_bytes.MAX_PIXELS):
        raise AnnotationError(f"{where}: an image of {width} x {height} pixels is none.")
    return height, width


def draw(
    drawing: Drawing, size: tuple[int, int], values: dict[str, int], background: int
) -> np.ndarray:
    """Draws a mask.

    Args:
        drawing: the shapes.
        size: height and width of the mask.
        values: what is drawn for each label; a label without one is passed over.
        background: the value of what no shape covers.

    Returns:
        `(H, W)` uint8.
    """
    mask = np.full(size, background, np.uint8)
    for shape in drawing.shapes:
        if shape.label in values:
            mask[shape.cover(size)] = values[shape.label]
    return mask


def _fill(draw: ImageDraw.ImageDraw, outline: Sequence[Point], value: int) -> None:
    # A single corner or two have no inside, but pixels they lie on, as in labelme.
    if len(outline) > 2:
        draw.polygon(list(outline), fill=value, outline=value)
    else:
        draw.line(list(outline) * 2, fill=value)
