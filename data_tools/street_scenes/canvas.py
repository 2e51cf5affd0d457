"""The canvas: colours and, for every pixel, which surface is seen there.

Image and label come from the same calls: each shape is painted into the colour image and, with
the same outline, into an image of surface numbers. A surface knows its class, its depth and
whether it shines, so label, haze and night light all follow from the one number per pixel.
"""

import dataclasses

import numpy as np
from PIL import Image, ImageDraw

from c3tf.labels import CITYSCAPES, IGNORE
from data_tools.street_scenes.camera import Camera, Pixel, Point
from data_tools.street_scenes.draws import Color

TRAIN_ID = {name: i for i, name in enumerate(CITYSCAPES.class_names)}
# Things that stand in the street and belong to no class.
UNLABELED = IGNORE
MAX_BYTE = int(np.iinfo(np.uint8).max)


def to_bytes(color: Color) -> tuple[int, int, int]:
    """Turns a colour of floats into the bytes that Pillow paints with."""
    r, g, b = (int(MAX_BYTE * c) for c in color)
    return min(MAX_BYTE, max(0, r)), min(MAX_BYTE, max(0, g)), min(MAX_BYTE, max(0, b))


@dataclasses.dataclass(frozen=True)
class Buffers:
    """What was painted, at canvas resolution, and the table of surfaces.

    Attributes:
        color: `(H, W, 3)` uint8.
        surface: `(H, W)` int32, rows of the tables below.
        label: `(S,)` uint8 train id per surface.
        inverse_depth: `(S, 3)` float32, 1/z as coefficients of (1, column, row).
        emit: `(S,)` float32, 0 reflects light, 1 shines by itself.
        grain: `(S,)` float32, strength of the surface's fine texture.
    """

    color: np.ndarray
    surface: np.ndarray
    label: np.ndarray
    inverse_depth: np.ndarray
    emit: np.ndarray
    grain: np.ndarray


class Canvas:
    """Paints shapes from far to near."""

    def __init__(self, camera: Camera) -> None:
        size = (camera.width, camera.height)
        self.camera = camera
        self._table: list[tuple] = []
        self._color = Image.new("RGB", size)
        self._surface = Image.new("I", size)
        self._draw_color = ImageDraw.Draw(self._color)
        self._draw_surface = ImageDraw.Draw(self._surface)

    def add_surface(
        self,
        label: int,
        inverse_depth: tuple[float, float, float],
        emit: float = 0.0,
        grain: float = 0.03,
    ) -> int:
        """Registers a plane with its class and returns the number to paint it with."""
        self._table.append((label, *inverse_depth, emit, grain))
        return len(self._table) - 1

    def add_upright(self, label: int, z: float, emit: float = 0.0, grain: float = 0.03) -> int:
        """Registers something that stands at one distance `z`."""
        return self.add_surface(label, (1.0 / max(z, 0.5), 0.0, 0.0), emit, grain)

    def fill(self, color: Image.Image, surface: np.ndarray) -> None:
        """Sets the whole canvas: an RGB image and `(H, W)` surface numbers."""
        self._color.paste(color)
        self._surface.paste(Image.fromarray(surface.astype(np.int32)))

    def polygon(self, pixels: list[Pixel], color: Color, surface: int) -> None:
        """Paints a polygon given as (column, row) pairs."""
        if len(pixels) > 2:
            self._draw_color.polygon(pixels, to_bytes(color))
            self._draw_surface.polygon(pixels, surface)

    def face(self, points: list[Point], color: Color, surface: int) -> None:
        """Paints a polygon given in street coordinates."""
        self.polygon(self.camera.project(points), color, surface)

    def ellipse(self, box: tuple, color: Color, surface: int) -> None:
        """Paints an ellipse in a box (left, top, right, bottom) of pixels."""
        self._draw_color.ellipse(box, to_bytes(color))
        self._draw_surface.ellipse(box, surface)

    def line(self, pixels: list[Pixel], color: Color, surface: int, width: float) -> None:
        """Paints a polyline `width` pixels wide, at least one."""
        if len(pixels) > 1:
            thick = max(1, round(width))
            self._draw_color.line(pixels, to_bytes(color), thick)
            self._draw_surface.line(pixels, surface, thick)

    def sprite(
        self, left: int, top: int, color: np.ndarray, mask: np.ndarray, surface: int
    ) -> None:
        """Pastes `(h, w, 3)` uint8 colours where the boolean `(h, w)` mask is set."""
        stencil = Image.fromarray(mask.astype(np.uint8) * MAX_BYTE)
        self._color.paste(Image.fromarray(color), (left, top), stencil)
        self._surface.paste(
            surface, (left, top, left + mask.shape[1], top + mask.shape[0]), stencil
        )

    def warp(
        self,
        pixels: list[Pixel],
        texture: np.ndarray,
        surface: int,
        opacity: np.ndarray | None = None,
        shining: tuple[np.ndarray, int] | None = None,
    ) -> None:
        """Paints a textured quadrilateral.

        Args:
            pixels: (column, row) of the texture's corners: bottom left, bottom right, top
                right, top left.
            texture: `(h, w, 3)` uint8.
            surface: surface number of the whole outline.
            opacity: `(h, w)` uint8; where it is low the background shows through. The outline
                belongs to the surface all the same, as in data sets labeled by people.
            shining: a boolean `(h, w)` mask and the surface number of the texture under it.
        """
        corners = np.asarray(pixels)
        left, top = np.floor(corners.min(0)).astype(int)
        right, bottom = np.ceil(corners.max(0)).astype(int) + 1
        left, top = max(left, 0), max(top, 0)
        right, bottom = min(right, self.camera.width), min(bottom, self.camera.height)
        if right <= left or bottom <= top:
            return
        size = (int(right - left), int(bottom - top))
        how = Image.Transform.PERSPECTIVE, homography(corners - (left, top), *texture.shape[:2])
        smooth = Image.Resampling.BILINEAR
        # The outline comes from the same transform as the texture, so neither has pixels that
        # the other lacks.
        outline = Image.new("L", texture.shape[1::-1], MAX_BYTE).transform(size, *how)
        warped = Image.fromarray(texture).transform(size, *how, smooth)
        place = (int(left), int(top))
        box = (*place, int(right), int(bottom))
        self._surface.paste(surface, box, outline)
        if shining is not None:
            mask = Image.fromarray(shining[0].astype(np.uint8) * MAX_BYTE).transform(size, *how)
            self._surface.paste(shining[1], box, mask)
        if opacity is not None:
            outline = Image.fromarray(opacity).transform(size, *how, smooth)
        self._color.paste(warped, place, outline)

    def buffers(self) -> Buffers:
        """Returns everything painted so far."""
        table = np.asarray(self._table, np.float32)
        return Buffers(
            color=np.asarray(self._color),
            surface=np.asarray(self._surface),
            label=table[:, 0].astype(np.uint8),
            inverse_depth=table[:, 1:4],
            emit=table[:, 4],
            grain=table[:, 5],
        )


def homography(corners: np.ndarray, height: int, width: int) -> list[float]:
    """Solves for Pillow's eight coefficients that take canvas pixels to texture pixels."""
    texture = ((0, height), (width, height), (width, 0), (0, 0))
    rows, values = [], []
    for (x, y), (u, v) in zip(corners, texture, strict=True):
        rows.append((x, y, 1, 0, 0, 0, -u * x, -u * y))
        rows.append((0, 0, 0, x, y, 1, -v * x, -v * y))
        values += (u, v)
    return np.linalg.solve(np.asarray(rows), np.asarray(values)).tolist()
