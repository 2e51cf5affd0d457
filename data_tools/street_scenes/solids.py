"""Extruded solids in perspective: a side outline stretched over a width, with painted details.

Cars, trucks, buses and trams are made of these. Only faces turned to the camera are painted, far
ones first.
"""

import dataclasses
import math
from collections.abc import Sequence

from data_tools.street_scenes.camera import Point
from data_tools.street_scenes.draws import Color, scale
from data_tools.street_scenes.stage import Stage


@dataclasses.dataclass(frozen=True)
class Pose:
    """Where a body stands: middle at `(s, z)`; heading 0 points away, positive turns right."""

    s: float
    z: float
    heading: float

    def place(self, points: list[Point]) -> list[Point]:
        """Turns body coordinates (along, up, right) in metres into street coordinates."""
        sin, cos = math.sin(self.heading), math.cos(self.heading)
        return [(self.s + a * sin + r * cos, y, self.z + a * cos - r * sin) for a, y, r in points]

    def moved(self, along: float) -> "Pose":
        """Returns the pose of a part further ahead on the same axis."""
        return Pose(
            self.s + along * math.sin(self.heading),
            self.z + along * math.cos(self.heading),
            self.heading,
        )


@dataclasses.dataclass(frozen=True)
class Detail:
    """A polygon painted on a face.

    Attributes:
        points: on a side (along, up) in metres; on an end (across, share of the way along the
            outline's edge), across from -1 to 1.
        color: its colour.
        emit: above 0 it shines.
    """

    points: tuple[tuple[float, float], ...]
    color: Color
    emit: float = 0.0


@dataclasses.dataclass(frozen=True)
class Solid:
    """A body.

    Attributes:
        outline: side outline as (along, up) in metres, from the rear's lower corner up,
            over the top and down to the front's lower corner.
        width: metres.
        color: of all faces without their own.
        ends: details on the strip that outline edge `i` sweeps.
        sides: details on both sides.
        edge_colors: colours of strips that differ.
    """

    outline: Sequence[tuple[float, float]]
    width: float
    color: Color
    ends: dict[int, list[Detail]] = dataclasses.field(default_factory=dict)
    sides: list[Detail] = dataclasses.field(default_factory=list)
    edge_colors: dict[int, Color] = dataclasses.field(default_factory=dict)


class Painter:
    """Paints solids of one object in one class."""

    def __init__(self, stage: Stage, label: int, z: float) -> None:
        self._stage = stage
        self._surface = stage.canvas.add_upright(label, z, grain=0.02)
        self._glow = stage.canvas.add_upright(label, z, emit=2.0, grain=0.0)

    def paint(self, solid: Solid, pose: Pose) -> None:
        """Paints the visible faces of a solid, far ones first."""
        half, outline = solid.width / 2, solid.outline
        rights = pose.place([(a, y, half) for a, y in outline])
        lefts = pose.place([(a, y, -half) for a, y in outline])
        sin, cos = math.sin(pose.heading), math.cos(pose.heading)
        faces = []
        for sign, points in ((1.0, rights), (-1.0, lefts)):
            self._consider(faces, points, (sign * cos, 0.0, -sign * sin), (solid, pose, sign))
        for i in range(len(outline) - 1):
            along, up = outline[i + 1][0] - outline[i][0], outline[i + 1][1] - outline[i][1]
            length = max(math.hypot(along, up), 1e-6)
            normal = (-up * sin / length, along / length, -up * cos / length)
            points = [lefts[i], rights[i], rights[i + 1], lefts[i + 1]]
            self._consider(faces, points, normal, (solid, pose, i))
        for _, points, normal, face in sorted(faces, key=lambda f: -f[0]):
            self._paint_face(points, normal, face)

    def _consider(self, faces: list, points: list[Point], normal: Point, face: tuple) -> None:
        """Appends a face if it is turned to the camera."""
        camera, n = self._stage.camera, len(points)
        z = sum(p[2] for p in points) / n
        x = sum(p[0] for p in points) / n + camera.shift(z)
        y = sum(p[1] for p in points) / n - camera.eye
        if x * normal[0] + y * normal[1] + z * normal[2] < 0.0:
            faces.append((x * x + y * y + z * z, points, normal, face))

    def _paint_face(self, points: list[Point], normal: Point, face: tuple) -> None:
        """Paints a face and its details."""
        solid, pose, which = face
        canvas, tone = self._stage.canvas, self._stage.shade(normal)
        is_side = isinstance(which, float)
        color = solid.color if is_side else solid.edge_colors.get(which, solid.color)
        canvas.face(points, scale(color, tone), self._surface)
        for detail in solid.sides if is_side else solid.ends.get(which, ()):
            if is_side:
                across = which * solid.width / 2
                spots = [(a, y, across) for a, y in detail.points]
            else:
                (a0, y0), (a1, y1) = solid.outline[which : which + 2]
                half = solid.width / 2
                spots = [
                    (a0 + t * (a1 - a0), y0 + t * (y1 - y0), r * half) for r, t in detail.points
                ]
            shining = detail.emit > 0.0
            canvas.face(
                pose.place(spots),
                detail.color if shining else scale(detail.color, tone),
                self._glow if shining else self._surface,
            )


def rectangle(left: float, bottom: float, right: float, top: float) -> tuple:
    """Returns the corners of a detail that is a rectangle."""
    return (left, bottom), (right, bottom), (right, top), (left, top)


def wheel(along: float, radius: float) -> list[Detail]:
    """Returns a tyre and its rim on a side."""
    return [
        Detail(disc(along, radius, radius), (0.07, 0.07, 0.08)),
        Detail(disc(along, radius, 0.55 * radius), (0.5, 0.5, 0.52)),
    ]


def disc(along: float, up: float, radius: float) -> tuple[tuple[float, float], ...]:
    """Returns the corners of a disc."""
    turns = (math.tau * i / 12 for i in range(12))
    return tuple((along + radius * math.cos(a), up + radius * math.sin(a)) for a in turns)
