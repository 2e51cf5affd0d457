"""The paper's train step, to be read from top to bottom (Sections 3.1 to 3.5, Eq. 1 to 7).

`c3tf.method.plain` says what the equations are; the functions called here say the same, faster.
"""

from typing import NamedTuple

import tensorflow as tf

from c3tf.data.batch import SemiBatch, SupervisedBatch
from c3tf.method import confidence, cutmix, losses, schedules
from c3tf.method.contrast import ContrastResult
from c3tf.method.kernels import dense
from c3tf.method.kernels.dense import Wide
from c3tf.method.reduction import at_least_float32
from c3tf.training import contrast_step, distribution, statistics
from c3tf.training.trainer import Logs, Outputs, SemiSupervisedTrainer


class PseudoLabels(NamedTuple):
    """What the teacher says of the unlabeled images.

    Attributes:
        probabilities: `(B, H, C, W)` softmax.
        predicted: `(B, H, W)` int32, the most probable class.
        confident: `(B, H, W)` bool, the region that DCRS keeps.
    """

    probabilities: tf.Tensor
    predicted: tf.Tensor
    confident: tf.Tensor


class C3Trainer(SemiSupervisedTrainer):
    """C3-SemiSeg: consistency, cross-set mixing and pixel contrast with a confident region."""

    def semi_supervised_step(self, batch: SemiBatch) -> tuple[Logs, Logs]:
        """Minimises L_sup + lambda1 L_consist + lambda2 L_contrast (Eq. 7)."""
        # The teacher follows the student of the step before, then looks at this batch.
        self.update_teacher()
        teacher_x, teacher_u = self.teacher_outputs(batch)
        pseudo = self.pseudo_labels(teacher_u["logits"], batch.u_valid)
        lambda1 = self.lambda1(pseudo.probabilities.dtype)
        plan = self.mix_plan(batch)
        with tf.GradientTape() as tape:
            with self.after_teacher(pseudo.predicted):
                mixed = cutmix.mix(batch.x, batch.u_s, plan)
            student = self.run(self.student, mixed)
            logits_x, logits_u = cutmix.unmix_resized(
                at_least_float32(student["logits"]),
                plan,
                *batch.y.shape[1:],
                align_corners=self.config.network.align_corners,
            )
            supervised = self.supervised_loss(batch.y, logits_x)
            consistency = self.consistency_loss(pseudo, logits_u)
            loss = supervised
            if self.options.consistency_weight > 0:
                loss += lambda1 * consistency
            logs = {"supervised": supervised, "consistency": consistency}
            seen = self.at_features(batch, plan, student["logits"], pseudo)
            counts = {}
            if self.config.uses_contrast:
                contrast = contrast_step.semi_supervised(
                    self.config, self.num_classes, batch.seed, seen, student, teacher_x, teacher_u
                )
                loss += self.lambda2(loss.dtype) * contrast.loss
                logs |= _contrast_logs(contrast)
                counts = self._anchor_counts(contrast)
        self.descend(tape, loss)
        counts |= statistics.agreement(seen.predicted_u, seen.teacher_u, seen.valid_u)
        logs, counts = self.totals_of_labels(
            loss, logs, counts, pseudo.predicted, pseudo.confident, batch.u_valid
        )
        return logs | {"lambda1": lambda1}, counts

    def supervised_step(self, batch: SupervisedBatch) -> tuple[Logs, Logs]:
        """Minimises L_sup; with the authors' option, L_sup + lambda2 L_contrast of the labels."""
        if not (self.config.uses_contrast and self.options.contrast_from_start):
            return super().supervised_step(batch)
        with tf.GradientTape() as tape:
            student = self.run(self.student, batch.x)
            supervised = self.supervised_loss(batch.y, self.upsample(student["logits"], batch.y))
            contrast = contrast_step.supervised(self.config, self.num_classes, batch, student)
            loss = supervised + self.lambda2(supervised.dtype) * contrast.loss
        self.descend(tape, loss)
        logs = {"supervised": supervised} | _contrast_logs(contrast)
        return self.totals(loss, logs, self._anchor_counts(contrast))

    def mix_plan(self, batch: SemiBatch) -> cutmix.MixPlan | None:
        """Returns who is mixed with whom (Section 3.2); None where nobody is."""
        return batch.mix_plan(self.options.mix_group) if self.config.mixes else None

    def mixed_images(self, batch: SemiBatch) -> tf.Tensor:
        """Mixes labeled and unlabeled images both ways (Eq. 4)."""
        return cutmix.mix(batch.x, batch.u_s, self.mix_plan(batch))

    def teacher_outputs(self, batch: SemiBatch) -> tuple[Outputs | None, Outputs]:
        """Runs the teacher on `u_w`, and on `x` where Eq. 5 takes keys from there (else None)."""
        if not contrast_step.needs_teacher_of_labeled(self.config):
            return None, self.run(self.teacher, batch.u_w)
        both = self.run(self.teacher, tf.concat([batch.x, batch.u_w], axis=0))
        halves = {name: tf.split(output, 2, axis=0) for name, output in both.items()}
        return tuple({name: half[i] for name, half in halves.items()} for i in range(2))

    def pseudo_labels(self, logits: tf.Tensor, valid: tf.Tensor) -> PseudoLabels:
        """Updates the thresholds (Eq. 6) and selects the confident region (Section 3.4)."""
        probabilities, highest, predicted = dense.softmax(self.upsample(logits, valid))
        thresholds = confidence.update_thresholds(
            tf.convert_to_tensor(self.thresholds),
            highest,
            predicted,
            valid,
            ratio=self.options.dcrs_ratio,
            decay=self.options.dcrs_decay,
            global_sum=distribution.global_sum,
        )
        self.thresholds.assign(thresholds)
        confident = confidence.confident_region(thresholds, highest, predicted, valid)
        return PseudoLabels(probabilities, predicted, confident)

    def consistency_loss(self, pseudo: PseudoLabels, logits: Wide) -> tf.Tensor:
        """Computes L_consist (Eq. 2) over the confident region."""
        return losses.consistency(
            pseudo.probabilities,
            logits,
            pseudo.confident,
            num_images=self.config.labeled_batch_size,
            averaging=self.options.loss_averaging,
            group_size=self.options.mix_group,
            class_mean=self.options.consistency_class_mean,
            global_sum=distribution.global_sum,
        )

    def at_features(
        self,
        batch: SemiBatch,
        plan: cutmix.MixPlan | None,
        logits: tf.Tensor,
        pseudo: PseudoLabels,
    ) -> contrast_step.AtFeatures:
        """Looks up what labels, student and teacher say of the pixels that features lie on."""
        grid = contrast_step.feature_grid(self.config, logits, batch.y)
        plan = cutmix.on_grid(plan, grid)
        (predicted_x, place_x), (predicted_u, place_u) = contrast_step.unmix_classes(logits, plan)
        return contrast_step.AtFeatures(
            y=tf.cast(grid.take(batch.y), tf.int32),
            predicted_x=predicted_x,
            predicted_u=predicted_u,
            place_x=place_x,
            place_u=place_u,
            teacher_u=grid.take(pseudo.predicted),
            confident_u=grid.take(pseudo.confident),
            valid_u=grid.take(batch.u_valid),
            plan=plan,
        )

    def lambda1(self, dtype: tf.DType) -> tf.Tensor:
        """Computes the weight of L_consist on its ramp (Section 4.1), a scalar."""
        from_start = self.options.consistency_ramp_start == "training"
        return self.options.consistency_weight * schedules.sigmoid_ramp(
            self.optimizer.iterations if from_start else self.phase_step,
            self.options.consistency_ramp_steps,
            dtype,
        )

    def lambda2(self, dtype: tf.DType) -> tf.Tensor:
        """Computes the weight of L_contrast, a scalar."""
        return self.options.contrast_weight * schedules.sigmoid_ramp(
            self.optimizer.iterations, self.options.contrast_ramp_steps, dtype
        )

    def _anchor_counts(self, contrast: ContrastResult) -> Logs:
        anchors = tf.ensure_shape(contrast.anchors_per_class, [self.num_classes])
        return {statistics.ANCHORS: anchors}


def _contrast_logs(contrast: ContrastResult) -> Logs:
    return {
        "contrast": contrast.loss,
        "anchors": tf.reduce_sum(contrast.anchors_per_class),
        "hard_anchors": contrast.hard_anchors,
    }
