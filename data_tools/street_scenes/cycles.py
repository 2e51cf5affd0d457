"""Bicycles and motorcycles, parked or with a rider."""

import math

from data_tools.street_scenes.canvas import TRAIN_ID
from data_tools.street_scenes.draws import Color, chance, draw_paint, hsv, scale
from data_tools.street_scenes.people import Outfit, draw_outfit, paint_head
from data_tools.street_scenes.solids import Pose, disc
from data_tools.street_scenes.stage import Billboard, Stage

_TYRE = (0.08, 0.08, 0.09)


class _Frame:
    """Paints flat parts of a two-wheeler, given as (along, up), in a plane that may be turned."""

    def __init__(self, stage: Stage, pose: Pose, name: str) -> None:
        self._stage, self._pose = stage, pose
        self._surface = stage.canvas.add_upright(TRAIN_ID[name], pose.z, grain=0.05)
        self._glow = stage.canvas.add_upright(TRAIN_ID[name], pose.z, emit=2.0)
        self._tone = stage.shade((0.0, 0.1, -0.95))

    def sheet(self, points: list, color: Color, half: float) -> None:
        """Paints a polygon `2 * half` metres thick, the far layers first."""
        # Seen along its axis the outer layers alone would leave a gap: join them by the middle.
        offsets = (-half, -half / 3, half / 3, half)
        for offset in offsets if math.sin(self._pose.heading) < 0 else reversed(offsets):
            spots = self._pose.place([(a, y, offset) for a, y in points])
            self._stage.canvas.face(spots, scale(color, self._tone), self._surface)

    def rod(self, points: list, color: Color, thick: float, across: float = 0.0) -> None:
        """Paints a line through (along, up) points."""
        spots = self._pose.place([(a, y, across) for a, y in points])
        pixels = self._stage.camera.project(spots)
        width = max(thick * self._stage.camera.scale(self._pose.z), 1.0)
        self._stage.canvas.line(pixels, scale(color, self._tone), self._surface, width)

    def bar(self, along: float, up: float, half: float, color: Color, thick: float) -> None:
        """Paints a line across the axis, such as handlebars."""
        ends = self._pose.place([(along, up, -half), (along, up, half)])
        width = max(thick * self._stage.camera.scale(self._pose.z), 1.0)
        pixels = self._stage.camera.project(ends)
        self._stage.canvas.line(pixels, scale(color, self._tone), self._surface, width)

    def tail(self, along: float, up: float, color: Color) -> None:
        """Paints a small lamp."""
        column, row = self._stage.camera.project(self._pose.place([(along, up, 0.0)]))[0]
        r = max(0.07 * self._stage.camera.scale(self._pose.z), 0.8)
        on = self._stage.lit > 0.3
        box = (column - r, row - r, column + r, row + r)
        self._stage.canvas.ellipse(box, color, self._glow if on else self._surface)


def paint_bicycle(stage: Stage, pose: Pose, rider: bool) -> None:
    """Paints a bicycle, with somebody on it or parked."""
    if pose.z < 2.5:
        return
    rng = stage.rng
    frame, color, radius = _Frame(stage, pose, "bicycle"), draw_paint(rng), 0.34
    for along in (-0.52, 0.52):
        # The disc between the spokes counts as bicycle, as people label it.
        frame.sheet(disc(along, radius, radius), _TYRE, 0.022)
        frame.sheet(disc(along, radius, 0.8 * radius), (0.42, 0.42, 0.43), 0.02)
    crank, saddle, head = (-0.08, 0.28), (-0.24, 0.84), (0.36, 0.86)
    for rods in ([crank, saddle], [crank, head], [saddle, head], [(-0.52, 0.34), crank]):
        frame.rod(rods, color, 0.05)
    frame.rod([(-0.52, 0.34), (-0.2, 0.72)], color, 0.045)
    frame.rod([(0.52, 0.34), (0.34, 0.98)], color, 0.045)
    frame.sheet([(-0.4, 0.88), (-0.1, 0.88), (-0.1, 0.93), (-0.4, 0.95)], _TYRE, 0.06)
    frame.bar(0.36, 1.02, 0.27, (0.2, 0.2, 0.2), 0.04)
    if chance(rng, 0.3):
        frame.sheet([(-0.8, 0.72), (-0.4, 0.72), (-0.4, 0.98), (-0.8, 0.98)], draw_paint(rng), 0.16)
    if rider:
        _paint_rider(
            stage, pose, {"seat": -0.22, "grip": 0.32, "hip": 0.95, "lean": 0.28, "foot": 0.2}
        )


def paint_motorcycle(stage: Stage, pose: Pose, rider: bool) -> None:
    """Paints a motorcycle or a scooter, with somebody on it or parked."""
    if pose.z < 2.5:
        return
    rng = stage.rng
    scooter = chance(rng, 0.45)
    frame, color, radius = (
        _Frame(stage, pose, "motorcycle"),
        draw_paint(rng),
        0.24 if scooter else 0.32,
    )
    base = 0.58 if scooter else 0.7
    for along in (-base, base):
        frame.sheet(disc(along, radius, radius), _TYRE, 0.07)
        frame.sheet(disc(along, radius, 0.5 * radius), (0.55, 0.55, 0.56), 0.075)
    if scooter:
        frame.sheet(
            [
                (-0.8, 0.35),
                (-0.2, 0.3),
                (0.3, 0.25),
                (0.3, 0.35),
                (-0.1, 0.45),
                (-0.15, 0.78),
                (-0.8, 0.78),
            ],
            color,
            0.17,
        )
        frame.sheet([(0.3, 0.25), (0.45, 0.3), (0.42, 1.0), (0.32, 1.02)], color, 0.2)
    else:
        frame.sheet(
            [(-0.35, 0.3), (0.3, 0.28), (0.38, 0.62), (-0.3, 0.62)], (0.22, 0.22, 0.23), 0.15
        )
        frame.sheet([(-0.1, 0.62), (0.4, 0.62), (0.42, 0.95), (0.0, 0.9)], color, 0.15)
        frame.sheet([(-0.85, 0.78), (-0.1, 0.62), (-0.05, 0.8), (-0.85, 0.92)], color, 0.14)
        frame.rod([(base, radius), (0.42, 1.0)], (0.5, 0.5, 0.5), 0.09)
        frame.rod([(-0.2, 0.33), (-0.95, 0.42)], (0.6, 0.6, 0.6), 0.11, across=0.16)
    frame.sheet([(-0.75, 0.8), (0.0, 0.78), (0.0, 0.88), (-0.75, 0.92)], _TYRE, 0.14)
    frame.bar(0.38, 1.06, 0.36, (0.15, 0.15, 0.15), 0.06)
    if chance(rng, 0.3):
        frame.sheet(
            [(-1.05, 0.95), (-0.65, 0.95), (-0.65, 1.28), (-1.05, 1.28)], draw_paint(rng), 0.2
        )
    away = math.cos(pose.heading) > 0
    frame.tail(-0.88 if away else 0.48, 0.8, (0.9, 0.1, 0.08) if away else (1.0, 0.97, 0.85))
    if rider:
        _paint_rider(
            stage, pose, {"seat": -0.3, "grip": 0.36, "hip": 0.9, "lean": 0.22, "foot": 0.3}
        )


def _paint_rider(stage: Stage, pose: Pose, seat: dict[str, float]) -> None:
    """Paints somebody on a saddle: legs to the pedals, back bent, arms to the bars."""
    outfit = draw_outfit(stage)
    frame = _Frame(stage, pose, "rider")
    hip = (seat["seat"], seat["hip"])
    shoulder = (hip[0] + seat["lean"], hip[1] + 0.52)
    knee = (hip[0] + 0.42, hip[1] - 0.22)
    for across, dark in ((0.13, 0.8), (-0.13, 1.0)):
        color = scale(outfit.legs, dark)
        drop = 0.08 if across > 0 else -0.06
        frame.rod([hip, (knee[0], knee[1] + drop)], color, 0.16, across)
        frame.rod(
            [(knee[0], knee[1] + drop), (knee[0] - 0.2, seat["foot"] + drop)], color, 0.13, across
        )
    back = [
        (hip[0] - 0.12, hip[1]),
        (hip[0] + 0.14, hip[1]),
        (shoulder[0] + 0.12, shoulder[1]),
        (shoulder[0] - 0.1, shoulder[1] + 0.06),
    ]
    frame.sheet(back, outfit.top, 0.2 * outfit.broad)
    for across in (0.2, -0.2):
        frame.rod([shoulder, (seat["grip"], hip[1] + 0.12)], scale(outfit.top, 0.85), 0.1, across)
    _paint_helmet(stage, pose, outfit, (shoulder[0] + 0.08, shoulder[1] + 0.2))


def _paint_helmet(stage: Stage, pose: Pose, outfit: Outfit, at: tuple[float, float]) -> None:
    """Paints the head, most often with a helmet."""
    s, _, z = pose.place([(*at, 0.0)])[0]
    figure = Billboard.at(stage.camera, s, z)
    surface = stage.canvas.add_upright(TRAIN_ID["rider"], pose.z, grain=0.04)
    paint_head(stage, figure, surface, outfit, (0.0, at[1], 1.1))
    if chance(stage.rng, 0.75):
        shell = hsv(stage.rng, (0, 1), (0.0, 0.9), (0.1, 0.95))
        stage.canvas.ellipse(figure.box(0.0, at[1] + 0.06, 0.15, 0.13), shell, surface)
