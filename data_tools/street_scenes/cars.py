"""Cars: sedans, hatchbacks, estates, off-roaders and vans."""

import math

import numpy as np

from data_tools.street_scenes.canvas import TRAIN_ID
from data_tools.street_scenes.draws import between, chance, draw_paint, hsv, pick
from data_tools.street_scenes.solids import Detail, Painter, Pose, Solid, rectangle, wheel
from data_tools.street_scenes.stage import Stage

# Per shape: side outline as shares of length and height, the outline edges that carry the rear
# panel, rear window, windscreen and front, side windows, and ranges of length and height.
_SHAPES = {
    "sedan": {
        "outline": (
            (-0.5, 0.16),
            (-0.5, 0.58),
            (-0.47, 0.66),
            (-0.33, 0.68),
            (-0.2, 0.98),
            (0.1, 1.0),
            (0.27, 0.66),
            (0.47, 0.57),
            (0.5, 0.5),
            (0.5, 0.16),
        ),
        "edges": (0, 3, 5, 8),
        "windows": (
            ((-0.27, 0.69), (-0.17, 0.94), (-0.05, 0.94), (-0.05, 0.69)),
            ((-0.02, 0.69), (-0.02, 0.94), (0.09, 0.94), (0.21, 0.69)),
        ),
        "length": (4.2, 4.9),
        "height": (1.4, 1.5),
    },
    "hatch": {
        "outline": (
            (-0.5, 0.16),
            (-0.5, 0.6),
            (-0.43, 0.95),
            (-0.36, 1.0),
            (0.08, 1.0),
            (0.29, 0.65),
            (0.47, 0.55),
            (0.5, 0.47),
            (0.5, 0.16),
        ),
        "edges": (0, 1, 4, 7),
        "windows": (
            ((-0.39, 0.68), (-0.34, 0.92), (-0.17, 0.93), (-0.17, 0.66)),
            ((-0.14, 0.66), (-0.14, 0.93), (0.06, 0.93), (0.22, 0.66)),
        ),
        "length": (3.6, 4.4),
        "height": (1.45, 1.75),
    },
    "estate": {
        "outline": (
            (-0.5, 0.2),
            (-0.5, 0.6),
            (-0.47, 0.96),
            (-0.43, 1.0),
            (0.06, 1.0),
            (0.24, 0.66),
            (0.47, 0.57),
            (0.5, 0.48),
            (0.5, 0.2),
        ),
        "edges": (0, 1, 4, 7),
        "windows": (
            ((-0.45, 0.68), (-0.43, 0.92), (-0.26, 0.93), (-0.26, 0.66)),
            ((-0.24, 0.66), (-0.24, 0.93), (-0.08, 0.93), (-0.08, 0.66)),
            ((-0.06, 0.66), (-0.06, 0.93), (0.05, 0.93), (0.18, 0.66)),
        ),
        "length": (4.3, 4.9),
        "height": (1.45, 1.9),
    },
    "van": {
        "outline": (
            (-0.5, 0.15),
            (-0.5, 0.52),
            (-0.48, 1.0),
            (0.24, 1.0),
            (0.38, 0.6),
            (0.48, 0.5),
            (0.5, 0.15),
        ),
        "edges": (0, 1, 3, 5),
        "windows": (((0.08, 0.62), (0.08, 0.88), (0.24, 0.88), (0.32, 0.62)),),
        "length": (4.4, 5.6),
        "height": (1.85, 2.4),
    },
}
_COMMON = ("sedan", "sedan", "hatch", "hatch", "estate", "estate", "van")


def paint_car(stage: Stage, pose: Pose, parked: bool) -> None:
    """Paints a car; `parked` cars have their lamps off."""
    rng = stage.rng
    shape = _SHAPES[pick(rng, _COMMON)]
    length, height = between(rng, *shape["length"]), between(rng, *shape["height"])
    width = between(rng, 1.7, 1.95)
    glass = hsv(rng, (0.5, 0.65), (0.05, 0.35), (0.08, 0.4))
    outline = [(x * length, y * height) for x, y in shape["outline"]]
    rear, rear_window, windscreen, front = shape["edges"]
    on = 0.0 if parked else max(stage.lit, 0.12)
    pane = rectangle(-0.85, 0.12, 0.85, 0.9)
    radius = between(rng, 0.29, 0.36)
    windows = [
        Detail(tuple((x * length, y * height) for x, y in w), glass) for w in shape["windows"]
    ]
    sides = windows + wheel(-0.31 * length, radius) + wheel(0.32 * length, radius)
    body = Solid(
        outline,
        width,
        draw_paint(rng),
        ends={
            rear: _rear(rng, chance(rng, on)),
            rear_window: [Detail(pane, glass)],
            windscreen: [Detail(pane, glass)],
            front: _front(chance(rng, on)),
        },
        sides=sides,
    )
    painter = Painter(stage, TRAIN_ID["car"], pose.z)
    painter.paint(_underbody(length, width, radius), pose)
    painter.paint(body, pose)


def car_size() -> tuple[float, float, float]:
    """Returns a typical length, width and height, for shadows and spacing."""
    return 4.5, 1.8, 1.5


def _underbody(length: float, width: float, radius: float) -> Solid:
    """Returns the dark space between the wheels, which shows tyres from behind."""
    a = 0.42 * length
    outline = ((-a, 0.0), (-a, radius), (a, radius), (a, 0.0))
    gap = [Detail(rectangle(-0.72, 0.0, 0.72, 0.55), (0.13, 0.13, 0.14))]
    return Solid(outline, 0.92 * width, (0.05, 0.05, 0.06), ends={0: gap, 2: gap})


def _rear(rng: np.random.Generator, on: bool) -> list[Detail]:
    """Returns tail lamps, bumper and number plate."""
    red = (0.95, 0.12, 0.08) if on else hsv(rng, (0.98, 1.02), (0.7, 0.9), (0.4, 0.65))
    low, high = between(rng, 0.5, 0.65), between(rng, 0.8, 1.0)
    lamps = [
        Detail(rectangle(sign * 0.98, low, sign * 0.62, high), red, emit=float(on))
        for sign in (-1, 1)
    ]
    plate = Detail(rectangle(-0.28, 0.4, 0.28, 0.58), (0.85, 0.85, 0.8))
    return [Detail(rectangle(-1, 0.0, 1, 0.28), (0.14, 0.14, 0.15)), plate, *lamps]


def _front(on: bool) -> list[Detail]:
    """Returns headlamps, grille and number plate."""
    white = (1.0, 0.98, 0.9) if on else (0.75, 0.77, 0.8)
    # The outline runs downwards at the front, so shares count from the top.
    lamps = [
        Detail(rectangle(sign * 0.95, 0.08, sign * 0.58, 0.4), white, emit=float(on))
        for sign in (-1, 1)
    ]
    grille = Detail(rectangle(-0.5, 0.15, 0.5, 0.5), (0.1, 0.1, 0.11))
    return [grille, Detail(rectangle(-0.26, 0.55, 0.26, 0.72), (0.85, 0.85, 0.8)), *lamps]


def heading_along(rng: np.random.Generator, towards: bool) -> float:
    """Returns the heading of a vehicle in its lane."""
    return (math.pi if towards else 0.0) + between(rng, -0.04, 0.04)
