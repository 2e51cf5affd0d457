"""The ground, painted pixel by pixel from its street coordinates: no polygons, no seams."""

import numpy as np
from PIL import Image

from data_tools.street_scenes.canvas import MAX_BYTE, TRAIN_ID, UNLABELED
from data_tools.street_scenes.draws import Color, between, chance, hsv, mix, pick
from data_tools.street_scenes.stage import Stage
from data_tools.street_scenes.street import KERB, ROAD, SIDEWALK, TERRAIN, YARD, Street

# How far (metres) fine patterns are drawn before they would only flicker.
_PATTERN_RANGE = 45.0
_LABELS = {
    ROAD: TRAIN_ID["road"],
    KERB: TRAIN_ID["sidewalk"],
    SIDEWALK: TRAIN_ID["sidewalk"],
    TERRAIN: TRAIN_ID["terrain"],
    YARD: UNLABELED,
}


def paint_ground(stage: Stage, street: Street, sky: Image.Image, shadow: np.ndarray) -> None:
    """Fills the canvas with sky and ground.

    Args:
        stage: the scene.
        street: its plan.
        sky: the sky, of the canvas's size.
        shadow: `(H, W)` share of light that is taken from the ground.
    """
    camera, canvas = stage.camera, stage.canvas
    first = min(max(int(np.ceil(camera.horizon)) + 1, 1), camera.height - 1)
    rows = np.arange(first, camera.height, dtype=np.float32)[:, None]
    z = (camera.focal * camera.eye) / (rows + 0.5 - camera.horizon)
    columns = np.arange(camera.width, dtype=np.float32)[None]
    s = (columns + 0.5 - camera.center) * (z / camera.focal) - camera.shift(z)
    kind = _kinds(street, s, z)
    color = _colors(stage, street, kind, s, z)
    color *= (stage.shade((0.0, 1.0, 0.0)) * (1.0 - shadow[first:]))[:, :, None]

    numbers = np.zeros(max(_LABELS) + 1, np.int32)
    plane = camera.ground_inverse_depth()
    for name, label in _LABELS.items():
        grain = 0.07 if name == TERRAIN else 0.03
        numbers[name] = canvas.add_surface(label, plane, grain=grain)
    surface = np.empty((camera.height, camera.width), np.int32)
    surface[:first] = canvas.add_surface(TRAIN_ID["sky"], (1e-4, 0.0, 0.0), emit=1.0, grain=0.0)
    surface[first:] = numbers[kind]
    painted = Image.fromarray((np.clip(color, 0.0, 1.0) * MAX_BYTE).astype(np.uint8))
    sky.paste(painted, (0, first))
    canvas.fill(sky, surface)


def _kinds(street: Street, s: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Returns the ground kind of every pixel from `s` `(R, W)` and `z` `(R, 1)`."""
    edges, kinds = street.bands()
    passed = np.zeros(s.shape, np.uint8)
    for edge in edges.tolist():
        passed += s > edge
    kind = kinds.astype(np.uint8)[passed]
    if street.crossing is not None:
        near, far = street.crossing
        kind[((z > near) & (z < far))[:, 0]] = ROAD
    return kind


def _colors(
    stage: Stage, street: Street, kind: np.ndarray, s: np.ndarray, z: np.ndarray
) -> np.ndarray:
    """Returns the ground's colours `(R, W, 3)` before shadows."""
    rng = stage.rng
    palette = np.asarray([_base_color(rng, name) for name in sorted(_LABELS)], np.float32)
    fine = stage.noise.at("fine", (z * 22).astype(np.int32), (s * 28).astype(np.int32))
    stain = stage.noise.at("stain", (z * 9).astype(np.int32), (s * 17).astype(np.int32))
    road, paved = kind == ROAD, (kind == SIDEWALK) | (kind == YARD)
    contrast = np.asarray([between(rng, 0.06, 0.3) for _ in _LABELS], np.float32)
    contrast[TERRAIN] = between(rng, 0.35, 0.7)
    bright = 1.0 + contrast[kind] * (0.55 * stain + 0.45 * fine - 0.5)
    bright *= 1.0 - between(rng, 0.0, 0.12) * road * np.cos(s * 3.6 + between(rng, 0, 6))
    bright *= 1.0 - _paving(rng, s, z) * paved
    if chance(rng, 0.15):
        bright *= 1.0 - _paving(rng, s, z) * road
    color = palette[kind] * bright[:, :, None]
    _whiten(color, _marks(stage, street, s, z) * road * (stain > between(rng, 0.0, 0.4)), rng)
    if stage.condition.snow > 0.0:
        # Wheels keep the lanes clearer than the rest.
        cover = stage.condition.snow * np.where(road, 0.75, 1.25)
        share = np.clip((cover - 0.75 * stain - 0.25 * fine) * 4.0 + 0.5, 0.0, 0.93) * (cover > 0.1)
        color += (np.asarray((0.9, 0.92, 0.95), np.float32) - color) * share[:, :, None]
    if stage.condition.wet > 0.0:
        color *= (1.0 - 0.45 * stage.condition.wet * (kind != TERRAIN))[:, :, None]
    return color


def _base_color(rng: np.random.Generator, kind: int) -> Color:
    """Draws the base colour of a ground kind."""
    if kind == TERRAIN:
        grass = hsv(rng, (0.17, 0.33), (0.3, 0.75), (0.25, 0.6))
        return mix(grass, hsv(rng, (0.05, 0.13), (0.2, 0.55), (0.3, 0.65)), rng.random() ** 2)
    value = {ROAD: (0.25, 0.58), KERB: (0.5, 0.8), SIDEWALK: (0.38, 0.78), YARD: (0.35, 0.7)}[kind]
    hue = pick(rng, ((0.55, 0.7), (0.02, 0.12)))
    saturation = (0.0, 0.12) if kind in (ROAD, KERB) or chance(rng, 0.6) else (0.1, 0.4)
    return hsv(rng, hue, saturation, value)


def _paving(rng: np.random.Generator, s: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Returns the darkening of joints between slabs or stones, fading with distance."""
    length, width = between(rng, 0.3, 1.6), between(rng, 0.3, 1.4)
    row = np.floor(z / length)
    column = s / width + 0.5 * np.mod(row, 2)
    joint = (column - np.floor(column)) * width < 0.06
    joint |= (z / length - row) * length < 0.07
    return joint * (between(rng, 0.0, 0.4) * np.clip(1.0 - z / _PATTERN_RANGE, 0.0, 1.0))


def _marks(stage: Stage, street: Street, s: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Returns where lines, zebra stripes and rails are painted: 1 paint, -1 rail, 0 nothing."""
    rng = stage.rng
    period, phase = between(rng, 6.0, 12.0), between(rng, 0.0, 12.0)
    dash = np.mod(z + phase, period) < 0.45 * period
    marks = np.zeros(s.shape, np.float32)
    half = between(rng, 0.06, 0.11)
    for position, dashed in street.marks:
        line = np.abs(s - position) < half
        marks[line & dash if dashed else line] = 1.0
    if chance(rng, 0.4):
        for side in (street.left, street.right):
            marks[np.abs(s - side.at(side.road - side.parking - 0.15)) < half] = 1.0
    if street.crossing is not None:
        marks[((z > street.crossing[0]) & (z < street.crossing[1]))[:, 0]] = 0.0
    if street.zebra is not None:
        near, far = street.zebra
        marks[((z > near) & (z < far))[:, 0]] = 0.0
        marks[(z > near) & (z < far) & (np.mod(s + phase, 1.0) < 0.5)] = 1.0
        middle = street.marks[0][0] if street.marks else 0.0
        marks[(z > near - 1.6) & (z < near - 1.2) & (s > middle)] = 1.0
    for center in street.rails:
        marks[np.abs(np.abs(s - center) - 0.72) < 0.07] = -1.0
    return marks


def _whiten(color: np.ndarray, marks: np.ndarray, rng: np.random.Generator) -> None:
    """Paints marks into `color` in place."""
    paint = hsv(rng, (0.12, 0.16), (0.0, 0.08), (0.7, 0.95))
    if chance(rng, 0.2):
        paint = hsv(rng, (0.11, 0.14), (0.5, 0.8), (0.75, 0.9))
    color[marks > 0] = color[marks > 0] * 0.25 + np.asarray(paint, np.float32) * 0.75
    color[marks < 0] = color[marks < 0] * 0.35 + np.asarray((0.3, 0.3, 0.33), np.float32) * 0.5
