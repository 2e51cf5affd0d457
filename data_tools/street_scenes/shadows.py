"""Shadows on the ground: what the sun throws, and the darkness under things."""

import math

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from data_tools.street_scenes.camera import Pixel
from data_tools.street_scenes.canvas import MAX_BYTE
from data_tools.street_scenes.stage import Box, Stage

# Shadows of a very low sun would run over everything.
_LONGEST = 3.5


def paint_shadows(stage: Stage, boxes: list[Box]) -> np.ndarray:
    """Returns the share of light taken from each ground pixel, `(H, W)` float32.

    Args:
        stage: the scene; its condition decides direction and hardness.
        boxes: everything that throws a shadow.
    """
    camera = stage.camera
    mask = Image.new("L", (camera.width, camera.height))
    draw = ImageDraw.Draw(mask)
    contact = int(0.3 * MAX_BYTE)
    for box in boxes:
        if box.low < 0.3:
            _fill(stage, draw, _corners(box, 1.06), contact)
    cast = int((0.12 + 0.45 * stage.condition.sunshine) * MAX_BYTE)
    if stage.condition.sunshine > 0.1:
        sun = stage.condition.direction
        # Metres of shadow per metre of height, along s and z.
        length = min(_LONGEST, math.hypot(sun[0], sun[2]) / max(sun[1], 1e-3))
        flat = math.hypot(sun[0], sun[2])
        run = -sun[0] / flat * length, -sun[2] / flat * length
        for box in boxes:
            base = _corners(box, 1.0)
            points = [
                (s + run[0] * y, z + run[1] * y) for y in (box.low, box.high) for s, z in base
            ]
            _fill(stage, draw, convex_hull(points), cast)
    blurred = mask.filter(ImageFilter.BoxBlur(1 + 3 * stage.condition.cloud))
    return np.asarray(blurred, np.float32) / MAX_BYTE


def _corners(box: Box, grow: float) -> list[Pixel]:
    """Returns the corners (s, z) of the footprint on which a box stands."""
    ds, dz = box.half_s * grow, box.half_z * grow
    return [(box.s + i * ds, box.z + j * dz) for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1))]


def _fill(stage: Stage, draw: ImageDraw.ImageDraw, footprint: list[Pixel], value: int) -> None:
    """Fills a polygon of ground points."""
    pixels = stage.camera.project([(s, 0.0, z) for s, z in footprint])
    if len(pixels) > 2:
        draw.polygon(pixels, value)


def convex_hull(points: list[Pixel]) -> list[Pixel]:
    """Returns the corners of the convex hull of points (Andrew's monotone chain)."""
    ordered = sorted(points)
    chains: list[Pixel] = []
    for sequence in (ordered, ordered[::-1]):
        chain: list[tuple[float, float]] = []
        for p in sequence:
            while len(chain) > 1 and _turn(chain[-2], chain[-1], p) <= 0:
                chain.pop()
            chain.append(p)
        chains += chain[:-1]
    return chains


def _turn(a: tuple, b: tuple, c: tuple) -> float:
    """Returns a positive number where `a`, `b`, `c` turn left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
