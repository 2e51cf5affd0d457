"""ClassMix, the train step of Olsson et al. (WACV 2021), to be read from top to bottom.

Source: "ClassMix: Segmentation-Based Data Augmentation for Semi-Supervised Learning", its sections
on the mixing strategy and on the loss; their published settings are the defaults of the options.
"""

import tensorflow as tf

from c3tf.data.batch import SemiBatch
from c3tf.method import mixing
from c3tf.method.kernels import dense
from c3tf.method.kernels.dense import Wide
from c3tf.training.rival import PseudoLabels, RivalTrainer, uniform
from c3tf.training.trainer import Logs


class ClassMix(RivalTrainer):
    """Half of the classes that the teacher sees in an image are pasted onto another image."""

    ema_warmup = True

    def semi_supervised_step(self, batch: SemiBatch) -> tuple[Logs, Logs]:
        """Minimises L = l(f(X_L), Y_L) + lambda l(f(X_A), Y_A)."""
        # S_A = f'(A), the teacher's segmentation, says what M is: the mask of half its classes.
        teacher = self.teacher_labels(batch)
        (mask,) = self.masks(batch, self.num_classes, teacher.predicted)
        artificial, certainty, valid = (
            self.mix(maps, mask) for maps in (teacher.predicted, teacher.confidence, teacher.valid)
        )
        with tf.GradientTape() as tape:
            logits_x, logits_a = self.student_logits(batch, self.mix(batch.u_s, mask))
            supervised = self.supervised_loss(batch.y, logits_x)
            consistency = self.consistency(artificial, certainty, logits_a, valid)
            loss = supervised + self.options.classmix_weight * consistency
        self.descend(tape, loss)
        self.update_teacher()
        return self.report(loss, {"supervised": supervised, "consistency": consistency}, teacher)

    def consistency(
        self, artificial: tf.Tensor, certainty: tf.Tensor, logits: Wide, valid: tf.Tensor
    ) -> tf.Tensor:
        """Computes the cross-entropy with the artificial labels Y_A, the mean over all pixels.

        One number scales it: the share of pixels on which the teacher is confident.
        """
        cross_entropy = dense.cross_entropy(logits, artificial, valid)
        confident = certainty >= self.options.classmix_threshold
        share = self.share(confident, valid, cross_entropy.dtype)
        return share * self.mean(cross_entropy, valid)

    def mixed_images(self, batch: SemiBatch) -> tf.Tensor:
        """Pastes half of the classes of every unlabeled image onto the next one."""
        predicted = self.teacher_labels(batch).predicted
        return self.mix(batch.u_s, *self.masks(batch, self.num_classes, predicted))

    def teacher_labels(self, batch: SemiBatch) -> PseudoLabels:
        """Runs the teacher on the weak views."""
        return self.pseudo_labels(self.run(self.teacher, batch.u_w)["logits"], batch.u_valid)

    @staticmethod
    def masks(
        batch: SemiBatch, num_classes: int, predicted: tf.Tensor | None = None
    ) -> list[tf.Tensor]:
        """Returns M, True on the chosen classes of each image."""
        draws = uniform(batch.seed, [num_classes])
        return [mixing.half_of_classes(predicted, batch.u_valid, draws)]

    @staticmethod
    def paste(mask: tf.Tensor, maps: tf.Tensor, following: tf.Tensor) -> tf.Tensor:
        """Mixes maps A of the unlabeled images with those B of the next: M A + (1 - M) B."""
        return mixing.paste(mask, maps, following)
