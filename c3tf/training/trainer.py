"""What every method with a student and a teacher shares: phases, supervised loss, descent, sums.

A method is a subclass that says what one semi-supervised step minimises; `c3tf.training.step` is
the paper's. A run knows no more of a method than what stands here and in `c3tf.config.methods`.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager

import keras
import numpy as np
import tensorflow as tf

from c3tf.config import Config
from c3tf.data.batch import SemiBatch, SupervisedBatch
from c3tf.method import losses, schedules
from c3tf.method.kernels import dense
from c3tf.method.kernels.dense import Wide
from c3tf.method.reduction import at_least_float32
from c3tf.nets import execution
from c3tf.training import distribution, statistics, teacher
from c3tf.training.optimizer import LossScaledAdam

# What a step reports, by name.
Logs = dict[str, tf.Tensor]
# A network's `"logits"` and `"embedding"`.
Outputs = dict[str, tf.Tensor]


class SemiSupervisedTrainer(keras.Model):
    """Trains a student network, first on labels alone, then with its teacher's help.

    The two phases are two compiled steps: `begin_semi_supervised` switches between them.
    """

    # Whether steps of the second phase move the thresholds that the configuration begins with.
    moves_thresholds = True

    def __init__(
        self, student: keras.Model, teacher: keras.Model | None, num_classes: int, config: Config
    ) -> None:
        """Creates the trainer in its supervised phase.

        Args:
            student: network with outputs `"logits"` and, where the method asks, `"embedding"`.
            teacher: a network of the same architecture; None for a method without one.
            num_classes: C.
            config: the run's configuration; `method` decides the losses.
        """
        super().__init__(name="trainer")
        self.config = config
        self.options = config.method
        self.num_classes = num_classes
        # `(C,)` weights of the classes in L_sup; None weighs all alike.
        self.class_weights: np.ndarray | None = None
        self.student = student
        self.teacher = teacher
        self._forward = {
            network.name: _forward(network, config.training.jit, recompute)
            # The teacher has no backward pass to keep anything for.
            for network, recompute in ((student, config.training.recompute), (teacher, False))
            if network is not None
        }
        if teacher is not None:
            teacher.trainable = False
        # From which confidence on each class of the teacher's is believed. Every replica computes
        # the same global thresholds, so one replica's copy serves all.
        self.thresholds = self.add_weight(
            name="thresholds",
            shape=(num_classes,),
            initializer=keras.initializers.Constant(config.first_threshold),
            trainable=False,
            dtype=at_least_float32(tf.zeros([], self.compute_dtype)).dtype.name,
            aggregation="only_first_replica",
        )
        self.semi_supervised = False
        self.built = True

    def begin_semi_supervised(self, *, copy_student: bool) -> None:
        """Switches to the semi-supervised step.

        Args:
            copy_student: initialise the teacher from the student; false when both were restored.
        """
        if copy_student and self.teacher is not None:
            teacher.initialise(self.teacher, self.student)
        self.semi_supervised = True
        self.make_train_function(force=True)

    def call(self, images: tf.Tensor) -> Outputs:
        """Returns the student's outputs for `(B, H, W, 3)` images."""
        return self.student(images, training=False)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Does nothing: networks and optimizer are built before `fit`, which Keras cannot know."""

    def train_step(self, batch: SupervisedBatch | SemiBatch) -> Logs:
        """Runs one step of the current phase.

        Returns:
            The step's global scalars, and under `statistics.NAME` what else it counted.
        """
        step = self.semi_supervised_step if self.semi_supervised else self.supervised_step
        with tf.control_dependencies([batch.x]):
            ready = tf.timestamp()
        # The step follows it: where operations run one at a time it might be read last otherwise.
        with tf.control_dependencies([ready]):
            batch = tf.nest.map_structure(tf.identity, batch)
        logs, counts = step(batch)
        if isinstance(self.optimizer, LossScaledAdam):
            logs["loss_scale"] = tf.convert_to_tensor(self.optimizer.loss_scale)
        counts[statistics.BATCH_READY] = ready
        logs[statistics.NAME] = counts
        if isinstance(self.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy):
            # Here Keras averages along the first axis, which is not there yet.
            return tf.nest.map_structure(lambda value: value[None], logs)
        return logs

    def supervised_step(self, batch: SupervisedBatch) -> tuple[Logs, Logs]:
        """Minimises L_sup alone (Eq. 1).

        Returns:
            Global scalars to log, and global counts (`statistics`).
        """
        with tf.GradientTape() as tape:
            student = self.run(self.student, batch.x)
            loss = self.supervised_loss(batch.y, self.upsample(student["logits"], batch.y))
        self.descend(tape, loss)
        return self.totals(loss, {"supervised": loss}, {})

    def semi_supervised_step(self, batch: SemiBatch) -> tuple[Logs, Logs]:
        """Minimises what the method is about; returns as `supervised_step` does."""
        raise NotImplementedError

    def mixed_images(self, batch: SemiBatch) -> tf.Tensor:
        """Returns the mixed images of a batch as the student sees them, `(N, H, W, 3)` uint8."""
        raise NotImplementedError

    @property
    def labeler(self) -> keras.Model:
        """The network that says what unlabeled images show: the teacher, where there is one."""
        return self.student if self.teacher is None else self.teacher

    def supervised_loss(self, y: tf.Tensor, logits: tf.Tensor | Wide) -> tf.Tensor:
        """Computes L_sup (Eq. 1) of labels `(B, H, W)` and logits of their size."""
        return losses.supervised(
            y,
            logits,
            num_images=self.config.labeled_batch_size,
            averaging=self.config.averaging,
            group_size=self.options.mix_group,
            class_weights=self.class_weights,
            global_sum=distribution.global_sum,
        )

    @property
    def phase_step(self) -> tf.Tensor:
        """Steps since the semi-supervised phase began."""
        return self.optimizer.iterations - self.config.first_semi_step

    def update_teacher(self) -> None:
        """Moves the teacher towards the student of the step before (Section 3.1)."""
        alpha = schedules.ema_decay(
            self.phase_step, self.options.ema_decay, self.options.ema_warmup, self.thresholds.dtype
        )
        teacher.update(self.teacher, self.student, alpha)

    def run(self, network: keras.Model, images: tf.Tensor) -> Outputs:
        """Applies a network in training mode to uint8 images."""
        return self._forward[network.name](images)

    @staticmethod
    def after_teacher(predicted: tf.Tensor) -> AbstractContextManager:
        """Has the student's images made when the teacher's classes `(B, H, W)` are there.

        Side by side, the maps of both networks would be held at a time.
        """
        return tf.control_dependencies([predicted])

    def upsample(self, logits: tf.Tensor, like: tf.Tensor) -> Wide:
        """Prepares logits at the size of `like` `(B, H, W)`, in at least float32."""
        aligned = self.config.network.align_corners
        return dense.resized(at_least_float32(logits), *like.shape[1:], align_corners=aligned)

    def descend(self, tape: tf.GradientTape, loss: tf.Tensor) -> None:
        """Applies this replica's gradients; the optimizer adds up those of all replicas."""
        variables = self.student.trainable_variables
        gradients = tape.gradient(
            loss,
            [variable.value for variable in variables],
            # In float16 the optimizer scales the gradients up, and down again when it applies them.
            output_gradients=self.optimizer.scale_loss(tf.ones_like(loss)),
            # The projection head has no part in the supervised phase.
            unconnected_gradients=tf.UnconnectedGradients.ZERO,
        )
        self.optimizer.apply(gradients, variables)

    def totals(self, loss: tf.Tensor, logs: Logs, counts: Logs) -> tuple[Logs, Logs]:
        """Adds up the parts of all replicas, all in one reduction; the loss leads the logs."""
        parts = {"loss": loss, **logs, **counts}
        flat = [tf.reshape(tf.cast(part, loss.dtype), [-1]) for part in parts.values()]
        total = distribution.global_sum(tf.concat(flat, axis=0))
        sums = {
            name: tf.reshape(value, part.shape)
            for (name, part), value in zip(
                parts.items(), tf.split(total, [part.shape[0] for part in flat]), strict=True
            )
        }
        return {name: sums[name] for name in ("loss", *logs)}, {name: sums[name] for name in counts}

    def totals_of_labels(
        self,
        loss: tf.Tensor,
        logs: Logs,
        counts: Logs,
        predicted: tf.Tensor,
        confident: tf.Tensor,
        valid: tf.Tensor,
    ) -> tuple[Logs, Logs]:
        """Adds up as `totals` does, and with it what was labeled by a network.

        Args:
            loss: as for `totals`.
            logs: likewise.
            counts: likewise.
            predicted: `(B, H, W)` int32, the classes of unlabeled images.
            confident: `(B, H, W)` bool, where they are believed.
            valid: `(B, H, W)` bool, where a view shows its image; "confident" is a share of it.
        """
        logs = logs | {"confident": _count(confident), "valid": _count(valid)}
        counts = counts | statistics.class_counts(predicted, confident, valid, self.num_classes)
        logs, counts = self.totals(loss, logs, counts)
        logs["confident"] /= tf.maximum(logs.pop("valid"), 1)
        return logs, counts


class SupervisedTrainer(SemiSupervisedTrainer):
    """The baseline: the supervised phase and nothing after it."""


def compiled(forward: Callable, jit: bool) -> Callable:
    """Compiles a network's forward pass with XLA, where the options ask for it.

    Only the networks are compiled: around them, shapes depend on what is sampled, and replicas
    exchange sums, neither of which XLA takes.
    """
    return tf.function(forward, jit_compile=True, autograph=False) if jit else forward


def _count(mask: tf.Tensor) -> tf.Tensor:
    return tf.math.count_nonzero(mask, dtype=tf.int32)


def _forward(network: keras.Model, jit: bool, recompute: bool) -> Callable[[tf.Tensor], Outputs]:
    """Returns a network in training mode as a function of uint8 images."""
    run = execution.fast(network, recompute)

    def forward(images: tf.Tensor) -> Outputs:
        return run(tf.cast(images, network.input.dtype))

    return compiled(forward, jit)
