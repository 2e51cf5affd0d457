"""People: standing, walking, alone and with things in their hands."""

import dataclasses

import numpy as np

from data_tools.street_scenes.canvas import TRAIN_ID
from data_tools.street_scenes.draws import Color, between, chance, draw_paint, hsv, pick, scale
from data_tools.street_scenes.stage import Billboard, Stage


@dataclasses.dataclass(frozen=True)
class Outfit:
    """Colours and build of one person, shaded already."""

    skin: Color
    hair: Color
    top: Color
    legs: Color
    shoes: Color
    broad: float


def draw_outfit(stage: Stage) -> Outfit:
    """Draws how a person looks."""
    rng = stage.rng
    tone = stage.shade((0.0, 0.2, -0.95))
    return Outfit(
        skin=scale(hsv(rng, (0.03, 0.09), (0.25, 0.6), (0.35, 0.95)), tone),
        hair=scale(hsv(rng, (0.02, 0.12), (0.1, 0.7), (0.05, 0.6)), tone),
        top=scale(draw_paint(rng), tone),
        legs=scale(hsv(rng, (0.05, 0.7), (0.0, 0.6), (0.08, 0.7)), tone),
        shoes=scale(hsv(rng, (0, 1), (0.0, 0.3), (0.05, 0.8)), tone),
        broad=between(rng, 0.85, 1.25),
    )


def paint_person(stage: Stage, s: float, z: float) -> None:
    """Paints a person on foot with its feet at `(s, z)`."""
    rng = stage.rng
    figure = Billboard.at(stage.camera, s, z, mirror=pick(rng, (-1.0, 1.0)))
    surface = stage.canvas.add_upright(TRAIN_ID["person"], z, grain=0.07)
    height = between(rng, 1.55, 1.9) if chance(rng, 0.88) else between(rng, 1.0, 1.4)
    outfit = draw_outfit(stage)
    stride = between(rng, 0.0, 0.36) if chance(rng, 0.7) else 0.05
    unit = height / 1.75
    _paint_legs(stage, figure, surface, outfit, (unit, stride))
    _paint_body(stage, figure, surface, outfit, (unit, stride))
    wet = stage.condition.rain > 0.2
    if chance(rng, 0.5 if wet else 0.03):
        _paint_umbrella(stage, figure, surface, unit)


def _polygon(
    stage: Stage, figure: Billboard, points: list, color: Color, surface: int, k: float
) -> None:
    """Paints a polygon of the figure scaled by `k`."""
    stage.canvas.polygon(figure.points([(k * x, k * y) for x, y in points]), color, surface)


def _paint_legs(
    stage: Stage, figure: Billboard, surface: int, outfit: Outfit, pace: tuple[float, float]
) -> None:
    """Paints legs in mid stride, or a skirt over them."""
    k, stride = pace
    wide = 0.085 * outfit.broad
    for foot, dark in ((-stride, 0.75), (stride, 1.0)):
        leg = [(-wide, 0.88), (wide, 0.88), (foot + 0.75 * wide, 0.05), (foot - 0.75 * wide, 0.05)]
        _polygon(stage, figure, leg, scale(outfit.legs, dark), surface, k)
        shoe = [(foot - wide, 0.08), (foot + wide, 0.08), (foot + 0.17, 0.0), (foot - wide, 0.0)]
        _polygon(stage, figure, shoe, outfit.shoes, surface, k)
    if chance(stage.rng, 0.2):
        skirt = [(-0.14, 0.95), (0.14, 0.95), (0.25, 0.5), (-0.25, 0.5)]
        _polygon(stage, figure, skirt, outfit.legs, surface, k)


def _paint_body(
    stage: Stage, figure: Billboard, surface: int, outfit: Outfit, pace: tuple[float, float]
) -> None:
    """Paints arms, torso, what is carried, neck and head."""
    rng, (k, stride) = stage.rng, pace
    shoulder, waist = 0.2 * outfit.broad, 0.16 * outfit.broad
    coat = 0.6 if chance(rng, 0.25) else 0.85
    swing = stride * 0.7
    far_arm = [(0.05, 1.4), (0.12, 1.36), (swing + 0.1, 0.88), (swing, 0.88)]
    _polygon(stage, figure, far_arm, scale(outfit.top, 0.7), surface, k)
    torso = [
        (-shoulder, 1.42),
        (-0.07, 1.5),
        (0.07, 1.5),
        (shoulder, 1.42),
        (waist, coat),
        (-waist, coat),
    ]
    _polygon(stage, figure, torso, outfit.top, surface, k)
    if chance(rng, 0.25):
        pack = [(-shoulder - 0.1, 1.4), (-0.05, 1.42), (-0.05, 1.0), (-shoulder - 0.12, 1.02)]
        _polygon(stage, figure, pack, draw_paint(rng), surface, k)
    arm = [(-0.06, 1.42), (0.04, 1.42), (-swing + 0.03, 0.86), (-swing - 0.07, 0.86)]
    _polygon(stage, figure, arm, scale(outfit.top, 0.85), surface, k)
    if chance(rng, 0.2):
        bag = [
            (-swing - 0.16, 0.88),
            (-swing + 0.1, 0.88),
            (-swing + 0.12, 0.5),
            (-swing - 0.18, 0.5),
        ]
        _polygon(stage, figure, bag, draw_paint(rng), surface, k)
    paint_head(stage, figure, surface, outfit, (0.0, 1.63 * k, k))


def paint_head(
    stage: Stage, figure: Billboard, surface: int, outfit: Outfit, where: tuple[float, float, float]
) -> None:
    """Paints a head at (right, up) metres with a size factor."""
    x, y, k = where
    stage.canvas.ellipse(figure.box(x, y + 0.02 * k, 0.115 * k, 0.145 * k), outfit.hair, surface)
    stage.canvas.ellipse(
        figure.box(x + 0.02 * k, y - 0.03 * k, 0.085 * k, 0.105 * k), outfit.skin, surface
    )


def _paint_umbrella(stage: Stage, figure: Billboard, surface: int, k: float) -> None:
    """Paints an open umbrella above the head."""
    turn = np.linspace(0.0, np.pi, 9)
    canopy = [(0.12 + 0.55 * float(np.cos(a)), 1.78 + 0.28 * float(np.sin(a))) for a in turn]
    _polygon(stage, figure, canopy, draw_paint(stage.rng), surface, k)
