"""Textures of built surfaces: brick, plaster, panels, boards, and facades with windows."""

import numpy as np

from data_tools.street_scenes.draws import Color, Range, between, chance, hsv, jitter, pick, scale
from data_tools.street_scenes.panels import Texture
from data_tools.street_scenes.stage import Stage

MATERIALS = ("brick", "plaster", "concrete", "stone", "boards")


def surface(
    stage: Stage, shape: tuple[int, int], scale_px: float, color: Color, kind: str
) -> np.ndarray:
    """Returns `(h, w, 3)` float32 of one material.

    Args:
        stage: the scene.
        shape: height and width in texture pixels.
        scale_px: texture pixels per metre.
        color: base colour.
        kind: one of `MATERIALS`.
    """
    rng, (height, width) = stage.rng, shape
    stain = stage.noise.patch(rng, "stain", height, width)
    fine = stage.noise.patch(rng, "fine", height, width)
    bright = 0.8 + between(rng, 0.05, 0.3) * stain + between(rng, 0.02, 0.2) * fine
    cell = {"brick": (0.25, 0.5), "stone": (0.45, 0.8), "concrete": (1.5, 2.5), "boards": (9, 0.3)}
    if kind in cell:
        rows = np.arange(height)[:, None] / (cell[kind][0] * scale_px)
        columns = np.arange(width)[None] / (cell[kind][1] * scale_px)
        if kind in ("brick", "stone"):
            columns = columns + 0.5 * (np.floor(rows) % 2)
        # Blocks differ in tone as far as the texture can resolve them.
        tone = stage.noise.at("fine", np.floor(rows).astype(int), np.floor(columns).astype(int))
        bright = bright * (1.0 + (0.12 if kind == "concrete" else 0.35) * (tone - 0.5))
        joint = (
            np.minimum(rows % 1.0 * cell[kind][0], columns % 1.0 * cell[kind][1]) * scale_px < 1.0
        )
        bright = bright * (1.0 - between(rng, 0.08, 0.3) * joint)
    return (np.asarray(color, np.float32) * bright[:, :, None]).astype(np.float32)


def wall_color(rng: np.random.Generator) -> tuple[Color, str]:
    """Draws a material and a colour that it comes in."""
    kind = pick(rng, MATERIALS)
    if kind == "brick":
        return hsv(rng, (-0.02, 0.1), (0.2, 0.65), (0.3, 0.8)), kind
    if kind in ("concrete", "stone"):
        return hsv(rng, (0.05, 0.65), (0.0, 0.15), (0.35, 0.8)), kind
    if chance(rng, 0.5):
        return hsv(rng, (0.05, 0.17), (0.05, 0.4), (0.6, 0.95)), kind
    return hsv(rng, (0, 1), (0.05, 0.5), (0.4, 0.9)), kind


def facade(stage: Stage, floors: int, columns: int, cell: int, look: dict) -> Texture:
    """Returns a facade of `floors` by `columns` window cells of `cell` pixels each.

    Args:
        stage: the scene.
        floors: number of floors; the lowest may be shops.
        columns: number of windows side by side.
        cell: pixels per cell, high and wide.
        look: what `facade_look` drew; faces of one building share it.
    """
    rng = stage.rng
    wall = surface(stage, (floors * cell, columns * cell), cell / 3.0, look["color"], look["kind"])
    grid = wall.reshape(floors, cell, columns, cell, 3)
    lit = np.zeros(grid.shape[:4], bool)
    _windows(stage, grid, lit, look)
    if look["bands"]:
        grid[:, -max(1, cell // 8) :] *= look["band_tone"]
    if look["shops"] and floors > 1:
        _shops(stage, grid, lit, cell)
    wall[: max(1, cell // 6)] *= between(rng, 0.6, 1.25)
    return Texture(wall, shining=lit.reshape(wall.shape[:2]) if lit.any() else None)


def facade_look(rng: np.random.Generator) -> dict:
    """Draws what makes a building look like itself."""
    color, kind = wall_color(rng)
    office = chance(rng, 0.25)
    across: Range = (0.04, 0.96) if office else (between(rng, 0.15, 0.36), between(rng, 0.62, 0.85))
    return {
        "color": color,
        "kind": kind,
        "across": across,
        "up": (between(rng, 0.12, 0.3), between(rng, 0.6, 0.85)),
        "glass": hsv(rng, (0.5, 0.66), (0.05, 0.45), (0.15, 0.6)),
        "frame": pick(rng, (0.45, 0.8, 1.2, 1.5)),
        "bands": chance(rng, 0.4),
        "band_tone": between(rng, 0.65, 1.3),
        "shops": chance(rng, 0.4),
        "balconies": chance(rng, 0.2),
    }


def _windows(stage: Stage, grid: np.ndarray, lit: np.ndarray, look: dict) -> None:
    """Puts windows into a facade grid `(floors, cell, columns, cell, 3)` in place."""
    rng = stage.rng
    floors, cell, columns = grid.shape[:3]
    top, bottom = (round(v * cell) for v in look["up"])
    left, right = (round(v * cell) for v in look["across"])
    tone = 0.55 + 0.9 * rng.random((floors, 1, columns, 1, 1), np.float32)
    glass = np.asarray(look["glass"], np.float32) * tone
    curtain = rng.random((floors, 1, columns, 1, 1)) < 0.2
    glass = np.where(curtain, np.asarray((0.75, 0.72, 0.66), np.float32) * tone * 0.8, glass)
    shining = rng.random((floors, 1, columns, 1)) < 0.45 * stage.lit
    warm = np.asarray(hsv(rng, (0.08, 0.16), (0.2, 0.6), (0.7, 1.0)), np.float32)
    glass = np.where(shining[..., None], warm * (0.4 + 0.5 * tone), glass)
    if cell >= 9:
        grid[:, top - 1 : bottom + 1, :, left - 1 : right + 1] *= look["frame"]
    grid[:, top:bottom, :, left:right] = glass
    lit[:, top:bottom, :, left:right] = shining
    if cell >= 12:
        middle = (left + right) // 2
        grid[:, top:bottom, :, middle : middle + 1] *= 0.6
    if look["balconies"]:
        grid[:, bottom : min(cell, bottom + cell // 5), :, max(0, left - 2) : right + 2] *= 0.55


def _shops(stage: Stage, grid: np.ndarray, lit: np.ndarray, cell: int) -> None:
    """Turns the lowest floor of a facade grid into shops with signs and awnings, in place."""
    rng = stage.rng
    for column in range(grid.shape[2]):
        front = grid[-1, :, column]
        sign = hsv(rng, (0, 1), (0.2, 0.9), (0.2, 0.9))
        front[: cell // 4] = sign
        front[cell // 4 : -max(1, cell // 10), 1:-1] = hsv(rng, (0.5, 0.6), (0, 0.3), (0.1, 0.45))
        if chance(rng, 0.3):
            front[cell // 4 : cell // 2] = jitter(rng, scale(sign, 0.8), 0.15)
        if chance(rng, 0.3):
            front[cell // 3 :, cell // 3 : 2 * cell // 3] = scale(sign, 0.45)
        if chance(rng, 0.7 * stage.lit):
            front[cell // 3 : -1, 1:-1] = (0.95, 0.88, 0.7)
            lit[-1, cell // 3 : -1, column, 1:-1] = True
