"""The layout of a scene: first what it must show, then what streets are full of."""

import dataclasses
import functools
from collections.abc import Callable

import numpy as np

from data_tools.street_scenes import buildings, furniture
from data_tools.street_scenes.barriers import barrier_look, paint_barrier
from data_tools.street_scenes.draws import between, chance, pick
from data_tools.street_scenes.people import paint_person
from data_tools.street_scenes.plants import paint_bush, paint_tree, plant_look
from data_tools.street_scenes.stage import Box, Stage
from data_tools.street_scenes.street import Side, Street
from data_tools.street_scenes.traffic import place_traffic

# Where streets end and the skyline begins, in metres.
END = 80.0
# Depth order is `z + _OUTWARDS * |s|`: on one line of sight both grow together, and of two
# things side by side the one further from the road is painted first.
_OUTWARDS = 2.0


@dataclasses.dataclass(frozen=True)
class SceneItem:
    """Something to paint, where it sorts in depth, and what throws its shadow."""

    s: float
    z: float
    paint: Callable[[], None]
    box: Box | None = None

    @property
    def order(self) -> float:
        """Sort key: larger is further away."""
        return self.z + _OUTWARDS * abs(self.s)


def place_everything(stage: Stage, street: Street, features: frozenset[str]) -> list[SceneItem]:
    """Returns the scene's things, far ones first.

    Args:
        stage: the scene.
        street: its plan.
        features: names of classes this scene must show.
    """
    items: list[SceneItem] = []
    # Barriers that are asked for stand on one side, well visible.
    wanted = [name for name in ("wall", "fence") if name in features]
    sides = [street.left, street.right]
    if chance(stage.rng, 0.5):
        sides.reverse()
    for i, side in enumerate(sides):
        items += _frontage(
            stage, street, side, wanted[i : i + 1] if len(wanted) > 1 else wanted[: 1 - i]
        )
        items += _sidewalk(stage, street, side)
    vehicles = place_traffic(stage, street, features)
    items += [SceneItem(v.s, v.z, v.paint, v.box) for v in vehicles]
    items += _signals(stage, street)
    items += _crossers(stage, street, [v.box for v in vehicles])
    return sorted(items, key=lambda item: -item.order)


def _free(street: Street, z: float, margin: float = 0.5) -> bool:
    """Says whether a distance is outside the cross street."""
    if street.crossing is None:
        return True
    return not street.crossing[0] - margin < z < street.crossing[1] + margin


_FRONTS = {
    "downtown": {"building": 0.9, "park": 0.05, "wall": 0.05},
    "residential": {"building": 0.65, "park": 0.12, "hedge": 0.09, "fence": 0.07, "wall": 0.07},
    "suburb": {"building": 0.38, "park": 0.2, "hedge": 0.17, "fence": 0.15, "wall": 0.1},
    "industrial": {"building": 0.42, "park": 0.13, "fence": 0.2, "wall": 0.25},
    "avenue": {"building": 0.6, "park": 0.28, "hedge": 0.06, "fence": 0.03, "wall": 0.03},
    "outskirts": {"building": 0.14, "park": 0.56, "hedge": 0.12, "fence": 0.1, "wall": 0.08},
}


def _frontage(stage: Stage, street: Street, side: Side, wanted: list[str]) -> list[SceneItem]:
    """Returns what lines one side: buildings, gardens, parks, walls and fences."""
    rng = stage.rng
    items: list[SceneItem] = []
    shares = _FRONTS[street.district]
    storeys = {"downtown": (3, 9), "residential": (3, 6), "avenue": (3, 8)}.get(
        street.district, (1, 4)
    )
    trees = plant_look(rng)
    z, hidden = between(rng, -8.0, 4.0), 0
    forced = list(wanted)
    while z < END:
        length = between(rng, 8.0, 22.0)
        kind = str(rng.choice(list(shares), p=list(shares.values())))
        # Nearer than some 15 m the frontage lies outside the picture.
        if forced and z + length > 15.0:
            kind, length = forced[-1], between(rng, 20.0, 32.0)
        far = z + length
        if (
            street.crossing is not None
            and z < street.crossing[1] + 2
            and far > street.crossing[0] - 2
        ):
            far = street.crossing[0] - 2.0
            if far - z < 5.0:
                z, hidden = street.crossing[1] + 2.0, 0
                continue
        if forced and kind == forced[-1]:
            forced.pop()
        if kind == "building":
            floors = int(rng.integers(storeys[0], storeys[1] + 1))
            items.append(_building(stage, side, (z, far), floors, exposed=floors >= hidden))
            hidden = floors
        else:
            hidden = 0
            items += _garden(stage, side, (z, far), trees)
            if kind != "park":
                items += _barrier(stage, side, (z, far), "vegetation" if kind == "hedge" else kind)
            if kind != "park" and chance(rng, 0.5):
                items.append(_building(stage, side, (z, far), 2, setback=between(rng, 6.0, 12.0)))
        z = far
        if chance(rng, 0.3):
            z, hidden = z + between(rng, 1.0, 5.0), 0
    return items


def _building(
    stage: Stage,
    side: Side,
    z: tuple[float, float],
    floors: int,
    setback: float = 0.0,
    exposed: bool = True,
) -> SceneItem:
    """Returns a building on (or behind) the frontage."""
    front, height = side.front + setback, 3.0 * floors
    paint = functools.partial(buildings.paint_building, stage, side, front, z, floors, exposed)
    middle, half = (z[0] + z[1]) / 2, (z[1] - z[0]) / 2
    box = Box(side.at(front + 5.0), middle, 5.0, half, 0.0, height)
    # A facade borders nothing but what stands before it: it sorts by its far end.
    return SceneItem(side.at(front), z[1], paint, box)


def _barrier(stage: Stage, side: Side, z: tuple[float, float], name: str) -> list[SceneItem]:
    """Returns a wall, a fence or a hedge in short pieces, which sort well in depth."""
    look = barrier_look(stage.rng, name)
    height = between(stage.rng, 1.5, 3.2) if name == "wall" else between(stage.rng, 1.1, 2.4)
    s = side.at(side.front - 0.05)
    step = max(4.0, 0.2 * z[0])
    edges = np.linspace(*z, max(2, round((z[1] - z[0]) / step) + 1))
    items = []
    for near, far in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        paint = functools.partial(paint_barrier, stage, s, (near, far), height, look)
        box = Box(s, (near + far) / 2, 0.12, (far - near) / 2, 0.0, height)
        items.append(SceneItem(s, (near + far) / 2, paint, box))
    return items


def _garden(stage: Stage, side: Side, z: tuple[float, float], look: dict) -> list[SceneItem]:
    """Returns trees and bushes behind the frontage line."""
    rng = stage.rng
    items = []
    for _ in range(int(rng.integers(1, 5))):
        at = (
            side.at(side.front + between(rng, 1.5, 12.0)),
            between(rng, max(z[0], 3.0), max(z[1], 3.5)),
        )
        if chance(rng, 0.7):
            items.append(_tree(stage, *at, between(rng, 4.5, 11.0), look))
        else:
            size = between(rng, 1.0, 3.5), between(rng, 0.8, 2.2)
            items.append(SceneItem(*at, functools.partial(paint_bush, stage, *at, size, look)))
    return items


def _tree(stage: Stage, s: float, z: float, height: float, look: dict) -> SceneItem:
    """Returns a tree; its crown throws the shadow."""
    box = Box(s, z, 0.25 * height, 0.25 * height, 0.35 * height, 0.95 * height)
    return SceneItem(s, z, functools.partial(paint_tree, stage, s, z, height, look), box)


def _sidewalk(stage: Stage, street: Street, side: Side) -> list[SceneItem]:
    """Returns what stands and walks on one sidewalk."""
    rng = stage.rng
    items = []
    kerb, walk = side.at(side.road + 0.45), (side.walk + 0.2, side.outer - 0.2)
    if chance(rng, {"avenue": 0.9, "residential": 0.55}.get(street.district, 0.3)):
        look, step = plant_look(rng), between(rng, 7.0, 14.0)
        for z in np.arange(between(rng, 6.0, 14.0), END, step).tolist():
            if _free(street, z):
                items.append(
                    _tree(stage, side.at(side.road + 0.8), z, between(rng, 4.5, 8.5), look)
                )
    if chance(rng, 0.75):
        style, height = pick(rng, ("arm", "arm", "post", "wire")), between(rng, 5.0, 9.0)
        height = height if style != "post" else between(rng, 3.2, 4.5)
        for z in np.arange(between(rng, 6.0, 22.0), END, between(rng, 14.0, 26.0)).tolist():
            paint = functools.partial(furniture.paint_lamp, stage, kerb, z, height, style)
            items.append(SceneItem(kerb, z, paint, Box(kerb, z, 0.1, 0.1, 0.0, height)))
    for _ in range(int(rng.integers(1, 4))):
        z = between(rng, 7.0, 15.0) if chance(rng, 0.35) else between(rng, 12.0, 45.0)
        s = side.at(side.road + between(rng, 0.35, 0.7))
        paint = functools.partial(furniture.paint_sign, stage, s, z)
        items.append(SceneItem(s, z, paint, Box(s, z, 0.06, 0.06, 0.0, 2.5)))
    if chance(rng, 0.2):
        for z in np.arange(between(rng, 5.0, 9.0), 30.0, between(rng, 1.5, 3.0)).tolist():
            items.append(
                SceneItem(kerb, z, functools.partial(furniture.paint_bollard, stage, kerb, z))
            )
    if chance(rng, 0.35):
        s, z = side.at(between(rng, *walk)), between(rng, 6.0, 20.0)
        box = Box(s, z, 0.3, 0.4, 0.0, 1.0)
        items.append(SceneItem(s, z, functools.partial(furniture.paint_box, stage, s, z), box))
    return items + _walkers(stage, side, walk)


def _walkers(stage: Stage, side: Side, walk: tuple[float, float]) -> list[SceneItem]:
    """Returns people on a sidewalk, some of them in groups."""
    rng = stage.rng
    items = []
    for _ in range(int(rng.integers(1, 6))):
        z = between(rng, 6.0, 16.0) if chance(rng, 0.55) else between(rng, 14.0, 45.0)
        s = between(rng, *walk)
        for i in range(int(rng.integers(2, 5)) if chance(rng, 0.25) else 1):
            items.append(_person(stage, side.at(s + 0.55 * i), z + between(rng, -0.4, 0.4)))
    return items


def _person(stage: Stage, s: float, z: float) -> SceneItem:
    """Returns a person on foot."""
    paint = functools.partial(paint_person, stage, s, z)
    return SceneItem(s, z, paint, Box(s, z, 0.22, 0.18, 0.0, 1.7))


def _signals(stage: Stage, street: Street) -> list[SceneItem]:
    """Returns traffic lights, and now and then a gantry."""
    rng = stage.rng
    items = []
    stop = street.zebra[0] if street.zebra else (street.crossing[0] if street.crossing else None)
    if stop is None and chance(rng, 0.45):
        stop = between(rng, 10.0, 32.0)
    if stop is not None and chance(rng, 0.9):
        overhead = pick(rng, (0.0, 0.0, 3.2, 4.5))
        for side in (street.right, street.left):
            s, facing = side.at(side.road + 0.4), side.sign > 0 or chance(rng, 0.6)
            arm = overhead if side.sign > 0 else 0.0
            paint = functools.partial(furniture.paint_traffic_light, stage, s, stop, facing, arm)
            items.append(SceneItem(s, stop, paint, Box(s, stop, 0.1, 0.1, 0.0, 3.0)))
    if chance(rng, 0.08):
        z = between(rng, 22.0, 45.0)
        ends = street.left.at(street.left.road + 0.6), street.right.at(street.right.road + 0.6)
        items.append(SceneItem(0.0, z, functools.partial(furniture.paint_gantry, stage, ends, z)))
    return items


def _crossers(stage: Stage, street: Street, boxes: list[Box]) -> list[SceneItem]:
    """Returns people on the zebra crossing, none of them inside a vehicle."""
    rng = stage.rng
    if street.zebra is None or chance(rng, 0.3):
        return []
    items = []
    for _ in range(int(rng.integers(1, 5))):
        s = between(rng, -street.left.road, street.right.road)
        z = between(rng, *street.zebra)
        if not any(box.holds(s, z, margin=0.3) for box in boxes):
            items.append(_person(stage, s, z))
    return items
