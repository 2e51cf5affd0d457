"""RandAugment, drawn from the ten colour operations of the authors' code."""

import dataclasses
import numbers

import tensorflow as tf

from c3tf.config import AugmentConfig
from c3tf.data.augment.color_ops import LEVELS, ColorOp
from c3tf.data.augment.color_program import ColorProgram

# Levels are out of this many, whatever the magnitude.
_MAX_LEVEL = 10.0

OPS = (
    ColorOp.AUTO_CONTRAST,
    ColorOp.EQUALIZE,
    ColorOp.INVERT,
    ColorOp.POSTERIZE,
    ColorOp.SOLARIZE,
    ColorOp.SOLARIZE_ADD,
    ColorOp.SATURATION,
    ColorOp.CONTRAST,
    ColorOp.BRIGHTNESS,
    ColorOp.SHARPNESS,
)


@dataclasses.dataclass(frozen=True)
class RandAugmentOptions:
    """How RandAugment draws (supplement, Table 1).

    Attributes:
        num_ops: operations drawn per image, with replacement; 0 draws none.
        magnitude: mean of the level, 0 to 10.
        magnitude_std: standard deviation of the level, which is clipped to 0 to 10.
        op_probability: probability of applying each drawn operation.
    """

    num_ops: int
    magnitude: float
    magnitude_std: float
    op_probability: float

    @classmethod
    def of(cls, augment: AugmentConfig) -> "RandAugmentOptions":
        """Takes a configuration's options."""
        return cls(
            num_ops=augment.randaugment_ops,
            magnitude=augment.randaugment_magnitude,
            magnitude_std=augment.randaugment_std,
            op_probability=augment.randaugment_probability,
        )

    def __post_init__(self) -> None:
        if not isinstance(self.num_ops, numbers.Integral) or self.num_ops < 0:
            raise ValueError(
                f"`num_ops` must be a whole number from 0. Received: num_ops={self.num_ops}"
            )
        if not 0 <= self.magnitude <= _MAX_LEVEL:
            raise ValueError(
                f"`magnitude` must be 0 to {_MAX_LEVEL}. Received: magnitude={self.magnitude}"
            )
        if not self.magnitude_std >= 0:
            raise ValueError(
                f"`magnitude_std` must not be negative. Received: "
                f"magnitude_std={self.magnitude_std}"
            )
        if not 0 <= self.op_probability <= 1:
            raise ValueError(
                f"`op_probability` must be 0 to 1. Received: op_probability={self.op_probability}"
            )


def draw_rand_augment(seed: tf.Tensor, options: RandAugmentOptions) -> ColorProgram:
    """Draws the operations, whether each is applied, and their levels.

    Args:
        seed: int32 or int64 `(2,)`.
        options: how to draw.

    Returns:
        A program of `num_ops` operations; those not applied are `ColorOp.IDENTITY`.
    """
    count = options.num_ops
    # Splitting keeps the type, and the two types split differently.
    seeds = tf.random.experimental.stateless_split(tf.cast(seed, tf.int64), 2)
    uniform = tf.random.stateless_uniform([2, count], seeds[0])
    normal = tf.random.stateless_normal([count], seeds[1])
    index = tf.minimum(tf.cast(uniform[0] * len(OPS), tf.int32), len(OPS) - 1)
    level = tf.clip_by_value(options.magnitude + options.magnitude_std * normal, 0.0, _MAX_LEVEL)
    ops = tf.gather(tf.constant([int(op) for op in OPS]), index)
    values = level_to_value(ops, level)
    applied = uniform[1] < options.op_probability
    return ColorProgram(tf.where(applied, ops, int(ColorOp.IDENTITY)), values)


def level_to_value(ops: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
    """Converts RandAugment levels to the arguments of the operations.

    Args:
        ops: int32 `(n,)`, values of `ColorOp`.
        levels: float32 `(n,)`, 0 to 10.

    Returns:
        float32 `(n,)`: a factor 0.1 to 1.9 (saturation, contrast, brightness, sharpness), whole
        bits 0 to 4 (posterize as on TPU), a whole threshold up to 256 (solarize), a whole
        addition up to 110 (solarize add); 0 for operations without argument.
    """
    share = tf.cast(levels, tf.float64) / _MAX_LEVEL
    factor = 0.1 + 1.8 * share
    by_op = {
        ColorOp.SATURATION: factor,
        ColorOp.CONTRAST: factor,
        ColorOp.BRIGHTNESS: factor,
        ColorOp.SHARPNESS: factor,
        ColorOp.POSTERIZE: tf.floor(4.0 * share),
        ColorOp.SOLARIZE: tf.floor(float(LEVELS) * share),
        ColorOp.SOLARIZE_ADD: tf.floor(110.0 * share),
    }
    columns = [by_op.get(op, tf.zeros_like(share)) for op in ColorOp]
    values = tf.gather(tf.stack(columns, axis=-1), ops, batch_dims=1)
    return tf.cast(values, tf.float32)
