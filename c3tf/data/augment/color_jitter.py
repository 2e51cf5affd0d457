"""Colour jitter: drawn brightness, contrast, saturation and hue, in random order."""

import dataclasses

import tensorflow as tf

from c3tf.config import AugmentConfig
from c3tf.data.augment.color_ops import ColorOp
from c3tf.data.augment.color_program import ColorProgram

_OPS = (ColorOp.BRIGHTNESS, ColorOp.CONTRAST, ColorOp.SATURATION, ColorOp.HUE)


@dataclasses.dataclass(frozen=True)
class ColorJitterOptions:
    """Strengths and probabilities of colour jitter.

    The probabilities are those of the supplement's Table 1, the strengths those of the authors'
    code, which applies all four always.

    Attributes:
        brightness: the factor is uniform in 1 plus or minus this, at least 0.
        contrast: as `brightness`.
        saturation: as `brightness`.
        hue: the turn is uniform within plus or minus this share of the circle, at most 0.5.
        brightness_probability: probability of applying the operation at all.
        contrast_probability: as `brightness_probability`.
        saturation_probability: as `brightness_probability`.
        hue_probability: as `brightness_probability`.
    """

    brightness: float
    contrast: float
    saturation: float
    hue: float
    brightness_probability: float
    contrast_probability: float
    saturation_probability: float
    hue_probability: float

    @classmethod
    def of(cls, augment: AugmentConfig) -> "ColorJitterOptions":
        """Takes a configuration's strengths and probabilities."""
        return cls(*augment.jitter_strengths, *augment.jitter_probabilities)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            most = 0.5 if field.name == "hue" else 1.0
            if not 0 <= value <= most:
                raise ValueError(
                    f"`{field.name}` must be 0 to {most}. Received: {field.name}={value}"
                )


def draw_color_jitter(seed: tf.Tensor, options: ColorJitterOptions) -> ColorProgram:
    """Draws the factors, which operations are applied, and their order.

    Args:
        seed: int32 or int64 `(2,)`.
        options: strengths and probabilities.

    Returns:
        A program of four operations; those not applied are `ColorOp.IDENTITY`.
    """
    uniform = tf.random.stateless_uniform([3, len(_OPS)], seed)
    strength = tf.constant(
        [options.brightness, options.contrast, options.saturation, options.hue], tf.float32
    )
    probability = tf.constant(
        [
            options.brightness_probability,
            options.contrast_probability,
            options.saturation_probability,
            options.hue_probability,
        ],
        tf.float32,
    )
    neutral = tf.constant([1.0, 1.0, 1.0, 0.0])
    values = neutral + strength * (2.0 * uniform[0] - 1.0)
    applied = uniform[1] < probability
    ops = tf.where(applied, tf.constant([int(op) for op in _OPS]), int(ColorOp.IDENTITY))
    order = tf.argsort(uniform[2])
    return ColorProgram(tf.gather(ops, order), tf.gather(values, order))
