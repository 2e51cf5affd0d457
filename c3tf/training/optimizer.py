"""Adam with polynomial decay (Section 4.1), a rate per layer, and a loss scale for float16."""

from collections.abc import Callable

import keras
import tensorflow as tf

from c3tf.config import Config
from c3tf.training.distribution import global_sum
from c3tf.training.precision import FLOAT16

# Of the loss scale: where it begins, and after how many steps without an overflow it is doubled.
INITIAL_SCALE = 2.0**15
GROWTH_STEPS = 2000


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
        first_step = self._first_steps[index]
        unseen = first_step + self.steps_not_taken(first_step)
        # A plain zero, the usual case, needs no correction of the correction.
        if tf.is_tensor(unseen) or unseen:
            step = tf.cast(self.iterations + 1, learning_rate.dtype)
            seen = step - tf.cast(unseen, step.dtype)
            learning_rate *= self._correction(seen) / self._correction(step)
        self._apply_adam(gradient, variable, index, learning_rate)

    def _apply_adam(
        self, gradient: tf.Tensor, variable: tf.Variable, index: int, learning_rate: tf.Tensor
    ) -> None:
        """Updates a variable and its moments in one pass, where Keras' own Adam makes a dozen."""
        dtype = variable.dtype
        step = tf.cast(self.iterations + 1, dtype)
        # As Keras takes the powers: of decays that have been rounded to float32.
        beta1_power, beta2_power = (
            tf.pow(keras.ops.cast(beta, dtype), step) for beta in (self.beta_1, self.beta_2)
        )
        # Handles and not variables: each replica updates its own copies, by the same gradient.
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=beta1_power,
            beta2_power=beta2_power,
            lr=tf.cast(learning_rate, dtype),
            beta1=tf.constant(self.beta_1, dtype),
            beta2=tf.constant(self.beta_2, dtype),
            epsilon=tf.constant(self.epsilon, dtype),
            grad=tf.cast(gradient, dtype),
        )

    def steps_not_taken(self, first_step: int) -> tf.Tensor | int:
        """Returns how many of the steps from `first_step` on have changed nothing so far."""
        return 0

    def _correction(self, step: tf.Tensor) -> tf.Tensor:
        """Returns Adam's bias correction after `step` updates, at least one."""
        step = tf.maximum(step, 1)
        return tf.sqrt(1 - tf.pow(self.beta_2, step)) / (1 - tf.pow(self.beta_1, step))


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
        # Skipped steps are counted from every first step on that some variable has.
        self._starts = sorted(set(self._first_steps))
        self._finite_steps, self._skipped = (
            self.add_variable(
                shape,
                initializer="zeros",
                dtype="int64",
                aggregation="only_first_replica",
                name=name,
            )
            for name, shape in (("finite_steps", ()), ("skipped_steps", (len(self._starts),)))
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
        finite = global_sum(tf.add_n(overflows)) == 0
        self._finite.assign(finite)
        begun = tf.cast(self.iterations, tf.int64) >= tf.constant(self._starts, tf.int64)
        self._skipped.assign_add(tf.cast(begun & ~finite, tf.int64))
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

    def steps_not_taken(self, first_step: int) -> tf.Tensor:
        """Returns how many of the steps from `first_step` on were skipped so far, int64."""
        return tf.convert_to_tensor(self._skipped)[self._starts.index(first_step)]

    def _adapt(self, scale: tf.Tensor, finite: tf.Tensor) -> None:
        """Doubles the scale after enough steps without an overflow, halves it after one."""
        steps = (tf.convert_to_tensor(self._finite_steps) + 1) * tf.cast(finite, tf.int64)
        grows = steps >= GROWTH_STEPS
        self._finite_steps.assign(steps * tf.cast(~grows, tf.int64))
        # Below 1 a scale would lose what it is there to keep.
        shrunk = tf.where(finite, scale, tf.maximum(scale / 2, 1.0))
        self.loss_scale.assign(tf.where(grows, scale * 2, shrunk))


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
