"""Trees and bushes: trunks, and crowns cut from leafy noise."""

import numpy as np

from data_tools.street_scenes.canvas import MAX_BYTE, TRAIN_ID
from data_tools.street_scenes.draws import Color, between, chance, hsv, pick, scale
from data_tools.street_scenes.stage import Billboard, Stage

SHAPES = ("round", "oval", "cone", "loose", "column")


def paint_tree(stage: Stage, s: float, z: float, height: float, look: dict) -> None:
    """Paints a tree with its foot at `(s, z)`."""
    rng, canvas = stage.rng, stage.canvas
    figure = Billboard.at(stage.camera, s, z)
    surface = canvas.add_upright(TRAIN_ID["vegetation"], z, grain=0.1)
    bare = height * between(rng, 0.18, 0.35)
    thick = 0.018 * height + 0.06
    lean = between(rng, -0.04, 0.04) * height
    bark = scale(hsv(rng, (0.04, 0.12), (0.1, 0.45), (0.2, 0.5)), stage.shade((0.0, 0.0, -1.0)))
    trunk = [(-thick, 0), (thick, 0), (0.6 * thick + lean, 0.8 * height), (lean, 0.8 * height)]
    canvas.polygon(figure.points(trunk), bark, surface)
    half = (height - bare) / 2
    wide = (
        half
        * {"round": 0.95, "oval": 0.7, "cone": 0.55, "loose": 1.05, "column": 0.32}[look["shape"]]
    )
    _paint_crown(stage, figure.box(lean, bare + half, wide, half * 1.08), surface, look)


def paint_bush(stage: Stage, s: float, z: float, size: tuple[float, float], look: dict) -> None:
    """Paints a bush `size` metres wide and high with its foot at `(s, z)`."""
    surface = stage.canvas.add_upright(TRAIN_ID["vegetation"], z, grain=0.1)
    box = Billboard.at(stage.camera, s, z).box(0.0, size[1] / 2, size[0] / 2, size[1] / 2)
    _paint_crown(stage, box, surface, {**look, "shape": "round"})


def plant_look(rng: np.random.Generator) -> dict:
    """Draws what trees of one row share: shape, colour, how dense they are."""
    autumn = chance(rng, 0.18)
    color: Color = hsv(rng, (0.04, 0.15) if autumn else (0.17, 0.4), (0.25, 0.85), (0.28, 0.72))
    return {
        "shape": pick(rng, SHAPES),
        "color": color,
        "rough": between(rng, 0.25, 0.7),
        "sparse": between(rng, 0.0, 0.35),
        "contrast": between(rng, 0.5, 1.1),
        "texture": pick(rng, ("leaf", "leaf", "fine", "stain")),
    }


def _paint_crown(stage: Stage, box: tuple, surface: int, look: dict) -> None:
    """Paints leaves inside a pixel box (left, top, right, bottom), only where it is visible."""
    camera, rng = stage.camera, stage.rng
    left, top = max(0, int(box[0])), max(0, int(box[1]))
    right, bottom = min(camera.width, int(box[2]) + 1), min(camera.height, int(box[3]) + 1)
    if right <= left or bottom <= top:
        return
    x = (np.arange(left, right, dtype=np.float32)[None] + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1
    y = (np.arange(top, bottom, dtype=np.float32)[:, None] + 0.5 - box[1]) / (
        box[3] - box[1]
    ) * 2 - 1
    shape = bottom - top, right - left
    leaf = stage.noise.patch(rng, look["texture"], *shape)
    clump = stage.noise.patch(rng, "stain", *shape)
    if look["shape"] == "cone":
        inside = 1.0 - np.abs(x) / np.maximum(0.5 * (y + 1.0), 0.02)
        inside = np.minimum(inside * 0.6, 1.0 - y)
    else:
        inside = 1.0 - np.sqrt(x * x + y * y)
    mask = inside + look["rough"] * (0.6 * clump + 0.4 * leaf - 0.72) > 0.0
    if look["sparse"] > 0.15:
        # Gaps are as large as clumps: a label speckled pixel by pixel would teach nothing.
        mask &= (clump > look["sparse"] * 0.6) | (inside > 0.6)
    sun = stage.condition.direction
    side = (-0.18 * y + 0.18 * x * sun[0]) * (0.4 + stage.condition.sunshine)
    bright = 0.55 + look["contrast"] * (0.5 * leaf + 0.3 * clump) + side
    bright = bright * stage.shade((0.0, 0.6, -0.8)) * 0.95
    color = np.asarray(look["color"], np.float32) * bright[:, :, None]
    snow = stage.condition.snow
    if snow > 0.0:
        white = np.clip((0.75 * snow - y * 0.2 - clump * 0.7) * 4.0, 0.0, 0.85)[:, :, None]
        color = color + (0.9 - color) * white
    stage.canvas.sprite(
        left, top, (np.clip(color, 0.0, 1.0) * MAX_BYTE).astype(np.uint8), mask, surface
    )
