"""Street furniture: lamps, traffic lights, signs, bollards, and things without a class."""

import math

import numpy as np

from data_tools.street_scenes.canvas import TRAIN_ID, UNLABELED
from data_tools.street_scenes.draws import Color, between, chance, hsv, pick, scale
from data_tools.street_scenes.solids import Detail, Painter, Pose, Solid, rectangle
from data_tools.street_scenes.stage import Billboard, Stage

_POLE, _LIGHT, _SIGN = (TRAIN_ID[n] for n in ("pole", "traffic light", "traffic sign"))


def _metal(stage: Stage) -> Color:
    """Draws the shaded colour of a pole."""
    color = hsv(stage.rng, (0.25, 0.65), (0.0, 0.2), (0.15, 0.75))
    return scale(color, stage.shade((0.0, 0.0, -1.0)))


def _mast(stage: Stage, figure: Billboard, surface: int, height: float, radius: float) -> Color:
    """Paints an upright pole and returns its colour."""
    color = _metal(stage)
    # Two canvas pixels, one of the image, however far away.
    half = max(radius * figure.scale, 1.0)
    column, top = figure.column, figure.row - height * figure.scale
    body = [
        (column - half, figure.row),
        (column + half, figure.row),
        (column + half, top),
        (column - half, top),
    ]
    stage.canvas.polygon(body, color, surface)
    light = scale(color, 1.35)
    edge = [
        (column - half, figure.row),
        (column - half * 0.3, figure.row),
        (column - half * 0.3, top),
        (column - half, top),
    ]
    if half > 1.6:
        stage.canvas.polygon(edge, light, surface)
    return color


def paint_lamp(stage: Stage, s: float, z: float, height: float, style: str) -> None:
    """Paints a street lamp whose arm reaches over the road.

    Args:
        stage: the scene.
        s: lateral position.
        z: distance.
        height: metres.
        style: `"arm"`, `"post"` or `"wire"` (a plain mast).
    """
    canvas = stage.canvas
    figure = Billboard.at(stage.camera, s, z, mirror=-math.copysign(1.0, s))
    surface = canvas.add_upright(_POLE, z)
    color = _mast(stage, figure, surface, height, 0.09)
    if style == "wire":
        arm = figure.points([(-1.0, height - 0.5), (1.0, height - 0.5)])
        canvas.line(arm, color, surface, 0.1 * figure.scale)
        return
    reach = 1.8 if style == "arm" else 0.0
    head = canvas.add_upright(_POLE, z, emit=2.0) if chance(stage.rng, stage.lit) else surface
    if reach:
        arm = figure.points([(0, height - 0.4), (0.5 * reach, height), (reach, height)])
        canvas.line(arm, color, surface, 0.1 * figure.scale)
    glow = (1.0, 0.86, 0.6) if head != surface else scale(color, 1.3)
    box = figure.box(reach, height, 0.42 if reach else 0.25, 0.13 if reach else 0.3)
    canvas.ellipse(box, glow, head)
    if head != surface:
        stage.lamps.append(
            (figure.column + figure.mirror * figure.scale * reach, figure.row, figure.scale)
        )


def paint_traffic_light(stage: Stage, s: float, z: float, facing: bool, overhead: float) -> None:
    """Paints a traffic light on a pole.

    Args:
        stage: the scene.
        s: lateral position.
        z: distance.
        facing: whether its lamps look at the camera.
        overhead: length of an arm over the road that carries a second light, 0 for none.
    """
    canvas = stage.canvas
    figure = Billboard.at(stage.camera, s, z, mirror=-math.copysign(1.0, s))
    surface = canvas.add_upright(_POLE, z)
    spots = [(0.0, between(stage.rng, 2.3, 3.1))]
    height = spots[0][1] + 0.2
    if overhead:
        height = between(stage.rng, 5.4, 6.4)
        spots.append((overhead, height - 0.1))
    color = _mast(stage, figure, surface, height, 0.08)
    if overhead:
        arm = figure.points([(0.0, height), (overhead, height)])
        canvas.line(arm, color, surface, 0.12 * figure.scale)
    state = int(stage.rng.integers(3))
    case = hsv(stage.rng, (0.1, 0.45), (0.0, 0.6 if chance(stage.rng, 0.3) else 0.15), (0.08, 0.3))
    for x, y in spots:
        _paint_signal(stage, figure, (x, y), state if facing else -1, case)


def _paint_signal(
    stage: Stage, figure: Billboard, at: tuple[float, float], state: int, case: Color
) -> None:
    """Paints the case with three lamps; `state` is the one that is on, -1 shows the back."""
    canvas, (x, y) = stage.canvas, at
    surface = canvas.add_upright(_LIGHT, _distance(stage, figure))
    half_x = max(0.21, 1.6 / figure.scale)
    half_y = max(0.55, 3.4 / figure.scale)
    box = [
        (x - half_x, y - half_y),
        (x + half_x, y - half_y),
        (x + half_x, y + half_y),
        (x - half_x, y + half_y),
    ]
    canvas.polygon(figure.points(box), case, surface)
    if state < 0:
        return
    glow = canvas.add_upright(_LIGHT, _distance(stage, figure), emit=1.6)
    for i, on in enumerate(((1.0, 0.15, 0.1), (1.0, 0.7, 0.1), (0.2, 0.95, 0.5))):
        lamp = figure.box(x, y + half_y * (0.62 - 0.62 * i), half_x * 0.62, half_y * 0.26)
        canvas.ellipse(lamp, on if i == state else scale(on, 0.22), glow if i == state else surface)


def _distance(stage: Stage, figure: Billboard) -> float:
    """Returns the distance at which a figure stands."""
    return stage.camera.focal / figure.scale


_SHAPES = {
    "circle": [(math.cos(a), math.sin(a)) for a in np.linspace(0, 2 * math.pi, 15)[:-1]],
    "warning": [(-1.0, -0.75), (1.0, -0.75), (0.0, 1.0)],
    "yield": [(-1.0, 0.75), (1.0, 0.75), (0.0, -1.0)],
    "stop": [(math.cos(a), math.sin(a)) for a in np.linspace(0, 2 * math.pi, 9)[:-1] + math.pi / 8],
    "priority": [(0.0, -1.0), (1.0, 0.0), (0.0, 1.0), (-1.0, 0.0)],
    "square": [(-0.85, -0.85), (0.85, -0.85), (0.85, 0.85), (-0.85, 0.85)],
    "arrow": [(-1.6, -0.5), (1.3, -0.5), (1.7, 0.0), (1.3, 0.5), (-1.6, 0.5)],
    "board": [(-2.2, -1.3), (2.2, -1.3), (2.2, 1.3), (-2.2, 1.3)],
}
_RED, _BLUE, _YELLOW, _WHITE = (
    (0.8, 0.1, 0.12),
    (0.1, 0.25, 0.65),
    (0.93, 0.75, 0.12),
    (0.92, 0.92, 0.9),
)
# Rim and field of each shape.
_PAINTS = {
    "circle": ((_RED, _WHITE), (_BLUE, _BLUE), (_RED, _RED), (_RED, _YELLOW)),
    "warning": ((_RED, _WHITE), (_RED, _YELLOW)),
    "yield": ((_RED, _WHITE),),
    "stop": ((_WHITE, _RED),),
    "priority": ((_WHITE, _YELLOW), ((0.1, 0.1, 0.1), _YELLOW)),
    "square": ((_WHITE, _BLUE), ((0.2, 0.2, 0.2), _WHITE), (_WHITE, (0.1, 0.45, 0.25))),
    "arrow": (((0.1, 0.1, 0.1), _YELLOW), (_WHITE, _BLUE), ((0.15, 0.15, 0.15), _WHITE)),
    "board": ((_WHITE, _BLUE), (_WHITE, (0.05, 0.4, 0.25)), ((0.1, 0.1, 0.1), _YELLOW)),
}


def paint_sign(stage: Stage, s: float, z: float) -> None:
    """Paints one or two traffic signs on a pole."""
    rng = stage.rng
    figure = Billboard.at(stage.camera, s, z)
    kind = pick(rng, (*_SHAPES, "circle", "circle", "warning", "square"))
    size = between(rng, 0.32, 0.5)
    y = between(rng, 2.2, 3.0) + (1.4 if kind == "board" else 0.0)
    _mast(stage, figure, stage.canvas.add_upright(_POLE, z), y + 0.1, 0.05)
    surface = stage.canvas.add_upright(_SIGN, z, grain=0.01)
    _paint_plate(stage, figure, surface, (y, size, kind))
    if kind in ("circle", "warning", "square") and chance(rng, 0.35):
        _paint_plate(
            stage, figure, surface, (y - 2.1 * size, size * 0.9, pick(rng, ("square", "circle")))
        )


def paint_gantry(stage: Stage, s: tuple[float, float], z: float) -> None:
    """Paints large direction boards hung across the road between two posts."""
    rng, canvas = stage.rng, stage.canvas
    surface = canvas.add_upright(_POLE, z)
    height = between(rng, 5.6, 6.6)
    for x in s:
        color = _mast(stage, Billboard.at(stage.camera, x, z), surface, height + 0.4, 0.14)
    beam = [stage.camera.point(x, height, z) for x in s]
    canvas.line(beam, color, surface, 0.25 * stage.camera.scale(z))
    plates = canvas.add_upright(_SIGN, z, grain=0.01)
    for share in (0.35, 0.72):
        x = s[0] + share * (s[1] - s[0])
        _paint_plate(stage, Billboard.at(stage.camera, x, z), plates, (height, 0.65, "board"))


def _paint_plate(
    stage: Stage, figure: Billboard, surface: int, plate: tuple[float, float, str]
) -> None:
    """Paints a sign's plate: rim, field and something written on it."""
    rng, canvas, (y, size, kind) = stage.rng, stage.canvas, plate
    rim, field = pick(rng, _PAINTS[kind])
    size = max(size, 2.4 / figure.scale)
    shape, tone = _SHAPES[kind], stage.shade((0.0, 0.0, -1.0)) * between(rng, 0.85, 1.1)
    for grow, color in ((1.0, rim), (0.76, field)):
        points = [(grow * size * px, y + grow * size * py) for px, py in shape]
        canvas.polygon(figure.points(points), scale(color, tone), surface)
    ink = _WHITE if sum(field) < 1.5 else (0.12, 0.12, 0.12)
    if size * figure.scale > 5:
        wide = 0.25 if kind in ("circle", "warning", "yield", "stop", "priority") else 0.6
        for dy in (-0.25, 0.15):
            bar = rectangle(-wide * size, y + dy * size, wide * size, y + (dy + 0.2) * size)
            canvas.polygon(figure.points(list(bar)), scale(ink, tone), surface)


def paint_bollard(stage: Stage, s: float, z: float) -> None:
    """Paints a bollard."""
    figure = Billboard.at(stage.camera, s, z)
    _mast(stage, figure, stage.canvas.add_upright(_POLE, z), between(stage.rng, 0.8, 1.1), 0.07)


def paint_box(stage: Stage, s: float, z: float) -> None:
    """Paints a bin, a switch cabinet or a crate: static things that belong to no class."""
    rng = stage.rng
    length, width, height = between(rng, 0.5, 1.4), between(rng, 0.4, 0.8), between(rng, 0.7, 1.4)
    color = hsv(rng, (0, 1), (0.0, 0.7), (0.2, 0.7))
    a = length / 2
    outline = ((-a, 0.0), (-a, height), (a, height), (a, 0.0))
    band = [Detail(rectangle(-1, 0.78, 1, 0.9), scale(color, 0.6))]
    solid = Solid(outline, width, color, ends={0: band})
    Painter(stage, UNLABELED, z).paint(solid, Pose(s, z, between(rng, -0.2, 0.2)))


def paint_hood(stage: Stage) -> None:
    """Paints the bonnet of the car that carries the camera, which belongs to no class."""
    rng, camera = stage.rng, stage.camera
    surface = stage.canvas.add_surface(UNLABELED, (0.8, 0.0, 0.0), grain=0.01)
    base = hsv(rng, (0, 1), (0.0, 0.4), (0.08, 0.5))
    half = camera.width * between(rng, 0.34, 0.6)
    high = camera.height * between(rng, 0.05, 0.11)
    for i in range(5):
        share = 1.0 - 0.09 * i
        box = (
            camera.width / 2 - half * share,
            camera.height - high * share,
            camera.width / 2 + half * share,
            camera.height + high * 1.6,
        )
        stage.canvas.ellipse(box, scale(base, 1.0 + 0.18 * (2 - i)), surface)
