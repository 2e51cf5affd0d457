"""Adam for float16: small gradients are scaled up to survive, and overflows are skipped."""

import keras
import tensorflow as tf

from c3tf.training import replicas
from c3tf.training.adam import LayerwiseAdam

INITIAL_SCALE = 2.0**15
# Steps without an overflow after which the scale is doubled.
GROWTH_STEPS = 2000


class LossScaledAdam(LayerwiseAdam):
    """`LayerwiseAdam` with a dynamic loss scale that all replicas share.

    A step whose gradients overflow on any replica changes no weight and no moment, and halves the
    scale; `keras.optimizers.LossScaleOptimizer` looks at one replica only, so an overflow on
    another one reaches the weights. A skipped step still counts for the learning rate: it has used
    its batch.

    Source: Micikevicius et al., Mixed Precision Training, 2018, Section 3.2.
    """

    def build(self, variables: list[keras.Variable]) -> None:
        """Creates the moments, the scale and its counters."""
        super().build(variables)
        self.loss_scale = self.add_variable(
            (),
            initializer=keras.initializers.Constant(INITIAL_SCALE),
            dtype="float32",
            aggregation="only_first_replica",
            name="loss_scale",
        )
        self._finite_steps, self._skipped = (
            self.add_variable(
                (), initializer="zeros", dtype="int64", aggregation="only_first_replica", name=name
            )
            for name in ("finite_steps", "skipped_steps")
        )
        self._finite = self.add_variable(
            (), initializer="ones", dtype="bool", aggregation="only_first_replica", name="finite"
        )

    def scale_loss(self, loss: tf.Tensor) -> tf.Tensor:
        """Multiplies a loss, or the gradient that enters it, by the scale."""
        return loss * tf.cast(tf.convert_to_tensor(self.loss_scale), loss.dtype)

    def apply(self, grads: list[tf.Tensor], trainable_variables=None) -> None:
        """Takes the scale off the gradients and applies them if all replicas' are finite.

        Args:
            grads: this replica's gradients of the scaled loss.
            trainable_variables: the variables that they belong to.
        """
        scale = tf.convert_to_tensor(self.loss_scale)
        grads = [gradient / tf.cast(scale, gradient.dtype) for gradient in grads]
        overflows = [
            tf.math.count_nonzero(~tf.math.is_finite(gradient), dtype=tf.int32)
            for gradient in grads
        ]
        finite = replicas.global_sum(tf.add_n(overflows)) == 0
        self._finite.assign(finite)
        self._skipped.assign_add(tf.cast(~finite, tf.int64))
        self._adapt(scale, finite)
        super().apply(grads, trainable_variables)

    def update_step(self, gradient, variable, learning_rate):
        """Updates one variable, or leaves it with its moments as they are after an overflow."""
        index = self._get_variable_index(variable)
        changed = [variable, self._momentums[index], self._velocities[index]]
        before = [tf.identity(tf.convert_to_tensor(item)) for item in changed]
        super().update_step(gradient, variable, learning_rate)
        finite = tf.convert_to_tensor(self._finite)
        for item, old in zip(changed, before, strict=True):
            # A select, not a condition: a condition around an assignment fails under a strategy.
            item.assign(tf.where(finite, tf.convert_to_tensor(item), old))

    def steps_not_taken(self) -> tf.Tensor:
        """Returns how many of the steps so far have been skipped, an int64 scalar."""
        return tf.convert_to_tensor(self._skipped)

    def _adapt(self, scale: tf.Tensor, finite: tf.Tensor) -> None:
        """Doubles the scale after enough steps without an overflow, halves it after one."""
        steps = (tf.convert_to_tensor(self._finite_steps) + 1) * tf.cast(finite, tf.int64)
        grows = steps >= GROWTH_STEPS
        self._finite_steps.assign(steps * tf.cast(~grows, tf.int64))
        # Below 1 a scale would lose what it is there to keep.
        shrunk = tf.where(finite, scale, tf.maximum(scale / 2, 1.0))
        self.loss_scale.assign(tf.where(grows, scale * 2, shrunk))
