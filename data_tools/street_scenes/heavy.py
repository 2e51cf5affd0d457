"""Trucks, buses and trams: told apart by their build, not by their colours."""

import math

import numpy as np

from data_tools.street_scenes.canvas import TRAIN_ID
from data_tools.street_scenes.draws import Color, between, chance, draw_paint, hsv, mix, pick, scale
from data_tools.street_scenes.solids import Detail, Painter, Pose, Solid, rectangle, wheel
from data_tools.street_scenes.stage import Stage

_DARK = (0.09, 0.09, 0.1)
_LAMP_RED = (0.85, 0.1, 0.08)


def paint_truck(stage: Stage, pose: Pose, length: float) -> None:
    """Paints a truck: a cab and, apart from it, a load on a high chassis."""
    rng = stage.rng
    width, cab_length = between(rng, 2.3, 2.55), between(rng, 1.9, 2.4)
    kind = pick(rng, ("box", "box", "tarp", "dump", "flat"))
    cargo_length = length - cab_length - 0.5
    floor = between(rng, 0.95, 1.25)
    cab_color, cargo_color = draw_paint(rng), draw_paint(rng)
    cargo = _cargo(stage, kind, cargo_length, floor, width, cargo_color)
    chassis = _chassis(stage, length, 0.9 * width, floor)
    cab = _cab(stage, cab_length, width, cab_color)
    parts = [(cargo, pose.moved(-length / 2 + cargo_length / 2))]
    parts.append((cab, pose.moved(length / 2 - cab_length / 2)))
    parts.sort(key=lambda part: -part[1].z)
    painter = Painter(stage, TRAIN_ID["truck"], pose.z)
    painter.paint(chassis, pose)
    for solid, where in parts:
        painter.paint(solid, where)


def _chassis(stage: Stage, length: float, width: float, floor: float) -> Solid:
    """Returns the frame with its wheels, tail lamps and under-run bar."""
    a, radius = length / 2, 0.5
    axles = [-0.36 * length, -0.36 * length + 1.15, 0.36 * length]
    lamps = [
        Detail(rectangle(s * 0.95, 0.62, s * 0.6, 0.85), _LAMP_RED, emit=float(stage.lit > 0.3))
        for s in (-1, 1)
    ]
    bar = Detail(rectangle(-1, 0.3, 1, 0.5), (0.7, 0.25, 0.2))
    wheels = [Detail(rectangle(s * 0.98, 0.0, s * 0.55, 0.55), _DARK) for s in (-1, 1)]
    return Solid(
        ((-a, 0.25), (-a, floor), (a, floor), (a, 0.25)),
        width,
        (0.17, 0.17, 0.18),
        ends={0: [*wheels, bar, *lamps]},
        sides=[d for along in axles for d in wheel(along, radius)],
    )


def _cargo(
    stage: Stage, kind: str, length: float, floor: float, width: float, color: Color
) -> Solid:
    """Returns the load: closed box, tarpaulin, dump body or a flat bed with crates."""
    rng, a = stage.rng, length / 2
    top = floor + {"box": 2.4, "tarp": 2.3, "dump": 1.4, "flat": 1.1}[kind] * between(
        rng, 0.85, 1.1
    )
    outline = ((-a, floor), (-a, top), (a, top), (a, floor))
    sides, rear = [], []
    if kind == "box":
        stripe = draw_paint(rng)
        sides = [Detail(rectangle(-0.7 * a, floor + 0.7, 0.6 * a, floor + 1.4), stripe)]
        rear = [Detail(rectangle(-0.03, 0.03, 0.03, 0.97), scale(color, 0.5))]
        rear += [
            Detail(rectangle(s * 0.5, 0.05, s * 0.45, 0.95), scale(color, 0.7)) for s in (-1, 1)
        ]
        rear += [Detail(rectangle(-1, 0.94, 1, 1.0), scale(color, 0.6))]
    elif kind == "tarp":
        for x in np.arange(-a, a, 0.7):
            sides.append(Detail(rectangle(x, floor + 0.3, x + 0.18, top), scale(color, 0.78)))
        rear = [
            Detail(rectangle(x, 0.15, x + 0.12, 1.0), scale(color, 0.78)) for x in (-0.7, 0, 0.6)
        ]
        sides.append(Detail(rectangle(-a, floor, a, floor + 0.3), (0.6, 0.6, 0.6)))
    elif kind == "dump":
        outline = ((-a, floor), (-a - 0.3, top), (a + 0.2, top + 0.25), (a, floor))
        for x in np.arange(-a, a, 0.9):
            sides.append(Detail(rectangle(x, floor, x + 0.16, top), scale(color, 0.65)))
        rear = [Detail(rectangle(s * 0.98, 0, s * 0.82, 1), scale(color, 0.6)) for s in (-1, 1)]
    else:
        for x in np.arange(-a, a - 0.6, 1.2):
            wood = hsv(rng, (0.05, 0.13), (0.3, 0.6), (0.4, 0.75))
            sides.append(Detail(rectangle(x, floor + 0.2, x + 1.05, top), wood))
        rear = [
            Detail(rectangle(-0.95, 0.2, 0.9, 1.0), hsv(rng, (0.05, 0.13), (0.3, 0.6), (0.4, 0.7)))
        ]
    return Solid(outline, width, color, ends={0: rear}, sides=sides)


def _cab(stage: Stage, length: float, width: float, color: Color) -> Solid:
    """Returns the driver's cab."""
    rng, a = stage.rng, length / 2
    top = between(rng, 2.6, 3.2)
    glass = hsv(rng, (0.5, 0.65), (0.05, 0.3), (0.08, 0.35))
    outline = ((-a, 0.5), (-a, top), (0.6 * a, top), (a, 0.55 * top), (a, 0.35))
    on = chance(rng, stage.lit)
    lamps = [
        Detail(rectangle(s * 0.95, 0.7, s * 0.65, 0.88), (1.0, 0.97, 0.88), emit=float(on))
        for s in (-1, 1)
    ]
    grille = Detail(rectangle(-0.6, 0.1, 0.6, 0.6), _DARK)
    window = (
        (-0.1 * a, 0.58 * top),
        (-0.1 * a, 0.85 * top),
        (0.55 * a, 0.85 * top),
        (0.8 * a, 0.58 * top),
    )
    return Solid(
        outline,
        width,
        color,
        ends={2: [Detail(rectangle(-0.9, 0.15, 0.9, 0.95), glass)], 3: [grille, *lamps]},
        sides=[Detail(window, glass), *wheel(0.1 * a, 0.5)],
    )


def paint_bus(stage: Stage, pose: Pose, length: float) -> None:
    """Paints a bus: one long box with rows of windows, doors, wheels and a destination board."""
    rng = stage.rng
    decks = 2 if chance(rng, 0.2) else 1
    top, a, width = 3.1 + (1.2 if decks == 2 else between(rng, -0.2, 0.25)), length / 2, 2.5
    color = draw_paint(rng)
    glass = _glass(stage)
    lit = float(chance(rng, stage.lit))
    sides = [Detail(rectangle(-a, 0.3, a, between(rng, 0.7, 1.15)), draw_paint(rng))]
    for deck in range(decks):
        low = 1.35 + 1.45 * deck
        for x in np.arange(-a + 0.25, a - 1.0, 1.35):
            sides.append(Detail(rectangle(x, low, x + 1.2, low + 1.0), glass, emit=lit))
    for x in (a - 1.5, -0.1 * a) if chance(rng, 0.6) else ():
        sides.append(Detail(rectangle(x, 0.35, x + 1.1, 2.3), mix(glass, (0.6, 0.6, 0.6), 0.35)))
    sides += wheel(-0.55 * a, 0.5) + wheel(0.6 * a, 0.5)
    board = Detail(rectangle(-0.7, 0.03, 0.7, 0.13), (0.98, 0.7, 0.15), emit=1.0)
    lamps = [Detail(rectangle(s * 0.95, 0.82, s * 0.65, 0.9), (1, 0.97, 0.9), lit) for s in (-1, 1)]
    front = [Detail(rectangle(-0.94, 0.15, 0.94, 0.62), glass), board, *lamps]
    rear = [
        Detail(rectangle(-0.85, 0.5, 0.85, 0.8), glass),
        Detail(rectangle(-0.6, 0.1, 0.6, 0.32), _DARK),
    ]
    rear += [Detail(rectangle(s * 0.98, 0.12, s * 0.82, 0.4), _LAMP_RED, lit) for s in (-1, 1)]
    rear += [Detail(rectangle(-0.5, 0.86, 0.2, 0.94), (0.95, 0.65, 0.15), emit=1.0)]
    outline = ((-a, 0.28), (-a, top), (a - 0.15, top), (a, 0.28))
    painter = Painter(stage, TRAIN_ID["bus"], pose.z)
    painter.paint(_feet(length), pose)
    painter.paint(Solid(outline, width, color, ends={0: rear, 2: front}, sides=sides), pose)


def _feet(length: float) -> Solid:
    """Returns the dark space under a bus with its tyres."""
    a = 0.42 * length
    gap = [Detail(rectangle(-0.7, 0.0, 0.7, 1.0), (0.14, 0.14, 0.15))]
    outline = ((-a, 0.0), (-a, 0.4), (a, 0.4), (a, 0.0))
    return Solid(outline, 2.3, _DARK, ends={0: gap, 2: gap})


def paint_train(stage: Stage, pose: Pose, cars: int) -> None:
    """Paints a tram of `cars` low, articulated cars with ribbons of glass and a pantograph."""
    rng, length, top = stage.rng, 7.0, between(stage.rng, 3.3, 3.6)
    base, trim = draw_paint(rng), draw_paint(rng)
    glass, lit = _glass(stage), float(chance(rng, stage.lit))
    painter = Painter(stage, TRAIN_ID["train"], pose.z)
    order = []
    for i in range(cars):
        where = pose.moved((i - (cars - 1) / 2) * (length + 0.5))
        order.append((where, i == 0, i == cars - 1))
    order.sort(key=lambda car: -car[0].z)
    for where, last, first in order:
        painter.paint(_bellows(length, top), where)
        painter.paint(_tram_car(length, top, (base, trim, glass), lit, (last, first)), where)
        if last or first:
            _paint_pantograph(stage, where, top)


def _tram_car(
    length: float,
    top: float,
    colors: tuple[Color, Color, Color],
    lit: float,
    ends: tuple[bool, bool],
) -> Solid:
    """Returns one car; slanted noses where the tram ends."""
    base, trim, glass = colors
    a = length / 2
    rear, front = (1.0 if ends[0] else 0.0), (1.0 if ends[1] else 0.0)
    outline = (
        (-a - 0.3 * rear, 0.12),
        (-a - 0.4 * rear, 1.1),
        (-a + 0.7 * rear, top - 0.15),
        (-a + 1.0 * rear, top),
        (a - 1.0 * front, top),
        (a - 0.7 * front, top - 0.15),
        (a + 0.4 * front, 1.1),
        (a + 0.3 * front, 0.12),
    )
    sides = [
        Detail(rectangle(-a, 0.12, a, 0.75), trim),
        Detail(
            rectangle(-a + 0.3 + 0.4 * rear, 1.25, a - 0.3 - 0.4 * front, 2.55), glass, emit=lit
        ),
        Detail(rectangle(-a, top - 0.42, a, top - 0.25), trim),
    ]
    for x in (-0.45 * a, 0.35 * a):
        sides.append(Detail(rectangle(x, 0.2, x + 1.3, 2.75), trim))
        sides.append(Detail(rectangle(x + 0.12, 0.9, x + 1.18, 2.5), glass, emit=lit))
    pane = Detail(rectangle(-0.85, 0.1, 0.85, 0.95), glass)
    # The lower part of a nose: bumper colour and a pair of lamps.
    lamps = [Detail(rectangle(s * 0.85, 0.6, s * 0.5, 0.8), (0.95, 0.4, 0.3), lit) for s in (-1, 1)]
    bright = [Detail(rectangle(s * 0.85, 0.2, s * 0.5, 0.4), (1, 0.97, 0.9), lit) for s in (-1, 1)]
    return Solid(
        outline,
        2.4,
        base,
        ends={1: [pane], 5: [pane], 0: lamps, 6: bright},
        sides=sides,
        edge_colors={0: trim, 6: trim, 3: (0.45, 0.46, 0.48)},
    )


def _bellows(length: float, top: float) -> Solid:
    """Returns the dark joint that reaches from one car to the next."""
    a = length / 2 + 0.3
    outline = ((-a, 0.4), (-a, top - 0.2), (a, top - 0.2), (a, 0.4))
    return Solid(outline, 2.1, (0.1, 0.1, 0.11))


def _paint_pantograph(stage: Stage, pose: Pose, top: float) -> None:
    """Paints the current collector on a roof."""
    camera, canvas = stage.camera, stage.canvas
    if pose.z < 3.0:
        return
    surface = canvas.add_upright(TRAIN_ID["train"], pose.z, grain=0.0)
    points = [(-0.5, top), (0.45, top + 0.5), (-0.3, top + 1.0)]
    pixels = [camera.point(pose.s + x, y, pose.z) for x, y in points]
    bar = [camera.point(pose.s + x, top + 1.0, pose.z) for x in (-0.8, 0.8)]
    width = 0.06 * camera.scale(pose.z)
    canvas.line(pixels, _DARK, surface, width)
    canvas.line(bar, _DARK, surface, width)


def _glass(stage: Stage) -> Color:
    """Draws the colour of windows, warm where lights are on."""
    if stage.lit > 0.4:
        return hsv(stage.rng, (0.1, 0.16), (0.1, 0.4), (0.4, 0.7))
    return hsv(stage.rng, (0.5, 0.65), (0.05, 0.35), (0.08, 0.4))


def crossing_heading(rng: np.random.Generator) -> float:
    """Draws the heading of a vehicle on the cross street."""
    return pick(rng, (-1, 1)) * math.pi / 2
