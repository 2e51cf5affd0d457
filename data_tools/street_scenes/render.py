"""One scene from its seed: image, label, and the condition it was taken in."""

import dataclasses

import numpy as np

from data_tools.street_scenes import noise
from data_tools.street_scenes.buildings import paint_skyline
from data_tools.street_scenes.camera import Camera
from data_tools.street_scenes.canvas import TRAIN_ID, Canvas
from data_tools.street_scenes.conditions import Condition, draw_condition
from data_tools.street_scenes.draws import between, chance
from data_tools.street_scenes.furniture import paint_hood
from data_tools.street_scenes.ground import paint_ground
from data_tools.street_scenes.layout import END, place_everything
from data_tools.street_scenes.optics import SUPERSAMPLE, labels, photograph
from data_tools.street_scenes.shadows import paint_shadows
from data_tools.street_scenes.sky import paint_sky
from data_tools.street_scenes.stage import Stage
from data_tools.street_scenes.street import Street, draw_street

# Streams of scenes. Labeled ones are taken in mild conditions, the others in all.
STREAMS = ("labeled", "unlabeled", "val")
# Rare things. Every scene is told to show two of them, in an order that repeats none before all
# have had their turn, so that even a dozen scenes hold every class.
FEATURES = ("truck", "bus", "train", "motorcycle", "bicycle", "wall", "fence", "terrain")
_BLOCK = len(FEATURES)


@dataclasses.dataclass(frozen=True)
class Rendering:
    """A finished scene.

    Attributes:
        image: `(height, width, 3)` uint8 RGB.
        label: `(height, width)` uint8 Cityscapes train ids and the ignore value.
        condition: weather and light.
        features: classes the scene was told to show.
    """

    image: np.ndarray
    label: np.ndarray
    condition: Condition
    features: frozenset[str]


def render(seed: int, stream: str, index: int, width: int, height: int) -> Rendering:
    """Renders scene `index` of a stream; depends on the arguments and nothing else.

    Args:
        seed: seed of the data set, not negative.
        stream: one of `STREAMS`.
        index: number of the scene in its stream.
        width: image width in pixels.
        height: image height in pixels.

    Raises:
        ValueError: `stream` is unknown.
    """
    if stream not in STREAMS:
        raise ValueError(f"`stream` must be one of {STREAMS}. Received: stream={stream!r}")
    key = STREAMS.index(stream)
    rng = np.random.default_rng([seed, key, index])
    features = _draw_features(seed, key, index)
    condition = draw_condition(rng, mild=stream == "labeled")
    street = draw_street(rng, features)
    camera = _draw_camera(rng, width * SUPERSAMPLE, height * SUPERSAMPLE)
    stage = Stage(Canvas(camera), noise.shared(), condition, rng)
    _paint(stage, street, features)
    buffers = stage.canvas.buffers()
    label = labels(buffers)
    wettable = np.isin(label, (TRAIN_ID["road"], TRAIN_ID["sidewalk"]))
    image = photograph(stage, buffers, wettable)
    return Rendering(image, label, condition, features)


def _paint(stage: Stage, street: Street, features: frozenset[str]) -> None:
    """Paints the whole scene on its canvas."""
    items = place_everything(stage, street, features)
    shadow = paint_shadows(stage, [item.box for item in items if item.box is not None])
    paint_ground(stage, street, paint_sky(stage), shadow)
    urban = {"downtown": 0.85, "outskirts": 0.15, "suburb": 0.35}.get(street.district, 0.6)
    paint_skyline(stage, END, urban)
    for item in items:
        item.paint()
    if chance(stage.rng, 0.4):
        paint_hood(stage)


def _draw_features(seed: int, key: int, index: int) -> frozenset[str]:
    """Returns the rare classes of a scene, dealt out in shuffled rounds."""
    block, place = divmod(index, _BLOCK)
    order = np.random.default_rng([seed, key, block, _BLOCK]).permutation(_BLOCK)
    return frozenset(FEATURES[order[(place + step) % _BLOCK]] for step in (0, 3))


def _draw_camera(rng: np.random.Generator, width: int, height: int) -> Camera:
    """Draws how the camera is mounted and where it looks."""
    return Camera(
        width=width,
        height=height,
        focal=width * between(rng, 0.72, 1.05),
        center=width * between(rng, 0.42, 0.58),
        horizon=height * between(rng, 0.36, 0.52),
        eye=between(rng, 1.25, 2.1),
        yaw=between(rng, -0.06, 0.06),
        bend=between(rng, -0.0022, 0.0022) if chance(rng, 0.6) else 0.0,
    )
