"""Counts of one batch: of all labeled pixels, and of the confident ones alone."""

import numpy as np
import tensorflow as tf

from c3tf.evaluation.confusion import confusion_counts
from c3tf.evaluation.walk import Step
from c3tf.inference.networks import Predictor, most_likely
from c3tf.labels import IGNORE
from c3tf.method import confidence

ORIGINAL, RECORD = "original", "record"
LABEL_SIZES = (ORIGINAL, RECORD)


def counts(predict: Predictor, num_classes: int, label_size: str = ORIGINAL) -> Step:
    """Makes the step that counts all labeled pixels.

    Args:
        predict: class maps at any size.
        num_classes: C.
        label_size: `"original"` measures at the label's stored size, `"record"` at the image's,
            to which a larger label is reduced by taking the nearest pixel.

    Returns:
        A step that gives `(1, C, C)` int64 counts, and the class maps and the labels they were
        counted against, both `(B, h, w)` uint8.
    """
    _check(label_size)

    def step(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        label = _sized(label, image, label_size)
        class_map = predict(image, tf.shape(label)[1:3])
        return confusion_counts(label, class_map, num_classes)[None], class_map, label[..., 0]

    return step


def counts_with_confident(
    score: Predictor, num_classes: int, thresholds: np.ndarray, label_size: str = ORIGINAL
) -> Step:
    """Makes the step that also counts with low-confidence pixels left out.

    A pixel is left out when the largest probability is below the threshold of its class, as in
    Table 2 of the paper's supplement.

    Args:
        score: probabilities at any size, see `c3tf.inference.test_time.scorer`.
        num_classes: C.
        thresholds: `(C,)` one per predicted class.
        label_size: as for `counts`.

    Returns:
        A step that gives `(2, C, C)` int64 counts, of all pixels and of the confident ones, and
        the class maps and labels as `counts` does.
    """
    _check(label_size)

    def step(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        label = _sized(label, image, label_size)
        class_map, probability = _class_and_confidence(score, image, label)
        kept = confidence.confident_region(
            tf.constant(thresholds, tf.float32),
            probability,
            tf.cast(class_map, tf.int32),
            tf.ones_like(class_map, tf.bool),
        )
        confident = tf.where(kept[..., None], label, IGNORE)
        both = [confusion_counts(part, class_map, num_classes) for part in (label, confident)]
        return tf.stack(both), class_map, label[..., 0]

    return step


def confidences(score: Predictor, num_classes: int, label_size: str = ORIGINAL) -> Step:
    """Makes the step that counts every pixel by predicted class and confidence.

    Args:
        score: as for `counts_with_confident`.
        num_classes: C.
        label_size: as for `counts`; where the label has no class the pixel counts as well.

    Returns:
        A step that gives `(C, confidence.BINS)` int32 counts.
    """
    _check(label_size)

    def step(image: tf.Tensor, label: tf.Tensor) -> tuple[tf.Tensor]:
        class_map, probability = _class_and_confidence(
            score, image, _sized(label, image, label_size)
        )
        everywhere = tf.ones_like(class_map, tf.bool)
        predicted = tf.cast(class_map, tf.int32)
        return (confidence.confidence_counts(probability, predicted, everywhere, num_classes),)

    return step


def _class_and_confidence(
    score: Predictor, image: tf.Tensor, label: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the class maps `(B, h, w)` at the label's size and their probability."""
    probabilities = score(image, tf.shape(label)[1:3])
    return most_likely(probabilities), tf.reduce_max(probabilities, axis=-1)


def _sized(label: tf.Tensor, image: tf.Tensor, label_size: str) -> tf.Tensor:
    """Brings a label to the size at which it is measured."""
    if label_size == ORIGINAL:
        return label
    # The nearest pixel in whole numbers, as the converters take it.
    for axis in (1, 2):
        length, target = tf.shape(label)[axis], tf.shape(image)[axis]
        label = tf.gather(label, (2 * tf.range(target) + 1) * length // (2 * target), axis=axis)
    return label


def _check(label_size: str) -> None:
    if label_size not in LABEL_SIZES:
        raise ValueError(f"`label_size` must be one of {LABEL_SIZES}. Received: {label_size!r}")
