"""Images as weather, night, lens and compression would spoil them, at severities 1 to 5.

Every function takes `(H, W, 3)` uint8 RGB and gives the same; sizes are shares of the height, so
that a picture and its half look alike. Nothing moves, so labels stay true. Draws come from the
seed, the image's name, the corruption and the severity.

These are pictures of a corruption, not models of it: there is no depth, so fog and rain thicken
towards a horizon a little above the middle, where it is in pictures from a car.
"""

import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cv2
import numpy as np
import tensorflow as tf

from c3tf.data import record
from c3tf.evaluation.options import BLUR, CORRUPTIONS, FOG, JPEG, NIGHT, RAIN, SEVERITIES

_HORIZON = 0.45
_WHITE = float(np.iinfo(np.uint8).max)


def corrupt(image: np.ndarray, kind: str, severity: int, seed: int, name: str) -> np.ndarray:
    """Spoils an image.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        kind: one of `options.CORRUPTIONS`.
        severity: one of `options.SEVERITIES`.
        seed: of all draws.
        name: of the image: each has draws of its own.

    Returns:
        `(H, W, 3)` uint8 RGB.

    Raises:
        ValueError: there is no such corruption or severity.
    """
    if kind not in CORRUPTIONS or severity not in SEVERITIES:
        raise ValueError(
            f"`kind` must be one of {CORRUPTIONS} and `severity` of {SEVERITIES}. "
            f"Received: kind={kind!r}, severity={severity!r}"
        )
    words = (kind.encode(), name.encode())
    rng = np.random.default_rng([seed, severity, *map(zlib.crc32, words)])
    spoiled = _FUNCTIONS[kind](image.astype(np.float32) / _WHITE, severity - 1, rng)
    return np.rint(np.clip(spoiled, 0, 1) * _WHITE).astype(np.uint8)


def corrupted(
    dataset: Iterable[dict[str, tf.Tensor]], kind: str, severity: int, seed: int
) -> Iterator[dict[str, Any]]:
    """Yields the batches of a data set with their images spoiled; see `corrupt`.

    Args:
        dataset: batches with `"image"` uint8 `(B, H, W, 3)`, `"name"` string `(B,)` and others.
        kind: one of `options.CORRUPTIONS`.
        severity: one of `options.SEVERITIES`.
        seed: of all draws.
    """
    for batch in dataset:
        named = zip(batch["image"].numpy(), np.asarray(batch["name"]), strict=True)
        images = [
            corrupt(image, kind, severity, seed, record.decode_name(name)) for image, name in named
        ]
        yield {**batch, "image": tf.constant(np.stack(images))}


def _fog(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Mixes with a grey light, the more the nearer a row is to the horizon."""
    height, width, _ = image.shape
    thickness = (0.7, 1.1, 1.6, 2.3, 3.2)[level]
    banks = 1 + 0.25 * _clouds(rng, height, width, 0.35)
    seen = np.exp(-thickness * _depth(height)[:, None] * banks)[..., None]
    light = np.array([0.84, 0.86, 0.88], np.float32)
    # Small things lose their edges too, not their contrast alone.
    soft = _blurred(image, (0.0005, 0.001, 0.0015, 0.002, 0.003)[level] * height)
    return soft * seen + light * (1 - seen)


def _rain(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Dims and greys the scene, veils what is far, and draws falling drops as bright streaks."""
    height, width, _ = image.shape
    grey = image.mean(-1, keepdims=True)
    dim = (0.92, 0.85, 0.78, 0.7, 0.62)[level]
    scene = (image * (0.9 - 0.1 * level) + grey * (0.1 + 0.1 * level)) * dim
    veil = 1 - np.exp(-(0.15, 0.3, 0.5, 0.7, 0.95)[level] * _depth(height))
    scene += (np.array([0.62, 0.65, 0.68], np.float32) - scene) * veil[:, None, None]
    angle = rng.uniform(-15, 15)
    fallen = np.zeros((height, width), np.float32)
    # Near drops are few, long and wide; far ones many and short.
    for share, length, thick, bright in ((1.0, 0.05, 0.0015, 0.5), (0.3, 0.12, 0.003, 0.7)):
        count = int((60, 120, 200, 320, 480)[level] * share * width / height)
        fallen = np.maximum(
            fallen, bright * _streaks(rng, fallen.shape, count, length, thick, angle)
        )
    return scene + (0.85 - scene) * fallen[..., None]


def _night(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Takes the light of the sky away, leaves headlights on the road, and adds a sensor's noise."""
    height, width, _ = image.shape
    exposure = (0.4, 0.26, 0.17, 0.11, 0.07)[level]
    linear = image**2.2
    # The sky gives no light: the higher, the darker.
    rows = np.linspace(0, 1, height, dtype=np.float32)
    sky = 0.15 + 0.85 * np.clip(rows / (1.2 * _HORIZON), 0, 1)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    across = (x / width - 0.5) / (0.1 + 0.55 * np.clip(y / height - _HORIZON, 0, 1))
    beams = np.exp(-(across**2)) * np.clip((y / height - _HORIZON) / 0.2, 0, 1)
    beams *= 1 - 0.5 * np.clip((y / height - 0.8) / 0.2, 0, 1)
    light = exposure * (sky[:, None] + (2.5 + 1.0 * level) * beams)
    cold = np.array([0.8, 0.9, 1.15], np.float32)
    warm = np.array([1.1, 1.0, 0.82], np.float32)
    share = (beams / (beams + 0.5))[..., None]
    seen = linear * light[..., None] * (cold * (1 - share) + warm * share)
    # Few photons: the noise grows with the root of the light, and a dark sensor has its own.
    noise = (0.006, 0.009, 0.012, 0.016, 0.02)[level]
    grains = rng.standard_normal(image.shape, np.float32)
    seen = np.clip(seen, 0, None)
    seen += grains * noise * (np.sqrt(seen) + 0.1)
    return np.clip(seen, 0, None) ** (1 / 2.2)


def _blur(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Sets the lens out of focus: every point becomes a disc."""
    radius = (0.004, 0.007, 0.011, 0.016, 0.023)[level] * image.shape[0]
    side = 2 * int(np.ceil(radius)) + 1
    places = np.arange(side, dtype=np.float32) - side // 2
    distance = np.hypot(*np.meshgrid(places, places))
    # A disc with a soft edge, so that fractions of a pixel count.
    disc = np.clip(radius + 0.5 - distance, 0, 1)
    return cv2.filter2D(image, -1, disc / disc.sum(), borderType=cv2.BORDER_REFLECT_101)


def _jpeg(image: np.ndarray, level: int, rng: np.random.Generator) -> np.ndarray:
    """Compresses as a camera short of bandwidth does."""
    quality = (35, 22, 14, 9, 5)[level]
    pixels = cv2.cvtColor(np.rint(image * _WHITE).astype(np.uint8), cv2.COLOR_RGB2BGR)
    _, encoded = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.cvtColor(cv2.imdecode(encoded, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return decoded.astype(np.float32) / _WHITE


_FUNCTIONS: dict[str, Callable[[np.ndarray, int, np.random.Generator], np.ndarray]] = {
    FOG: _fog,
    RAIN: _rain,
    NIGHT: _night,
    BLUR: _blur,
    JPEG: _jpeg,
}


def _depth(height: int) -> np.ndarray:
    """Guesses how far the rows of a street scene are, `(H,)` of 0 (near) to 1 (the horizon)."""
    rows = (np.arange(height, dtype=np.float32) + 0.5) / height - _HORIZON
    near = 0.12
    below = near / (np.clip(rows, 0, None) + near)
    # Above it houses and trees are nearer than the sky between them.
    above = 1 + 0.35 * np.clip(rows, None, 0)
    return np.where(rows > 0, below, above)


def _clouds(rng: np.random.Generator, height: int, width: int, size: float) -> np.ndarray:
    """Draws smooth noise `(H, W)` of about -1 to 1, whose spots have a share of the height."""
    total = np.zeros((height, width), np.float32)
    for octave in range(3):
        cell = size * height / 2**octave
        shape = (max(2, round(height / cell) + 1), max(2, round(width / cell) + 1))
        coarse = rng.uniform(-1, 1, shape).astype(np.float32)
        spots = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
        total += spots / 2**octave
    return total / 1.5


def _streaks(
    rng: np.random.Generator,
    shape: tuple[int, int],
    count: int,
    length: float,
    thick: float,
    angle: float,
) -> np.ndarray:
    """Draws falling drops as lines `(H, W)` of 0 to 1; sizes are shares of the height."""
    height, width = shape
    drawn = np.zeros(shape, np.float32)
    starts = rng.uniform((-0.1, -0.1), (1.1, 1.1), (count, 2)) * (width, height)
    lengths = length * height * rng.uniform(0.5, 1.2, count)
    slants = np.deg2rad(angle + rng.normal(0, 2, count))
    ends = starts + np.stack([np.sin(slants), np.cos(slants)], 1) * lengths[:, None]
    lights = rng.uniform(0.4, 1.0, count)
    # Sixteenths of a pixel; a line thinner than a pixel is a fainter one.
    wide = max(1, round(thick * height))
    faint = min(1.0, thick * height)
    for start, end, light in zip(starts, ends, lights, strict=True):
        points = (tuple(int(v * 16) for v in point) for point in (start, end))
        cv2.line(drawn, *points, float(light * faint**0.5), wide, cv2.LINE_AA, 4)
    return np.clip(_blurred(drawn, 0.0008 * height), 0, 1)


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return image if sigma < 0.2 else cv2.GaussianBlur(image, (0, 0), sigma)
