"""Adam with polynomial decay (Section 4.1)."""

from collections.abc import Callable

import keras
import tensorflow as tf

from c3tf.config import Config
from c3tf.training.adam import LayerwiseAdam
from c3tf.training.loss_scale import LossScaledAdam
from c3tf.training.precision import FLOAT16


def build(
    config: Config,
    is_backbone: Callable[[keras.Variable], bool],
    is_projection: Callable[[keras.Variable], bool],
) -> LayerwiseAdam:
    """Creates the optimizer of a run.

    Args:
        config: rates and durations.
        is_backbone: tells the backbone's variables from those of the heads.
        is_projection: tells the projection head's variables, which wait for the contrast.

    Returns:
        Adam with rate `learning_rate * (1 - step / steps) ^ power`, times `backbone_lr_multiplier`
        for the backbone; in float16 with a loss scale.
    """
    training = config.training
    schedule = keras.optimizers.schedules.PolynomialDecay(
        training.learning_rate,
        decay_steps=training.steps,
        end_learning_rate=0.0,
        power=training.poly_power,
    )
    kind = LossScaledAdam if training.precision == FLOAT16 else LayerwiseAdam
    return kind(
        schedule,
        factor=lambda variable: training.backbone_lr_multiplier if is_backbone(variable) else 1.0,
        first_step=lambda variable: config.first_contrast_step if is_projection(variable) else 0,
    )


def steps_done(optimizer: keras.optimizers.Optimizer) -> int:
    """Returns the number of steps an optimizer has made, under any distribution strategy."""
    # `int()` does not take a variable that is mirrored over replicas.
    return int(tf.convert_to_tensor(optimizer.iterations))
