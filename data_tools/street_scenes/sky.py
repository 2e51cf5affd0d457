"""The sky: a gradient with clouds, by day, at sunset and at night."""

import numpy as np
from PIL import Image

from data_tools.street_scenes.canvas import MAX_BYTE, to_bytes
from data_tools.street_scenes.draws import Color, hsv, mix
from data_tools.street_scenes.noise import SIZE
from data_tools.street_scenes.stage import Stage


def haze_color(stage: Stage) -> Color:
    """Returns the colour that distance fades into, which the sky also has at the horizon."""
    condition = stage.condition
    color = mix((0.76, 0.84, 0.93), (0.8, 0.81, 0.83), max(condition.cloud, condition.snow))
    color = mix(color, (0.98, 0.74, 0.48), 0.75 * condition.low_sun)
    return mix(color, (0.1, 0.1, 0.14), min(1.0, 1.15 * condition.darkness))


def paint_sky(stage: Stage) -> Image.Image:
    """Returns the sky as an image of the canvas's size; below the horizon it repeats its haze."""
    camera, condition, rng = stage.camera, stage.condition, stage.rng
    top = hsv(rng, (0.54, 0.63), (0.35, 0.75), (0.6, 0.95))
    top = mix(top, (0.45, 0.42, 0.6), 0.6 * condition.low_sun)
    top = mix(top, (0.03, 0.04, 0.09), condition.darkness)
    haze = np.asarray(haze_color(stage), np.float32)
    # Soft as it is, the sky is computed at half the canvas's resolution.
    rows = 2 * np.arange(max(1, int(camera.horizon) // 2 + 1), dtype=np.float32)[:, None]
    height = np.clip((camera.horizon - rows) / max(camera.horizon, 1.0), 0.02, 1.0)
    sky = haze + (np.asarray(top, np.float32) - haze) * (height**0.6)[:, :, None]
    sky = _add_clouds(stage, np.repeat(sky, camera.width // 2, axis=1), height)
    small = Image.fromarray((np.clip(sky, 0.0, 1.0) * MAX_BYTE).astype(np.uint8))
    full = Image.new("RGB", (camera.width, camera.height), to_bytes(haze_color(stage)))
    full.paste(small.resize((camera.width, 2 * len(rows)), Image.Resampling.BILINEAR))
    return full


def _add_clouds(stage: Stage, sky: np.ndarray, height: np.ndarray) -> np.ndarray:
    """Lays clouds over a sky `(h, w, 3)`; they shrink towards the horizon."""
    cover, width = stage.condition.cloud, sky.shape[1]
    if cover < 0.02:
        return sky
    distance = 1.0 / (height + 0.12)
    columns = (np.arange(width, dtype=np.float32)[None] / width - 0.5) * 170.0
    u = (columns * distance).astype(np.int32) + int(stage.rng.integers(SIZE))
    v = (distance * 60.0).astype(np.int32) + int(stage.rng.integers(SIZE))
    field = stage.noise.at("cloud", v, u)
    share = np.clip((field - (1.0 - cover)) * 4.0, 0.0, 1.0) * min(1.0, 0.35 + cover)
    bright = 0.96 - 0.33 * cover * (0.3 + 0.7 * field)
    bright = bright * (1.0 - 0.93 * stage.condition.darkness)
    tint = np.asarray(mix((1.0, 1.0, 1.02), (1.05, 0.85, 0.72), stage.condition.low_sun))
    cloud = bright[:, :, None] * tint.astype(np.float32)
    return sky + (cloud - sky) * share[:, :, None]
