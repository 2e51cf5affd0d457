"""Adam with polynomial decay (Section 4.1)."""

from collections.abc import Callable

import keras
import tensorflow as tf

from c3tf.config import TrainingConfig


class LayerwiseAdam(keras.optimizers.Adam):
    """Adam whose step is scaled for chosen variables.

    Adam does not change when a gradient is scaled, so a smaller rate for the backbone has to scale
    the update itself.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
        factor: Callable[[keras.Variable], float] | None = None,
    ) -> None:
        """Creates the optimizer.

        Args:
            learning_rate: rate or schedule.
            factor: returns the factor on a variable's learning rate; 1 where it is None.
        """
        super().__init__(learning_rate=learning_rate)
        self._factor = factor

    def build(self, variables: list[keras.Variable]) -> None:
        """Creates the moments, and looks up each variable's factor."""
        super().build(variables)
        self._factors = [self._factor(v) if self._factor else 1.0 for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable; see `keras.optimizers.Optimizer.update_step`."""
        # Keras hands over the backend's variable here, which knows its place but not its path.
        factor = self._factors[self._get_variable_index(variable)]
        super().update_step(gradient, variable, learning_rate * factor)


def build(config: TrainingConfig, is_backbone: Callable[[keras.Variable], bool]) -> LayerwiseAdam:
    """Creates the optimizer of a run.

    Args:
        config: rates and durations.
        is_backbone: tells the backbone's variables from those of the heads.

    Returns:
        Adam with rate `learning_rate * (1 - step / steps) ^ power`, times `backbone_rate` for the
        backbone.
    """
    schedule = keras.optimizers.schedules.PolynomialDecay(
        config.learning_rate,
        decay_steps=config.steps,
        end_learning_rate=0.0,
        power=config.learning_rate_power,
    )
    if config.backbone_rate == 1:
        return LayerwiseAdam(schedule)
    return LayerwiseAdam(
        schedule, factor=lambda variable: config.backbone_rate if is_backbone(variable) else 1.0
    )


def steps_done(optimizer: keras.optimizers.Optimizer) -> int:
    """Returns the number of steps an optimizer has made, under any distribution strategy."""
    # `int()` does not take a variable that is mirrored over replicas.
    return int(tf.convert_to_tensor(optimizer.iterations))
