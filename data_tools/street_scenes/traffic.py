"""Vehicles and riders of a scene: moving in lanes, crossing, parked."""

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np

from data_tools.street_scenes.cars import car_size, heading_along, paint_car
from data_tools.street_scenes.cycles import paint_bicycle, paint_motorcycle
from data_tools.street_scenes.draws import between, chance, pick
from data_tools.street_scenes.heavy import crossing_heading, paint_bus, paint_train, paint_truck
from data_tools.street_scenes.solids import Pose
from data_tools.street_scenes.stage import Box, Stage
from data_tools.street_scenes.street import Side, Street

# Length, width and height in metres, for spacing and shadows.
_SIZES = {"car": car_size(), "truck": (8.0, 2.4, 3.2), "bus": (11.0, 2.5, 3.1)}
_MOST_DISTANT = 60.0


@dataclasses.dataclass(frozen=True)
class PlacedVehicle:
    """A vehicle: where it stands, how to paint it, what throws its shadow."""

    s: float
    z: float
    paint: Callable[[], None]
    box: Box


def place_traffic(stage: Stage, street: Street, features: frozenset[str]) -> list[PlacedVehicle]:
    """Returns all vehicles of a scene.

    Args:
        stage: the scene.
        street: its plan.
        features: classes that must be seen.
    """
    placed: list[PlacedVehicle] = []
    taken: dict[int, list[tuple[float, float]]] = {i: [] for i in range(len(street.lanes))}
    if "train" in features:
        placed.append(_train(stage, street, taken))
    wanted = [name for name in ("truck", "bus") if name in features]
    for name in ("truck", "bus"):
        if chance(stage.rng, 0.06):
            wanted.append(name)
    for name in wanted:
        placed += _heavy(stage, street, name, taken)
    for lane in range(len(street.lanes)):
        placed += _lane(stage, street, lane, taken[lane])
    for side in (street.left, street.right):
        placed += _parked(stage, street, side)
    if street.crossing is not None and chance(stage.rng, 0.4):
        z = between(stage.rng, street.crossing[0] + 2.0, street.crossing[1] - 2.0)
        placed.append(
            _vehicle(stage, "car", Pose(between(stage.rng, -9, 9), z, crossing_heading(stage.rng)))
        )
    return placed + _two_wheelers(stage, street, features, [p.box for p in placed])


def _vehicle(stage: Stage, name: str, pose: Pose, parked: bool = False) -> PlacedVehicle:
    """Returns a car, truck or bus at a pose."""
    length, width, height = _SIZES[name]
    if name == "car":
        paint = functools.partial(paint_car, stage, pose, parked)
    else:
        length *= between(stage.rng, 0.85, 1.15)
        paint = functools.partial(
            paint_truck if name == "truck" else paint_bus, stage, pose, length
        )
    along, across = abs(math.cos(pose.heading)), abs(math.sin(pose.heading))
    half_z = (length * along + width * across) / 2
    half_s = (width * along + length * across) / 2
    return PlacedVehicle(pose.s, pose.z, paint, Box(pose.s, pose.z, half_s, half_z, 0.0, height))


def _clear(taken: list[tuple[float, float]], near: float, far: float) -> bool:
    """Says whether a stretch of a lane is free, with a gap."""
    return all(far + 2.5 < a or near - 2.5 > b for a, b in taken)


def _train(stage: Stage, street: Street, taken: dict[int, list]) -> PlacedVehicle:
    """Returns a tram on its rails, near enough to be seen well."""
    rng = stage.rng
    lane = street.lanes.index(street.rails[0])
    cars = int(rng.integers(2, 4))
    half = cars * 7.5 / 2
    z = between(rng, 9.0, 22.0) + half
    taken[lane].append((z - half, z + half))
    pose = Pose(street.lanes[lane], z, math.pi if street.oncoming[lane] else 0.0)
    paint = functools.partial(paint_train, stage, pose, cars)
    return PlacedVehicle(pose.s, z, paint, Box(pose.s, z, 1.25, half, 0.0, 3.4))


def _heavy(stage: Stage, street: Street, name: str, taken: dict[int, list]) -> list[PlacedVehicle]:
    """Returns a truck or bus: in a lane, across the junction, or at the kerb."""
    rng = stage.rng
    half = _SIZES[name][0] / 2
    if street.crossing is not None and chance(rng, 0.4):
        z = (street.crossing[0] + street.crossing[1]) / 2
        return [_vehicle(stage, name, Pose(between(rng, -8, 8), z, crossing_heading(rng)))]
    for attempt in range(12):
        lane = int(rng.integers(len(street.lanes)))
        z = between(rng, 8.0, 22.0 + 2.0 * attempt) + half
        if _clear(taken[lane], z - half, z + half):
            taken[lane].append((z - half, z + half))
            heading = heading_along(rng, street.oncoming[lane])
            return [_vehicle(stage, name, Pose(street.lanes[lane], z, heading))]
    return []


def _lane(
    stage: Stage, street: Street, lane: int, taken: list[tuple[float, float]]
) -> list[PlacedVehicle]:
    """Returns the cars that drive in one lane."""
    rng = stage.rng
    placed = []
    busy = between(rng, 0.0, 0.6)
    ahead = lane == min(range(len(street.lanes)), key=lambda i: abs(street.lanes[i]))
    z = between(rng, 9.0, 24.0) if ahead else between(rng, 5.0, 18.0)
    while z < _MOST_DISTANT:
        half = _SIZES["car"][0] / 2
        if chance(rng, busy) and _clear(taken, z - half, z + half):
            pose = Pose(
                street.lanes[lane] + between(rng, -0.3, 0.3),
                z,
                heading_along(rng, street.oncoming[lane]),
            )
            placed.append(_vehicle(stage, "car", pose))
        z += between(rng, 7.0, 18.0)
    return placed


def _parked(stage: Stage, street: Street, side: Side) -> list[PlacedVehicle]:
    """Returns cars parked along one kerb."""
    rng = stage.rng
    if not side.parking:
        return []
    placed, full = [], between(rng, 0.1, 0.85)
    z = between(rng, 3.0, 9.0)
    while z < _MOST_DISTANT:
        blocked = [street.crossing, street.zebra]
        if chance(rng, full) and all(not b or z + 3 < b[0] or z - 3 > b[1] for b in blocked):
            s = side.at(side.road - side.parking / 2)
            name = "truck" if chance(rng, 0.02) else "car"
            pose = Pose(s, z, heading_along(rng, side.sign < 0))
            placed.append(_vehicle(stage, name, pose, parked=True))
            z += _SIZES[name][0] - 4.5
        z += between(rng, 5.2, 6.6)
    return placed


def _two_wheelers(
    stage: Stage, street: Street, features: frozenset[str], boxes: list[Box]
) -> list[PlacedVehicle]:
    """Returns bicycles and motorcycles, ridden and parked; `boxes` are taken already."""
    rng = stage.rng
    placed: list[PlacedVehicle] = []
    for name, usual in (("bicycle", 0.3), ("motorcycle", 0.12)):
        ridden = 1 if name in features else int(chance(rng, usual / 2))
        if name in features and chance(rng, 0.4):
            ridden += 1
        before = len(placed)
        for _ in range(ridden):
            placed += _ridden(stage, street, name, boxes + [p.box for p in placed])
        # A featured one that found no room in the street is parked beside it.
        if chance(rng, 0.5 if name in features else usual) or len(placed) < before + ridden:
            placed += _rack(stage, street, name)
    return placed


def _ridden(stage: Stage, street: Street, name: str, boxes: list[Box]) -> list[PlacedVehicle]:
    """Returns somebody riding near the kerb or across the street, where there is room."""
    for _ in range(8):
        pose = _draw_riding(stage, street)
        if not any(box.holds(pose.s, pose.z, margin=0.9) for box in boxes):
            break
    else:
        return []
    paint = paint_bicycle if name == "bicycle" else paint_motorcycle
    box = Box(pose.s, pose.z, 0.4 + 0.5 * abs(math.sin(pose.heading)), 0.8, 0.0, 1.6)
    return [PlacedVehicle(pose.s, pose.z, functools.partial(paint, stage, pose, rider=True), box)]


def _draw_riding(stage: Stage, street: Street) -> Pose:
    """Draws a place and a heading for a rider."""
    rng = stage.rng
    z = between(rng, 6.0, 16.0)
    if chance(rng, 0.4):
        heading = pick(rng, (-1, 1)) * between(rng, 0.7, 1.6)
        return Pose(between(rng, -0.35, 0.35) * z, z, heading)
    side = pick(rng, (street.left, street.right, street.right))
    s = side.at(side.road - side.parking - between(rng, 0.4, 0.9))
    return Pose(s, z, heading_along(rng, side.sign < 0) + between(rng, -0.35, 0.35))


def _rack(stage: Stage, street: Street, name: str) -> list[PlacedVehicle]:
    """Returns a few parked two-wheelers on a sidewalk."""
    rng = stage.rng
    side = pick(rng, (street.left, street.right))
    s, z = side.at(side.walk + 0.5), between(rng, 6.0, 18.0)
    slant = side.sign * between(rng, 0.5, 1.5)
    paint = paint_bicycle if name == "bicycle" else paint_motorcycle
    placed = []
    for i in np.arange(int(rng.integers(1, 6))).tolist():
        at = z + i * between(rng, 0.55, 0.8)
        pose = Pose(s, at, slant + between(rng, -0.15, 0.15))
        box = Box(s, at, 0.5, 0.25, 0.0, 1.0)
        placed.append(PlacedVehicle(s, at, functools.partial(paint, stage, pose, rider=False), box))
    return placed
