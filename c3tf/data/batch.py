"""The batches of the two training phases, in the method's vocabulary."""

from typing import NamedTuple

import tensorflow as tf

from c3tf.method.cutmix import MixPlan


class SupervisedBatch(NamedTuple):
    """A batch of the supervised phase.

    Attributes:
        x: `(B, H, W, 3)` uint8, labeled images in weak view.
        y: `(B, H, W)` uint8 train ids, `IGNORE` where unlabeled.
        seed: `(B, 2)` int64, seed of the draws that are made inside the train step.
    """

    x: tf.Tensor
    y: tf.Tensor
    seed: tf.Tensor


class SemiBatch(NamedTuple):
    """A batch of the semi-supervised phase: as many unlabeled images as labeled ones.

    Every tensor has one row per pair of a labeled and an unlabeled image, so that the batch can be
    cut between replicas at any multiple of the mix group.

    Attributes:
        x: `(B, H, W, 3)` uint8, labeled images in weak view.
        y: `(B, H, W)` uint8 train ids, `IGNORE` where unlabeled.
        u_w: `(B, H, W, 3)` uint8, unlabeled images as the teacher sees them.
        u_s: `(B, H, W, 3)` uint8, the same crops as the student sees them.
        u_valid: `(B, H, W)` bool, where an unlabeled view shows its image and not padding.
        mix_order: `(B, 2)` int32, `MixPlan.order` with the group's rows unfolded.
        mix_boxes: `(B, 4)` int32, `MixPlan.boxes` likewise.
        seed: `(B, 2)` int64, seed of the draws that are made inside the train step.
    """

    x: tf.Tensor
    y: tf.Tensor
    u_w: tf.Tensor
    u_s: tf.Tensor
    u_valid: tf.Tensor
    mix_order: tf.Tensor
    mix_boxes: tf.Tensor
    seed: tf.Tensor

    def mix_plan(self, group: int) -> MixPlan:
        """Returns the mixing in this batch, or in a part of it that holds whole groups."""
        return MixPlan(
            tf.reshape(self.mix_order, [-1, 2 * group]), tf.reshape(self.mix_boxes, [-1, group, 4])
        )


class TwoViewBatch(NamedTuple):
    """A `SemiBatch` with `u_s2`, a second view of the student, for methods that need two."""

    x: tf.Tensor
    y: tf.Tensor
    u_w: tf.Tensor
    u_s: tf.Tensor
    u_s2: tf.Tensor
    u_valid: tf.Tensor
    mix_order: tf.Tensor
    mix_boxes: tf.Tensor
    seed: tf.Tensor


def semi_type(strong_views: int) -> type[SemiBatch] | type[TwoViewBatch]:
    """Returns the type of the batches that hold so many views of the student."""
    return {1: SemiBatch, 2: TwoViewBatch}[strong_views]
