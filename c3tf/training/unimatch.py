"""UniMatch, the train step of Yang et al. (CVPR 2023), to be read from top to bottom.

Source: "Revisiting Weak-to-Strong Consistency in Semi-Supervised Semantic Segmentation", its
sections on unified and on dual-stream perturbations; their published settings are the defaults of
the options. Symbols: x_w is the weak view of an unlabeled image, x_s1 and x_s2 its strong views; g
is the encoder and h the decoder of the network f = h(g).
"""

import keras
import tensorflow as tf

from c3tf.config import Config
from c3tf.config.methods import METHODS, UNIMATCH
from c3tf.data.batch import TwoViewBatch
from c3tf.method import mixing
from c3tf.method.kernels import dense
from c3tf.method.kernels.dense import Wide
from c3tf.nets import execution, parts
from c3tf.training.rival import PseudoLabels, RivalTrainer, uniform
from c3tf.training.trainer import Logs, compiled

# CutMix: how often an image is mixed, the share of its area, height by width, and the trials for a
# rectangle inside the image: of 64, one in a million times none is.
PROBABILITY = 0.5
AREAS = (0.02, 0.4)
ASPECTS = (0.3, 1 / 0.3)
TRIALS = 64
_VIEWS = METHODS[UNIMATCH].strong_views
# What the seeds of a batch are folded with: the rectangles, and the place of a feature map after.
_RECTANGLES, _FEATURES = 0, 1


class UniMatch(RivalTrainer):
    """One network labels weak views for two strong views and for its own dropped features."""

    def __init__(
        self, student: keras.Model, teacher: keras.Model | None, num_classes: int, config: Config
    ) -> None:
        """Creates the trainer, see `SemiSupervisedTrainer`; there is no teacher."""
        super().__init__(student, teacher, num_classes, config)
        # The same layers and weights as the student's: what is saved and exported is as ever.
        encoder, decoder = parts.split(student)
        g, h = execution.fast(encoder, config.training.recompute), execution.fast(decoder)
        dtype, jit = student.input.dtype, config.training.jit
        self._g = compiled(lambda images: list(g(tf.cast(images, dtype)).values()), jit)
        self._h = compiled(lambda features: h(features)["logits"], jit)

    def semi_supervised_step(self, batch: TwoViewBatch) -> tuple[Logs, Logs]:
        """Minimises L = 1/2 (L_x + lambda L_fp + mu/2 (L_s1 + L_s2))."""
        lambda_, mu = self.options.unimatch_feature_weight, self.options.unimatch_strong_weight
        masks = self.masks(batch, self.num_classes)
        with tf.GradientTape() as tape:
            logits_x, logits_w, logits_fp = self.weak_streams(batch)
            weak = self.pseudo_labels(logits_w, batch.u_valid)
            supervised = self.supervised_loss(batch.y, self.upsample(logits_x, batch.y))
            feature = self.consistency(weak, self.upsample(logits_fp, batch.y))
            strong = tf.add_n(
                [
                    self.consistency(self.mix_labels(weak, mask), logits)
                    for mask, logits in zip(masks, self.strong_streams(batch, masks), strict=True)
                ]
            )
            consistency = lambda_ * feature + mu / 2 * strong
            loss = (supervised + consistency) / 2
        self.descend(tape, loss)
        logs = {"supervised": supervised, "consistency": consistency}
        return self.report(loss, {**logs, "feature": feature, "strong": strong / 2}, weak)

    def consistency(self, labels: PseudoLabels, logits: Wide) -> tf.Tensor:
        """Computes 1[max p_w >= tau] H(p_w, p), with hard labels, as the mean over valid pixels."""
        confident = labels.confidence >= self.options.unimatch_threshold
        cross_entropy = dense.cross_entropy(logits, labels.predicted, confident & labels.valid)
        return self.mean(cross_entropy, labels.valid)

    def weak_streams(self, batch: TwoViewBatch) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Returns logits of h(g(x)), of p_w = h(g(x_w)) and of p_fp = h(P(g(x_w))).

        P drops whole channels of x_w's features and keeps the mean of what is left.
        """
        count = batch.x.shape[0]
        features = self._g(tf.concat([batch.x, batch.u_w], axis=0))
        with_dropped = [
            tf.concat([part, self.drop(part[count:], batch.seed, place)], axis=0)
            for place, part in enumerate(features)
        ]
        return tuple(tf.split(self._h(with_dropped), 3))

    def drop(self, features: tf.Tensor, seeds: tf.Tensor, place: int) -> tf.Tensor:
        """Computes P: channels of `(B, h, w, K)` are 0 or scaled, each image's by its own seed."""
        rate = self.options.unimatch_dropout
        draws = uniform(seeds, [features.shape[-1]], _FEATURES + place)[:, None, None, :]
        return tf.where(draws < rate, tf.zeros_like(features), features / (1 - rate))

    def strong_streams(self, batch: TwoViewBatch, masks: list[tf.Tensor]) -> list[Wide]:
        """Prepares full-size logits of p_s1 = f(CutMix(x_s1)) and p_s2 = f(CutMix(x_s2))."""
        views = batch.u_s, batch.u_s2
        mixed = [self.mix(view, mask) for view, mask in zip(views, masks, strict=True)]
        logits = self.run(self.student, tf.concat(mixed, axis=0))["logits"]
        return [self.upsample(part, batch.y) for part in tf.split(logits, len(views))]

    def mixed_images(self, batch: TwoViewBatch) -> tf.Tensor:
        """Mixes the first strong view of every image with that of the next."""
        return self.mix(batch.u_s, self.masks(batch, self.num_classes)[0])

    def mix_labels(self, labels: PseudoLabels, mask: tf.Tensor) -> PseudoLabels:
        """Mixes what the weak views say as their strong views are mixed."""
        return PseudoLabels(*(self.mix(maps, mask) for maps in labels))

    @staticmethod
    def masks(
        batch: TwoViewBatch, num_classes: int, predicted: tf.Tensor | None = None
    ) -> list[tf.Tensor]:
        """Returns the masks of either strong view, True in the rectangles; half have none."""
        size = batch.y.shape[1:]
        draws = uniform(batch.seed, [_VIEWS, TRIALS + 1, 4], _RECTANGLES)
        boxes = mixing.boxes_of_area(draws[:, :, 1:], *size, areas=AREAS, aspects=ASPECTS)
        boxes = tf.where(draws[:, :, 0, :1] < PROBABILITY, boxes, 0)
        return [mixing.rectangles(box, *size) for box in tf.unstack(boxes, axis=1)]
