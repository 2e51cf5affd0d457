"""The step of the evaluator that counts by confidence as well."""

import numpy as np
import tensorflow as tf

from c3tf.evaluation import evaluator
from c3tf.evaluation.calibration import BINS, UNIT
from c3tf.evaluation.evaluator import Step
from c3tf.evaluation.options import ORIGINAL
from c3tf.inference.networks import Predictor
from c3tf.labels import IGNORE


def calibrated_step(
    score: Predictor,
    num_classes: int,
    label_size: str = ORIGINAL,
    thresholds: np.ndarray | None = None,
) -> Step:
    """Makes the step that counts classes and, of every labeled pixel, the confidence.

    Args:
        score: probabilities at any size, see `c3tf.inference.test_time.scorer`.
        num_classes: C.
        label_size: as for `evaluator.count_step`.
        thresholds: `(C,)` to count confident pixels too, see `evaluator.confident_count_step`.

    Returns:
        A step that gives what `evaluator.confident_count_step` does (`(1, C, C)` counts without
        thresholds), and `(3, C, BINS)` int64 for a `Calibration`.
    """

    def step(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, ...]:
        label = evaluator.sized(label, image, label_size)
        class_map, highest = evaluator.class_and_probability(score, image, label)
        counts = evaluator.counts_of(class_map, highest, label, num_classes, thresholds)
        own = label[..., 0]
        return counts, class_map, own, confidence_sums(own, class_map, highest, num_classes)

    return step


def confidence_sums(
    label: tf.Tensor, class_map: tf.Tensor, confidence: tf.Tensor, num_classes: int
) -> tf.Tensor:
    """Sums up labeled pixels by predicted class and confidence.

    Args:
        label: train ids or `IGNORE`, any shape.
        class_map: of the same shape, the predicted class.
        confidence: of the same shape, its probability.
        num_classes: C.

    Returns:
        `(3, C, BINS)` int64: pixels, right ones, confidences in 1 / `UNIT`. Bin b holds those
        from b / BINS on; the last one 1 as well.
    """
    labeled = tf.not_equal(label, IGNORE)
    right = tf.cast(tf.equal(label, class_map), tf.int64)[labeled]
    confidence = confidence[labeled]
    places = tf.clip_by_value(tf.cast(confidence * BINS, tf.int32), 0, BINS - 1)
    cells = tf.cast(class_map, tf.int32)[labeled] * BINS + places
    units = tf.cast(tf.round(tf.cast(confidence, tf.float64) * UNIT), tf.int64)
    sums = [
        tf.math.unsorted_segment_sum(values, cells, num_classes * BINS)
        for values in (tf.ones_like(right), right, units)
    ]
    return tf.reshape(tf.stack(sums), [3, num_classes, BINS])
