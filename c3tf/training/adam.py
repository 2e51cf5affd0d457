"""Adam with a learning rate and a first step of each variable's own."""

from collections.abc import Callable

import keras
import tensorflow as tf


class LayerwiseAdam(keras.optimizers.Adam):
    """Adam with a rate and a first step of each variable's own.

    Adam does not change when a gradient is scaled, so a smaller rate for the backbone has to scale
    the update itself. And it corrects its moments by the number of steps they have seen: the
    projection head, whose gradients are zero through the supervised phase, has to count from the
    end of that phase, or its first updates would be several times too large.
    """

    def __init__(
        self,
        learning_rate: float | keras.optimizers.schedules.LearningRateSchedule,
        factor: Callable[[keras.Variable], float] | None = None,
        first_step: Callable[[keras.Variable], int] | None = None,
    ) -> None:
        """Creates the optimizer.

        Args:
            learning_rate: rate or schedule.
            factor: returns the factor on a variable's learning rate; 1 where it is None.
            first_step: returns the step from which a variable is trained; 0 where it is None.
        """
        super().__init__(learning_rate=learning_rate)
        self._factor, self._first_step = factor, first_step

    def build(self, variables: list[keras.Variable]) -> None:
        """Creates the moments, and looks up each variable's factor and first step."""
        super().build(variables)
        self._factors = [self._factor(v) if self._factor else 1.0 for v in variables]
        self._first_steps = [self._first_step(v) if self._first_step else 0 for v in variables]

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable; see `keras.optimizers.Optimizer.update_step`."""
        # Keras hands over the backend's variable here, which knows its place but not its path.
        index = self._get_variable_index(variable)
        learning_rate = tf.convert_to_tensor(learning_rate) * self._factors[index]
        unseen = self._first_steps[index] + self.steps_not_taken()
        # A plain zero, the usual case, needs no correction of the correction.
        if tf.is_tensor(unseen) or unseen:
            step = tf.cast(self.iterations + 1, learning_rate.dtype)
            seen = step - tf.cast(unseen, step.dtype)
            learning_rate *= self._correction(seen) / self._correction(step)
        super().update_step(gradient, variable, learning_rate)

    def steps_not_taken(self) -> tf.Tensor | int:
        """Returns how many of the steps so far have changed nothing."""
        return 0

    def _correction(self, step: tf.Tensor) -> tf.Tensor:
        """Returns Adam's bias correction after `step` updates, at least one."""
        step = tf.maximum(step, 1)
        return tf.sqrt(1 - tf.pow(self.beta_2, step)) / (1 - tf.pow(self.beta_1, step))
