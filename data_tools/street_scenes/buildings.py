"""Buildings beside the street, and what stands at its far end."""

import numpy as np

from data_tools.street_scenes.canvas import TRAIN_ID
from data_tools.street_scenes.draws import between, chance, hsv, pick
from data_tools.street_scenes.masonry import facade, facade_look
from data_tools.street_scenes.panels import paint_across, paint_along
from data_tools.street_scenes.stage import Stage
from data_tools.street_scenes.street import Side

# Metres per floor and per window column.
_CELL = 3.0


def paint_building(
    stage: Stage, side: Side, front: float, z: tuple[float, float], floors: int, exposed: bool
) -> None:
    """Paints a building: facade, the end towards the camera, and a roof.

    Args:
        stage: the scene.
        side: the side of the street.
        front: distance of the facade from `s = 0`.
        z: near and far end.
        floors: number of floors.
        exposed: whether the end towards the camera can be seen past the neighbour.
    """
    rng, near, far = stage.rng, *z
    look = facade_look(rng)
    floor_height = between(rng, 2.8, 3.7)
    # What rises above the picture even at its far end need not be painted.
    camera = stage.camera
    shown = min(floors, 2 + int((camera.eye + camera.horizon / camera.scale(far)) / floor_height))
    height = shown * floor_height
    depth = between(rng, 8.0, 14.0)
    s, back = side.at(front), side.at(front + depth)
    pixels = int(np.clip(_CELL * camera.scale(max(0.6 * near + 0.4 * far, 6.0)), 4, 18))
    label = TRAIN_ID["building"]
    roof = chance(rng, 0.75 if floors <= 3 else 0.2)
    if roof and shown == floors:
        _paint_roof(stage, (s, back), z, height, between(rng, 1.5, 4.0))
    if exposed and near > 2.0:
        end = facade(stage, shown, max(1, round(depth / _CELL)), pixels, look)
        paint_across(stage, (min(s, back), max(s, back)), near, (0.0, height), end, label)
    columns = max(1, round((far - near) / _CELL))
    front_texture = facade(stage, shown, columns, pixels, look)
    paint_along(stage, s, z, (0.0, height), front_texture, label)


def _paint_roof(
    stage: Stage, s: tuple[float, float], z: tuple[float, float], height: float, rise: float
) -> None:
    """Paints a gabled roof: the slope towards the street and the gable towards the camera."""
    front, back = s
    middle = (front + back) / 2
    eaves, ridge = front - 0.04 * (back - front), height + rise
    color = hsv(stage.rng, pick(stage.rng, ((0.0, 0.08), (0.55, 0.7))), (0.1, 0.6), (0.2, 0.6))
    surface = stage.canvas.add_upright(TRAIN_ID["building"], (z[0] + z[1]) / 2, grain=0.12)
    out = -float(np.sign(front))
    tone = stage.shade((0.6 * out, 0.8, 0.0))
    slope = [
        (eaves, height, z[0]),
        (eaves, height, z[1]),
        (middle, ridge, z[1]),
        (middle, ridge, z[0]),
    ]
    gable = [(front, height, z[0]), (back, height, z[0]), (middle, ridge, z[0])]
    stage.canvas.face(slope, tuple(c * tone for c in color), surface)
    tone = stage.shade((0.0, 0.0, -1.0))
    stage.canvas.face(gable, tuple(0.8 * c * tone for c in color), surface)


def paint_skyline(stage: Stage, distance: float, urban: float) -> None:
    """Closes the street with far trees and buildings.

    Args:
        stage: the scene.
        distance: where they begin, in metres.
        urban: share of buildings among them.
    """
    rng, camera = stage.rng, stage.camera
    half = 0.6 * camera.width / camera.scale(distance)
    bend = -float(camera.shift(distance))
    # The further row is hardly seen: it has trees only, which cost least.
    for z, share in ((distance * 1.4, 0.0), (distance, urban)):
        s = bend - half * z / distance
        while s < bend + half * z / distance:
            width = between(rng, 12.0, 34.0)
            if chance(rng, share):
                _paint_far_building(stage, s, width, z)
            elif chance(rng, 0.8):
                _paint_far_trees(stage, s, width, z)
            s += width * between(rng, 0.5, 1.0)


def _paint_far_building(stage: Stage, s: float, width: float, z: float) -> None:
    """Paints the front of one distant building."""
    height = between(stage.rng, 6.0, 26.0)
    pixels = int(np.clip(_CELL * stage.camera.scale(z), 3, 10))
    shape = max(1, round(height / _CELL)), max(1, round(width / _CELL))
    texture = facade(stage, *shape, pixels, facade_look(stage.rng))
    paint_across(stage, (s, s + width), z, (0.0, height), texture, TRAIN_ID["building"])


def _paint_far_trees(stage: Stage, s: float, width: float, z: float) -> None:
    """Paints a distant row of trees as overlapping crowns."""
    rng, canvas = stage.rng, stage.canvas
    surface = canvas.add_upright(TRAIN_ID["vegetation"], z, grain=0.2)
    color = hsv(rng, (0.2, 0.38), (0.2, 0.6), (0.2, 0.45))
    k = stage.camera.scale(z)
    for _ in range(7):
        column, foot = stage.camera.point(s + between(rng, 0.0, width), 0.0, z)
        rx, ry = k * between(rng, 2.0, 4.5), k * between(rng, 2.0, 5.5)
        shade = between(rng, 0.8, 1.15)
        box = (column - rx, foot - 2 * ry, column + rx, foot + 1)
        canvas.ellipse(box, tuple(c * shade for c in color), surface)
