"""A pinhole camera above a flat, gently bending street.

Street coordinates are metres: `s` to the right of the camera's lane position, `y` up from the
ground, `z` forward. The street's bend and the camera's yaw are one polynomial in `z` that shifts
`s`, so layout code can treat every street as straight.
"""

import dataclasses

import numpy as np

Point = tuple[float, float, float]
Pixel = tuple[float, float]

# Nothing nearer than this (metres) is drawn; polygons that cross the plane are cut at it.
NEAR = 1.2


@dataclasses.dataclass(frozen=True)
class Camera:
    """Projects street coordinates to pixels of the (supersampled) canvas.

    Attributes:
        width: canvas width in pixels.
        height: canvas height in pixels.
        focal: focal length in pixels.
        center: column of the optical axis.
        horizon: row of the horizon.
        eye: height of the camera above the ground in metres.
        yaw: shift of the street to the right per metre of distance.
        bend: shift of the street to the right per squared metre of distance.
    """

    width: int
    height: int
    focal: float
    center: float
    horizon: float
    eye: float
    yaw: float
    bend: float

    def shift(self, z: np.ndarray | float) -> np.ndarray | float:
        """Returns how far right of the optical axis the point `s = 0` lies at distance `z`."""
        return z * (self.yaw + self.bend * z)

    def scale(self, z: float) -> float:
        """Returns the pixels per metre at distance `z`."""
        return self.focal / z

    def point(self, s: float, y: float, z: float) -> tuple[float, float]:
        """Projects one point with `z >= NEAR` to (column, row)."""
        k = self.focal / z
        return self.center + k * (s + z * (self.yaw + self.bend * z)), self.horizon + k * (
            self.eye - y
        )

    def project(self, points: list[Point]) -> list[Pixel]:
        """Projects a polygon, cut at the near plane.

        Polygons have few corners, and scenes thousands of polygons: plain tuples are several
        times faster here than arrays.

        Args:
            points: street coordinates (s, y, z) in order around the polygon.

        Returns:
            (column, row) pairs; none where everything lies behind the near plane.
        """
        if min(p[2] for p in points) < NEAR:
            points = cut_at_near_plane(points)
        return [self.point(*p) for p in points]

    def ground_inverse_depth(self) -> tuple[float, float, float]:
        """Returns `1 / z` on the ground as coefficients of (1, column, row)."""
        per_row = 1.0 / (self.focal * self.eye)
        return -self.horizon * per_row, 0.0, per_row


def cut_at_near_plane(points: list[Point]) -> list[Point]:
    """Cuts a polygon to the part with `z >= NEAR` (Sutherland and Hodgman)."""
    kept = []
    for i, after in enumerate(points):
        before = points[i - 1]
        if (before[2] < NEAR) != (after[2] < NEAR):
            share = (NEAR - before[2]) / (after[2] - before[2])
            kept.append(tuple(b + share * (a - b) for b, a in zip(before, after, strict=True)))
        if after[2] >= NEAR:
            kept.append(after)
    return kept
