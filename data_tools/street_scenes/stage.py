"""The stage that painting functions get: canvas, camera, light, noise, random draws."""

import dataclasses

import numpy as np

from data_tools.street_scenes.camera import Camera
from data_tools.street_scenes.canvas import Canvas
from data_tools.street_scenes.conditions import Condition
from data_tools.street_scenes.noise import Noise


@dataclasses.dataclass(frozen=True)
class Stage:
    """One scene in the making.

    Attributes:
        canvas: where to paint.
        noise: tileable noise images.
        condition: weather and light.
        rng: the scene's only source of random numbers.
        lamps: filled while painting: (column, row, pixels per metre) of street lamps.
    """

    canvas: Canvas
    noise: Noise
    condition: Condition
    rng: np.random.Generator
    lamps: list[tuple[float, float, float]] = dataclasses.field(default_factory=list)

    @property
    def camera(self) -> Camera:
        """The canvas's camera."""
        return self.canvas.camera

    @property
    def lit(self) -> float:
        """Share of artificial lights that are on."""
        return min(1.0, 1.6 * self.condition.darkness + 3.0 * self.condition.fog)

    def shade(self, normal: tuple[float, float, float]) -> float:
        """Returns the brightness of a surface with this outward unit normal (s, y, z)."""
        sun = self.condition.direction
        facing = max(0.0, normal[0] * sun[0] + normal[1] * sun[1] + normal[2] * sun[2])
        direct = self.condition.sunshine
        return (0.95 - 0.33 * direct) + 0.06 * normal[1] + (0.08 + 0.52 * direct) * facing


@dataclasses.dataclass(frozen=True)
class Box:
    """A box that throws a shadow: centre, half sizes along the street's axes, heights (metres)."""

    s: float
    z: float
    half_s: float
    half_z: float
    low: float
    high: float

    def holds(self, s: float, z: float, margin: float) -> bool:
        """Says whether a place on the ground is under the box or within `margin` metres of it."""
        return abs(s - self.s) < self.half_s + margin and abs(z - self.z) < self.half_z + margin


@dataclasses.dataclass(frozen=True)
class Billboard:
    """Places points of an upright figure that faces the camera.

    Attributes:
        column: canvas column of the figure's axis.
        row: canvas row of its foot.
        scale: pixels per metre.
        mirror: 1, or -1 to swap left and right.
    """

    column: float
    row: float
    scale: float
    mirror: float = 1.0

    @classmethod
    def at(cls, camera: Camera, s: float, z: float, mirror: float = 1.0) -> "Billboard":
        """Stands a figure on the ground at `(s, z)`."""
        column, row = camera.point(s, 0.0, z)
        return cls(column, row, camera.scale(z), mirror)

    def points(self, figure: list[tuple[float, float]]) -> list[tuple[float, float]]:
        """Turns (right, up) metres into pixels."""
        k = self.scale * self.mirror
        return [(self.column + k * x, self.row - self.scale * y) for x, y in figure]

    def box(self, x: float, y: float, half_x: float, half_y: float) -> tuple:
        """Returns the pixel box (left, top, right, bottom) around a point of the figure."""
        column, row = self.column + self.scale * self.mirror * x, self.row - self.scale * y
        dx, dy = self.scale * half_x, self.scale * half_y
        return column - dx, row - dy, column + dx, row + dy
