"""CutMix with a mean teacher, the train step of French et al. (BMVC 2020), top to bottom.

Source: "Semi-supervised semantic segmentation needs strong, varied perturbations", its section on
CutMix; their published settings are the defaults of the options.
"""

import tensorflow as tf

from c3tf.data.batch import SemiBatch
from c3tf.method import mixing
from c3tf.method.kernels.dense import Wide
from c3tf.training.rival import RivalTrainer
from c3tf.training.trainer import Logs


class CutMixMeanTeacher(RivalTrainer):
    """Student and teacher agree on mixed images: the one mixes images, the other predictions."""

    def semi_supervised_step(self, batch: SemiBatch) -> tuple[Logs, Logs]:
        """Minimises L = L_sup + gamma L_cons."""
        # The teacher g looks at whole images; its predictions are mixed by the student's mask:
        # L_cons compares f(mix(a, b, M)) with mix(g(a), g(b), M).
        teacher = self.pseudo_labels(self.run(self.teacher, batch.u_w)["logits"], batch.u_valid)
        (mask,) = self.masks(batch, self.num_classes)
        target, certainty, valid = (
            self.mix(maps, mask)
            for maps in (teacher.probabilities, teacher.confidence, teacher.valid)
        )
        with tf.GradientTape() as tape:
            with self.after_teacher(teacher.predicted):
                mixed = self.mix(batch.u_s, mask)
            logits_x, logits_u = self.student_logits(batch, mixed)
            supervised = self.supervised_loss(batch.y, logits_x)
            consistency = self.consistency(target, certainty, logits_u, valid)
            loss = supervised + self.options.mean_teacher_weight * consistency
        self.descend(tape, loss)
        self.update_teacher()
        return self.report(loss, {"supervised": supervised, "consistency": consistency}, teacher)

    def consistency(
        self, target: tf.Tensor, certainty: tf.Tensor, logits: Wide, valid: tf.Tensor
    ) -> tf.Tensor:
        """Computes L_cons: the squared distance, summed over classes, as mean over all pixels.

        One number scales it in place of a ramp: the share of pixels on which the teacher, mixed
        as the images are, is confident.
        """
        distance = tf.reduce_sum(tf.square(tf.nn.softmax(logits.full()) - target), axis=-1)
        sums = tf.reduce_sum(tf.where(valid, distance, 0), axis=(1, 2))
        every = tf.ones_like(valid)
        confident = certainty >= self.options.mean_teacher_threshold
        return self.share(confident, every, sums.dtype) * self.mean(sums, every)

    def mixed_images(self, batch: SemiBatch) -> tf.Tensor:
        """Pastes the next image's rectangle of half the area into every unlabeled image."""
        return self.mix(batch.u_s, *self.masks(batch, self.num_classes))

    @staticmethod
    def masks(
        batch: SemiBatch, num_classes: int, predicted: tf.Tensor | None = None
    ) -> list[tf.Tensor]:
        """Returns M, True in the rectangle; a mix of a and the next image b is (1 - M) a + M b."""
        return [mixing.rectangles(batch.mix_boxes, *batch.y.shape[1:])]
