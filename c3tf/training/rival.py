"""What the methods that c3 is compared with share: pseudo-labels, mixing, means, reports."""

from typing import NamedTuple

import tensorflow as tf

from c3tf.data.batch import SemiBatch
from c3tf.method import confidence, mixing, schedules
from c3tf.method.kernels.dense import Wide
from c3tf.training import distribution, teacher
from c3tf.training.trainer import Logs, SemiSupervisedTrainer


class PseudoLabels(NamedTuple):
    """What a network says of unlabeled images; no gradient flows to it.

    Attributes:
        probabilities: `(B, H, W, C)` softmax.
        confidence: `(B, H, W)`, the largest of them.
        predicted: `(B, H, W)` int32, the class that has it.
        valid: `(B, H, W)` bool, where a view shows its image and not padding.
    """

    probabilities: tf.Tensor
    confidence: tf.Tensor
    predicted: tf.Tensor
    valid: tf.Tensor


class RivalTrainer(SemiSupervisedTrainer):
    """A method that mixes unlabeled images with each other and believes what is confident.

    There is no supervised phase and no ramp. Means are over the pixels of the global batch.
    """

    moves_thresholds = False
    # Whether the teacher begins as the true average of its students.
    ema_warmup = False

    def pseudo_labels(self, logits: tf.Tensor, valid: tf.Tensor) -> PseudoLabels:
        """Takes logits of unlabeled images for the truth."""
        probabilities = tf.nn.softmax(tf.stop_gradient(self.upsample(logits, valid).full()))
        return PseudoLabels(probabilities, *confidence.most_probable(probabilities), valid)

    @staticmethod
    def masks(
        batch: SemiBatch, num_classes: int, predicted: tf.Tensor | None = None
    ) -> list[tf.Tensor]:
        """Returns the masks M of every strong view.

        Args:
            batch: whose draws decide.
            num_classes: C.
            predicted: `(B, H, W)` int32, the classes of the weak views, for a method whose masks
                depend on them (`Needs.mixes_classes`).

        Returns:
            As many as there are strong views, `(B, H, W)` bool each.
        """
        raise NotImplementedError

    @staticmethod
    def paste(mask: tf.Tensor, maps: tf.Tensor, following: tf.Tensor) -> tf.Tensor:
        """Pastes M's part of the next images' maps into those of the unlabeled images."""
        return mixing.paste(mask, following, maps)

    def mix(self, maps: tf.Tensor, mask: tf.Tensor) -> tf.Tensor:
        """Mixes maps of every unlabeled image with those of the next one of its group."""
        return self.paste(mask, maps, mixing.next_of_group(maps, self.options.mix_group))

    def student_logits(self, batch: SemiBatch, mixed: tf.Tensor) -> tuple[Wide, Wide]:
        """Runs the student on labeled and mixed images; prepares the logits of either at full size.

        Both go through the network together, which makes no difference while batch norm is frozen.
        """
        logits = self.run(self.student, tf.concat([batch.x, mixed], axis=0))["logits"]
        count = batch.x.shape[0]
        return tuple(self.upsample(part, batch.y) for part in (logits[:count], logits[count:]))

    def mean(self, sums: tf.Tensor, among: tf.Tensor) -> tf.Tensor:
        """Divides a loss that was added up over some pixels by the number of others.

        Args:
            sums: `(B,)`, of each image.
            among: `(B, H, W)` bool, the pixels of the global batch that are counted.

        Returns:
            This replica's part, a scalar.
        """
        total = distribution.global_sum(_count(among, sums.dtype))
        return tf.reduce_sum(sums) / tf.maximum(total, 1)

    def share(self, chosen: tf.Tensor, among: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
        """Returns the share of the global batch's pixels `among` that are `chosen`, a scalar."""
        counts = tf.stack([_count(chosen & among, dtype), _count(among, dtype)])
        part, whole = tf.unstack(distribution.global_sum(counts))
        return part / tf.maximum(whole, 1)

    def update_teacher(self) -> None:
        """Moves the teacher towards the student that this step has made."""
        dtype = self.thresholds.dtype
        alpha = schedules.ema_decay(
            self.phase_step - 1, self.options.ema_decay, self.ema_warmup, dtype
        )
        teacher.update(self.teacher, self.student, alpha)

    def report(self, loss: tf.Tensor, logs: Logs, pseudo: PseudoLabels) -> tuple[Logs, Logs]:
        """Adds up the losses over the replicas, and counts what is confident."""
        thresholds = tf.cast(tf.convert_to_tensor(self.thresholds), pseudo.confidence.dtype)
        confident = confidence.confident_region(
            thresholds, pseudo.confidence, pseudo.predicted, pseudo.valid
        )
        return self.totals_of_labels(loss, logs, {}, pseudo.predicted, confident, pseudo.valid)


def uniform(seeds: tf.Tensor, shape: list[int], stream: int = 0) -> tf.Tensor:
    """Draws `(B, *shape)` uniform numbers, each image's from its own seed and a stream's number."""
    return tf.map_fn(
        lambda seed: tf.random.stateless_uniform(shape, tf.random.fold_in(seed, stream)),
        seeds,
        fn_output_signature=tf.TensorSpec(shape, tf.float32),
    )


def _count(mask: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(mask, dtype))
