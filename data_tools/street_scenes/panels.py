"""Textured upright panels: along the street (facades, walls) and across it (their ends)."""

import dataclasses

import numpy as np

from data_tools.street_scenes.camera import NEAR
from data_tools.street_scenes.canvas import MAX_BYTE
from data_tools.street_scenes.stage import Stage


@dataclasses.dataclass(frozen=True)
class Texture:
    """A texture and, where needed, how opaque it is and which of its pixels shine.

    Attributes:
        color: `(h, w, 3)` float32, 0 to 1.
        opacity: `(h, w)` uint8, or None.
        shining: `(h, w)` bool, or None.
    """

    color: np.ndarray
    opacity: np.ndarray | None = None
    shining: np.ndarray | None = None

    def columns(self, start: float, stop: float) -> "Texture":
        """Returns the part between two shares of the width."""
        width = self.color.shape[1]
        a = min(int(start * width), width - 1)
        part = slice(a, max(a + 1, int(stop * width)))
        cut = [v if v is None else v[:, part] for v in (self.opacity, self.shining)]
        return Texture(self.color[:, part], *cut)


def paint_along(
    stage: Stage,
    s: float,
    z: tuple[float, float],
    y: tuple[float, float],
    texture: Texture,
    label: int,
) -> None:
    """Paints a panel that runs along the street at `s`, its texture starting at the near end."""
    near, far = z
    if far <= NEAR:
        return
    start = max(near, NEAR)
    texture = texture.columns((start - near) / (far - near), 1.0)
    camera = stage.camera
    # Inverse depth is linear in the column; `a + b * column` through both ends.
    first, last = camera.point(s, 0.0, start)[0], camera.point(s, 0.0, far)[0]
    if abs(last - first) < 0.5:
        return
    slope = (1.0 / far - 1.0 / start) / (last - first)
    plane = (1.0 / start - slope * first, slope, 0.0)
    shade = stage.shade((-float(np.sign(s)), 0.0, 0.0))
    corners = [(s, y[0], start), (s, y[0], far), (s, y[1], far), (s, y[1], start)]
    _paint(stage, corners, plane, texture, label, shade)


def paint_across(
    stage: Stage,
    s: tuple[float, float],
    z: float,
    y: tuple[float, float],
    texture: Texture,
    label: int,
) -> None:
    """Paints a panel that faces the camera at distance `z`, between two values of `s`."""
    if z <= NEAR:
        return
    corners = [(s[0], y[0], z), (s[1], y[0], z), (s[1], y[1], z), (s[0], y[1], z)]
    _paint(stage, corners, (1.0 / z, 0.0, 0.0), texture, label, stage.shade((0.0, 0.0, -1.0)))


def _paint(
    stage: Stage, corners: list, plane: tuple, texture: Texture, label: int, shade: float
) -> None:
    """Shades a texture and warps it to four corners in street coordinates."""
    canvas = stage.canvas
    surface = canvas.add_surface(label, plane, grain=0.04)
    shining = None
    if texture.shining is not None:
        shining = texture.shining, canvas.add_surface(label, plane, emit=2.0, grain=0.02)
    color = (np.clip(texture.color * shade, 0.0, 1.0) * MAX_BYTE).astype(np.uint8)
    pixels = stage.camera.project(corners)
    canvas.warp(pixels, color, surface, opacity=texture.opacity, shining=shining)
