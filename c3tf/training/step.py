"""The Keras model that trains a student with its teacher: the paper's method in one train step."""

from collections.abc import Callable

import keras
import tensorflow as tf

from c3tf.config import Config
from c3tf.data.batch import SemiBatch, SupervisedBatch
from c3tf.method import confidence, cutmix, losses, schedules
from c3tf.method.kernels.resize import bilinear
from c3tf.method.reduction import at_least_float32
from c3tf.training import contrast_step, replicas, statistics, teacher
from c3tf.training.loss_scale import LossScaledAdam
from c3tf.training.targets import Targets

# What a step reports, by name.
Logs = dict[str, tf.Tensor]


class Segmenter(keras.Model):
    """Trains a student network, first on labels alone, then with the teacher's help.

    The two phases are two compiled steps: `begin_semi_supervised` switches between them.
    """

    def __init__(
        self, student: keras.Model, teacher: keras.Model | None, num_classes: int, config: Config
    ) -> None:
        """Creates the model in its supervised phase.

        Args:
            student: network with outputs `"logits"` and, with contrast, `"embedding"`.
            teacher: a network of the same architecture; None for the supervised baseline.
            num_classes: C.
            config: the run's configuration; `method` decides the losses.
        """
        super().__init__(name="segmenter")
        self.config = config
        self.options = config.method
        self.num_classes = num_classes
        self.student = student
        self.teacher = teacher
        self._forward = {
            network.name: _forward(network, jit=config.training.jit)
            for network in (student, teacher)
            if network is not None
        }
        if teacher is not None:
            teacher.trainable = False
        # Every replica computes the same global thresholds, so one replica's copy serves all.
        self.thresholds = self.add_weight(
            name="thresholds",
            shape=(num_classes,),
            initializer=keras.initializers.Constant(self.options.dcrs_start),
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
        if copy_student:
            teacher.initialise(self.teacher, self.student)
        self.semi_supervised = True
        self.make_train_function(force=True)

    def call(self, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Returns the student's outputs for `(B, H, W, 3)` images."""
        return self.student(images, training=False)

    def _maybe_symbolic_build(self, iterator=None, data_batch=None):
        """Does nothing: networks and optimizer are built before `fit`, which Keras cannot know."""

    def train_step(self, batch: SupervisedBatch | SemiBatch) -> dict[str, tf.Tensor]:
        """Runs one step of the current phase.

        Returns:
            The step's global scalars, and under `statistics.NAME` what else it counted.
        """
        step = self._semi_supervised_step if self.semi_supervised else self._supervised_step
        logs, counts = step(batch)
        if isinstance(self.optimizer, LossScaledAdam):
            logs["loss_scale"] = tf.convert_to_tensor(self.optimizer.loss_scale)
        with tf.control_dependencies([batch.x]):
            counts[statistics.BATCH_READY] = tf.timestamp()
        logs[statistics.NAME] = counts
        if isinstance(self.distribute_strategy, tf.distribute.MultiWorkerMirroredStrategy):
            # Here Keras averages along the first axis, which is not there yet.
            return tf.nest.map_structure(lambda value: value[None], logs)
        return logs

    def _supervised_step(self, batch: SupervisedBatch) -> tuple[Logs, Logs]:
        with tf.GradientTape() as tape:
            student = self._run(self.student, batch.x)
            supervised = self._supervised_loss(batch.y, self._upsample(student["logits"], batch.y))
            loss, logs, counts = supervised, {"supervised": supervised}, {}
            if self.config.uses_contrast and self.options.contrast_from_start:
                contrast = contrast_step.supervised(self.config, self.num_classes, batch, student)
                loss += self._lambda2(loss.dtype) * contrast.loss
                logs |= contrast_step.logs(contrast)
                counts = contrast_step.counts(contrast, self.num_classes)
        self._descend(tape, loss)
        sums = _global_sums({"loss": loss, **logs, **counts})
        return {name: sums[name] for name in ("loss", *logs)}, {name: sums[name] for name in counts}

    def _semi_supervised_step(self, batch: SemiBatch) -> tuple[Logs, Logs]:
        """Minimises L_sup + lambda1 L_consist + lambda2 L_contrast (Eq. 7)."""
        options = self.options
        phase_step = self.optimizer.iterations - self.config.first_semi_step
        # The teacher follows the student of the step before, then looks at this batch.
        teacher.update(self.teacher, self.student, self._teacher_decay(phase_step))
        teacher_x, teacher_u = self._teacher_outputs(batch)
        targets = self._targets(teacher_u["logits"], batch.u_valid)
        from_start = options.consistency_ramp_start == "training"
        lambda1 = options.consistency_weight * schedules.sigmoid_ramp(
            self.optimizer.iterations if from_start else phase_step,
            options.consistency_ramp_steps,
            targets.probabilities.dtype,
        )
        plan = self._mix_plan(batch)
        with tf.GradientTape() as tape:
            student = self._run(self.student, cutmix.mix(batch.x, batch.u_s, plan))
            logits_x, logits_u = cutmix.unmix_resized(
                at_least_float32(student["logits"]),
                plan,
                *batch.y.shape[1:],
                align_corners=self.config.network.align_corners,
            )
            supervised = self._supervised_loss(batch.y, logits_x)
            consistent = self._consistency_loss(targets, logits_u)
            loss = supervised
            if options.consistency_weight > 0:
                loss += lambda1 * consistent
            logs = {"supervised": supervised, "consistency": consistent}
            if self.config.uses_contrast:
                contrast = contrast_step.semi_supervised(
                    self.config,
                    self.num_classes,
                    batch,
                    plan,
                    student,
                    teacher_x,
                    teacher_u,
                    targets,
                )
                loss += self._lambda2(loss.dtype) * contrast.loss
                logs |= contrast_step.logs(contrast)
        self._descend(tape, loss)
        counts = self._counts(batch, plan, student["logits"], targets)
        if self.config.uses_contrast:
            counts |= contrast_step.counts(contrast, self.num_classes)
        logs |= {"confident": _count(targets.confident), "valid": _count(batch.u_valid)}
        sums = _global_sums({"loss": loss, **logs, **counts})
        logs = {name: sums[name] for name in ("loss", *logs)}
        logs["confident"] /= tf.maximum(logs.pop("valid"), 1)
        return logs | {"lambda1": lambda1}, {name: sums[name] for name in counts}

    def _run(self, network: keras.Model, images: tf.Tensor) -> dict[str, tf.Tensor]:
        """Applies a network in training mode to uint8 images."""
        return self._forward[network.name](images)

    def _upsample(self, logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        """Brings logits to the size of the labels, `(B, H, W, C)`, in at least float32."""
        aligned = self.config.network.align_corners
        return bilinear(at_least_float32(logits), *labels.shape[1:], align_corners=aligned)

    def _lambda2(self, dtype: tf.DType) -> tf.Tensor:
        return contrast_step.weight(self.config, self.optimizer.iterations, dtype)

    def _supervised_loss(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        return losses.supervised(
            labels,
            logits,
            num_images=self.config.labeled_batch_size,
            averaging=self.options.loss_averaging,
            group_size=self.options.mix_group,
            global_sum=replicas.global_sum,
        )

    def _consistency_loss(self, targets: Targets, logits: tf.Tensor) -> tf.Tensor:
        return losses.consistency(
            targets.probabilities,
            logits,
            targets.confident,
            num_images=self.config.labeled_batch_size,
            averaging=self.options.loss_averaging,
            group_size=self.options.mix_group,
            class_mean=self.options.consistency_class_mean,
            global_sum=replicas.global_sum,
        )

    def _teacher_decay(self, phase_step: tf.Tensor) -> tf.Tensor:
        return schedules.ema_decay(
            phase_step, self.options.ema_decay, self.options.ema_warmup, self.thresholds.dtype
        )

    def _teacher_outputs(self, batch: SemiBatch) -> tuple[dict | None, dict]:
        """Runs the teacher on the unlabeled images, and on the labeled ones where keys need it."""
        if not contrast_step.needs_teacher_of_labeled(self.config):
            return None, self._run(self.teacher, batch.u_w)
        both = self._run(self.teacher, tf.concat([batch.x, batch.u_w], axis=0))
        halves = {name: tf.split(output, 2, axis=0) for name, output in both.items()}
        return tuple({name: half[i] for name, half in halves.items()} for i in range(2))

    def _targets(self, logits: tf.Tensor, valid: tf.Tensor) -> Targets:
        """Updates the thresholds (Eq. 6) and selects the confident region."""
        probabilities = tf.nn.softmax(self._upsample(logits, valid))
        certainty, predicted = confidence.most_probable(probabilities)
        thresholds = confidence.update_thresholds(
            tf.convert_to_tensor(self.thresholds),
            certainty,
            predicted,
            valid,
            ratio=self.options.dcrs_ratio,
            decay=self.options.dcrs_decay,
            global_sum=replicas.global_sum,
        )
        self.thresholds.assign(thresholds)
        confident = confidence.confident_region(thresholds, certainty, predicted, valid)
        return Targets(probabilities, predicted, confident)

    def _mix_plan(self, batch: SemiBatch) -> cutmix.MixPlan | None:
        if self.options.mixing == "none":
            return None
        return batch.mix_plan(self.options.mix_group)

    def _counts(
        self, batch: SemiBatch, plan: cutmix.MixPlan | None, logits: tf.Tensor, targets: Targets
    ) -> Logs:
        """Counts what the teacher says, and on the feature grid whether the student agrees."""
        grid = contrast_step.feature_grid(self.config, logits, batch.y)
        predicted = tf.argmax(logits, axis=-1, output_type=tf.int32)[..., None]
        _, student = cutmix.unmix(predicted, grid.plan(plan))
        on_grid = (grid.take(part) for part in (targets.predicted, batch.u_valid))
        return statistics.class_counts(
            targets.predicted, targets.confident, batch.u_valid, self.num_classes
        ) | statistics.agreement(student[..., 0], *on_grid)

    def _descend(self, tape: tf.GradientTape, loss: tf.Tensor) -> None:
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


def _forward(network: keras.Model, jit: bool) -> Callable[[tf.Tensor], dict[str, tf.Tensor]]:
    """Returns a network in training mode as a function of uint8 images.

    Only the networks are compiled with XLA: around them, shapes depend on what is sampled, and
    replicas exchange sums, neither of which XLA takes.
    """

    def forward(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return network(tf.cast(images, network.input.dtype), training=True)

    return tf.function(forward, jit_compile=True, autograph=False) if jit else forward


def _count(mask: tf.Tensor) -> tf.Tensor:
    return tf.math.count_nonzero(mask, dtype=tf.int32)


def _global_sums(parts: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Adds up scalars and vectors over the replicas, all in one reduction."""
    dtype = parts["loss"].dtype
    flat = [tf.reshape(tf.cast(part, dtype), [-1]) for part in parts.values()]
    total = replicas.global_sum(tf.concat(flat, axis=0))
    sums = tf.split(total, [part.shape[0] for part in flat])
    return {
        name: tf.reshape(value, part.shape)
        for (name, part), value in zip(parts.items(), sums, strict=True)
    }
