"""Walls, fences and hedges that run along the street."""

import numpy as np

from data_tools.street_scenes.canvas import MAX_BYTE, TRAIN_ID
from data_tools.street_scenes.draws import Color, between, chance, hsv, pick
from data_tools.street_scenes.masonry import MATERIALS, surface, wall_color
from data_tools.street_scenes.panels import Texture, paint_along
from data_tools.street_scenes.stage import Stage

FENCES = ("pickets", "bars", "mesh", "planks", "rails")


def paint_barrier(
    stage: Stage, s: float, z: tuple[float, float], height: float, look: dict
) -> None:
    """Paints a piece of wall, fence or hedge at `s` between two distances."""
    k = float(np.clip(stage.camera.scale(max((z[0] + z[1]) / 2, 4.0)), 4.0, 40.0))
    shape = max(3, int(height * k)), max(3, int((z[1] - z[0]) * k))
    if look["class"] == "wall":
        texture = _wall(stage, shape, k, look)
    elif look["class"] == "fence":
        texture = _fence(stage, shape, k, look)
    else:
        texture = _hedge(stage, shape, look)
    paint_along(stage, s, z, (0.0, height), texture, TRAIN_ID[look["class"]])


def barrier_look(rng: np.random.Generator, name: str) -> dict:
    """Draws the look that all pieces of one barrier share.

    Args:
        rng: source of the draws.
        name: class name: `"wall"`, `"fence"` or `"vegetation"` (a hedge).
    """
    look: dict = {"class": name, "period": between(rng, 0.12, 0.3)}
    if name == "wall":
        look["color"], look["kind"] = wall_color(rng)
        if look["kind"] == "boards":
            look["kind"] = pick(rng, MATERIALS[:4])
        look["cap"] = between(rng, 0.6, 1.3)
        look["graffiti"] = chance(rng, 0.35)
    elif name == "fence":
        look["kind"] = pick(rng, FENCES)
        wood = hsv(rng, (0.04, 0.12), (0.2, 0.6), (0.3, 0.8))
        metal = hsv(rng, (0.3, 0.6), (0.0, 0.35), (0.15, 0.9))
        look["color"] = wood if look["kind"] in ("pickets", "planks") else metal
    else:
        look["color"] = hsv(rng, (0.2, 0.38), (0.3, 0.75), (0.25, 0.55))
    return look


def _wall(stage: Stage, shape: tuple[int, int], k: float, look: dict) -> Texture:
    """Returns masonry with a capstone and, on some walls, graffiti."""
    rng = stage.rng
    color = surface(stage, shape, k, look["color"], look["kind"])
    if look["graffiti"]:
        for _ in range(3):
            a, b = (rng.random(2) * (shape[0], shape[1])).astype(int)
            h, w = int(between(rng, 0.3, 0.8) * k), int(between(rng, 0.5, 1.6) * k)
            paint = np.asarray(hsv(rng, (0, 1), (0.5, 1.0), (0.4, 1.0)), np.float32)
            blob = stage.noise.patch(rng, "leaf", h, w) > 0.45
            part = color[a : a + h, b : b + w]
            part[blob[: part.shape[0], : part.shape[1]]] = paint
    color[: max(1, int(0.12 * k))] *= look["cap"]
    return Texture(color)


def _fence(stage: Stage, shape: tuple[int, int], k: float, look: dict) -> Texture:
    """Returns a fence one can look through, as far as its kind allows."""
    height, width = shape
    rows = np.arange(height, dtype=np.float32)[:, None] / k
    columns = np.arange(width, dtype=np.float32)[None] / k
    from_bottom = height / k - rows
    period = max(look["period"], 2.5 / k)
    across = columns % period / period
    solid = np.zeros(shape, bool) | (np.abs(columns % 2.4 - 0.05) < max(0.06, 0.5 / k))
    base = 0.0
    if look["kind"] == "pickets":
        solid |= across < 0.7
    elif look["kind"] == "bars":
        solid |= across < 0.35
    elif look["kind"] == "mesh":
        diagonal = np.abs((columns + rows) % 0.2 - 0.1), np.abs((columns - rows) % 0.2 - 0.1)
        solid |= np.minimum(*diagonal) < 0.025
        base = 0.35
    elif look["kind"] == "planks":
        solid |= rows % 0.2 < 0.17
    else:
        solid |= rows % 0.45 < 0.18
    for level in (0.18, 0.9):
        rail = np.abs(from_bottom - level * height / k) < max(0.05, 0.6 / k)
        solid |= rail
    noise = stage.noise.patch(stage.rng, "fine", height, width)
    bright = 0.75 + 0.35 * noise + 0.12 * (across < 0.2)
    opacity = (np.where(solid, 1.0, base) * MAX_BYTE).astype(np.uint8)
    return Texture(_tint(look["color"], bright), opacity=opacity)


def _hedge(stage: Stage, shape: tuple[int, int], look: dict) -> Texture:
    """Returns clipped leaves, darker towards the ground."""
    noise = stage.noise.patch(stage.rng, "leaf", *shape)
    fall = np.linspace(1.15, 0.7, shape[0], dtype=np.float32)[:, None]
    return Texture(_tint(look["color"], (0.45 + 0.9 * noise) * fall))


def _tint(color: Color, bright: np.ndarray) -> np.ndarray:
    """Multiplies a colour with a `(h, w)` brightness."""
    return (np.asarray(color, np.float32) * bright[:, :, None]).astype(np.float32)
