"""From painted surfaces to a photograph: light, haze, water, glare and the sensor."""

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from data_tools.street_scenes.canvas import MAX_BYTE, Buffers
from data_tools.street_scenes.draws import between, mix
from data_tools.street_scenes.sky import haze_color
from data_tools.street_scenes.stage import Stage

# Canvas pixels per image pixel, in each direction.
SUPERSAMPLE = 2
# Range and resolution of the camera's tone curve.
_BRIGHTEST = 1.4
_TONES = 2048


def labels(buffers: Buffers) -> np.ndarray:
    """Returns train ids `(h, w)` uint8: of each image pixel the canvas pixel at its corner."""
    return buffers.label[_sparse(buffers)]


def photograph(stage: Stage, buffers: Buffers, wettable: np.ndarray) -> np.ndarray:
    """Returns the image `(h, w, 3)` uint8.

    Args:
        stage: the scene, all painted.
        buffers: what was painted.
        wettable: `(h, w)` bool, ground that mirrors when it is wet.
    """
    condition = stage.condition
    inverse_depth = _inverse_depth(buffers)
    reflected, emitted = _split(stage, buffers)
    image = reflected * _light(stage, inverse_depth) + emitted
    if condition.wet > 0.0:
        image = _mirror(stage, image, wettable)
    fog = 1.0 - np.exp(-condition.fog / np.maximum(inverse_depth, 1e-3))
    image += (np.asarray(haze_color(stage), np.float32) - image) * fog[:, :, None]
    _add_glow(stage, buffers, image, emitted)
    if condition.low_sun > 0.0:
        _add_glare(stage, image)
    if condition.rain > 0.0:
        _add_rain(stage, image)
    if condition.snow > 0.0:
        _add_flakes(stage, image)
    return _expose(stage, image)


def _sparse(buffers: Buffers) -> np.ndarray:
    """Returns one surface number per image pixel."""
    return buffers.surface[::SUPERSAMPLE, ::SUPERSAMPLE]


def _inverse_depth(buffers: Buffers) -> np.ndarray:
    """Returns 1/z of every image pixel, at least 0."""
    a, b, c = (buffers.inverse_depth[:, i][_sparse(buffers)] for i in range(3))
    rows = np.arange(a.shape[0], dtype=np.float32)[:, None] * SUPERSAMPLE
    columns = np.arange(a.shape[1], dtype=np.float32)[None] * SUPERSAMPLE
    return np.maximum(a + b * columns + c * rows, 0.0)


def _split(stage: Stage, buffers: Buffers) -> tuple[np.ndarray, np.ndarray]:
    """Returns what surfaces reflect and what they emit, `(h, w, 3)` float32 each, 0 to 1."""
    emits = (buffers.emit > 0.0).astype(np.uint8) * MAX_BYTE
    mask = Image.fromarray(emits[buffers.surface])
    color = Image.fromarray(buffers.color)
    dark = Image.new("RGB", color.size)
    layers = []
    for first, second in ((dark, color), (color, dark)):
        layer = Image.composite(first, second, mask).reduce(SUPERSAMPLE)
        layers.append(np.asarray(layer, np.float32) * np.float32(1.0 / MAX_BYTE))
    surface = _sparse(buffers)
    grain = stage.noise.patch(stage.rng, "fine", *surface.shape) - 0.5
    layers[0] *= (1.0 + 1.4 * grain * buffers.grain[surface])[:, :, None]
    return layers[0], layers[1]


def _light(stage: Stage, inverse_depth: np.ndarray) -> np.ndarray:
    """Returns the light that falls on reflecting surfaces, `(h, w, 3)` or broadcastable."""
    condition, camera = stage.condition, stage.camera
    tint = mix((1.0, 1.0, 1.0), (1.12, 0.92, 0.7), condition.low_sun)
    tint = mix(tint, (0.82, 0.9, 1.15), 0.8 * condition.darkness)
    ambient = (1.0 - 0.25 * condition.low_sun) * (1.0 - 0.86 * condition.darkness**0.7)
    light = np.asarray(tint, np.float32) * ambient
    if condition.darkness < 0.2:
        return light
    height, width = inverse_depth.shape
    columns = (
        np.arange(width, dtype=np.float32)[None] * SUPERSAMPLE - camera.center
    ) / camera.width
    near = np.exp(-((1.0 / np.maximum(inverse_depth, 0.01) / 22.0) ** 1.2))
    beam = 0.75 * condition.darkness * near * np.exp(-((columns / 0.38) ** 2))
    for column, row, scale in stage.lamps:
        rows = (np.arange(height, dtype=np.float32)[:, None] * SUPERSAMPLE - row) / (3.0 * scale)
        across = (columns * camera.width + camera.center - column) / (4.5 * scale)
        # A pool on the ground below the lamp; light on what stands there fades upwards.
        rows = np.where(rows < 0.0, rows * 0.8, rows * 2.0)
        beam = beam + 0.55 * condition.darkness * np.exp(-np.minimum(rows**2 + across**2, 20.0))
    warm = np.asarray((1.0, 0.9, 0.72), np.float32)
    return light + np.minimum(beam, 1.1)[:, :, None] * warm


def _mirror(stage: Stage, image: np.ndarray, wettable: np.ndarray) -> np.ndarray:
    """Lays a blurred reflection of what is above the horizon over wet ground."""
    horizon = int(stage.camera.horizon / SUPERSAMPLE)
    height = image.shape[0]
    source = np.clip(2 * horizon - np.arange(height), 0, height - 1)
    ripple = stage.rng.integers(-2, 3, height)
    flipped = image[np.clip(source + ripple, 0, height - 1)]
    soft = np.asarray(_blur(flipped, 2.0), np.float32)
    puddles = stage.noise.patch(stage.rng, "stain", *wettable.shape)
    share = stage.condition.wet * (0.25 + 0.4 * np.clip((puddles - 0.4) * 5.0, 0.0, 1.0)) * wettable
    return image + (soft - image) * share[:, :, None].astype(np.float32)


def _blur(image: np.ndarray, radius: float) -> np.ndarray:
    """Blurs colours (0 to 1) with Pillow; returns float32."""
    small = Image.fromarray((np.clip(image, 0.0, 1.0) * MAX_BYTE).astype(np.uint8))
    return np.asarray(small.filter(ImageFilter.GaussianBlur(radius)), np.float32) / MAX_BYTE


def _add_glow(stage: Stage, buffers: Buffers, image: np.ndarray, emitted: np.ndarray) -> None:
    """Lets lamps bleed into their surroundings, in place; the sky emits but does not bleed."""
    strength = max(stage.condition.darkness, min(0.6, 20 * stage.condition.fog))
    if strength < 0.1:
        return
    bleeding = emitted * (buffers.emit[_sparse(buffers)] > 1.0)[:, :, None]
    radius = image.shape[0] / 50.0
    image += strength * (0.4 * _blur(bleeding, radius) + 0.6 * _blur(bleeding, 3 * radius))


def _add_glare(stage: Stage, image: np.ndarray) -> None:
    """Adds the veil of a low sun if it is before the camera, in place."""
    camera, strength = stage.camera, stage.condition.low_sun
    side, up, ahead = stage.condition.direction
    if ahead < 0.25:
        return
    column = (camera.center + camera.focal * side / ahead) / SUPERSAMPLE
    row = (camera.horizon - camera.focal * up / ahead) / SUPERSAMPLE
    height, width = image.shape[:2]
    rows = (np.arange(height, dtype=np.float32)[:, None] - row) / height
    columns = (np.arange(width, dtype=np.float32)[None] - column) / height
    square = rows**2 + columns**2
    veil = strength * (0.9 * np.exp(-square * 60.0) + 0.5 * np.exp(-square * 3.0))
    image += veil[:, :, None] * np.asarray((1.0, 0.86, 0.6), np.float32)


def _add_rain(stage: Stage, image: np.ndarray) -> None:
    """Paints falling streaks, in place."""
    rng, strength = stage.rng, stage.condition.rain
    height, width = image.shape[:2]
    layer = Image.new("L", (width, height))
    draw = ImageDraw.Draw(layer)
    slant = between(rng, -0.25, 0.25)
    for _ in range(int(strength * width * 0.9)):
        x, y, length = (
            rng.random() * width,
            rng.random() * height,
            height * between(rng, 0.03, 0.12),
        )
        draw.line((x, y, x + slant * length, y + length), int(between(rng, 60, 170)))
    streaks = np.asarray(layer.filter(ImageFilter.BoxBlur(0.6)), np.float32) / MAX_BYTE
    share = (0.35 + 0.4 * strength) * streaks
    image += (0.85 * (1.0 - 0.7 * stage.condition.darkness) - image) * share[:, :, None]


def _add_flakes(stage: Stage, image: np.ndarray) -> None:
    """Paints falling snow, in place: small flakes far away, large soft ones near."""
    rng, strength = stage.rng, stage.condition.snow
    height, width = image.shape[:2]
    layer = Image.new("L", (width, height))
    draw = ImageDraw.Draw(layer)
    for _ in range(int(strength * width * 1.2)):
        x, y = rng.random() * width, rng.random() * height
        r = height * (0.003 + 0.012 * rng.random() ** 4)
        draw.ellipse((x - r, y - r, x + r, y + r), int(between(rng, 90, 220)))
    flakes = np.asarray(layer.filter(ImageFilter.BoxBlur(0.5)), np.float32) / MAX_BYTE
    image += (0.95 - image) * (flakes * 0.9)[:, :, None]


def _expose(stage: Stage, image: np.ndarray) -> np.ndarray:
    """Applies the camera's response and noise; returns uint8."""
    condition, rng = stage.condition, stage.rng
    gray = image.mean(2, keepdims=True)
    image = gray + (image - gray) * np.float32(
        condition.saturation * (1 - 0.35 * condition.darkness)
    )
    gain = condition.exposure * (1.0 + 0.25 * condition.darkness)
    white = np.asarray((1.0 + condition.warmth, 1.0, 1.0 - condition.warmth)) * gain
    # The tone curve, read from a table: a soft shoulder instead of hard clipping, then gamma.
    curve = np.linspace(0.0, _BRIGHTEST, _TONES, dtype=np.float32)
    curve = np.where(curve > 0.85, 0.85 + 0.15 * np.tanh((curve - 0.85) / 0.15), curve)
    curve = curve ** np.float32(condition.gamma)
    image = image * (white * ((_TONES - 1) / _BRIGHTEST)).astype(np.float32)
    image = curve[np.clip(image, 0, _TONES - 1).astype(np.int16)]
    image += rng.standard_normal(image.shape, np.float32) * np.float32(condition.noise)
    return (np.clip(image, 0.0, 1.0) * MAX_BYTE + 0.5).astype(np.uint8)
