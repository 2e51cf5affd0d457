"""How doubtful photos are to a network, by what the method knows of its pixels.

A photo's doubt has up to three parts, each a share of 0 to 1 over its pixels:

    below_threshold  pixels whose probability is below the DCRS threshold of their class
    disagreement     pixels that student and teacher give other classes
    entropy          mean entropy of the classes, of the largest there is

Pixels of classes that the photos show little of weigh more: a class with share s of all pixels
weighs 1 / sqrt(s). The shares are known after the last photo, so sums are kept by class.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from c3tf.inference.networks import IMAGES, Probabilities, ProbabilitiesAndFeatures
from c3tf.method import confidence

PIXELS, BELOW, DISAGREEMENT, ENTROPY = "pixels", "below_threshold", "disagreement", "entropy"
# Of the sums by class, in their order.
SUMS = (PIXELS, BELOW, DISAGREEMENT, ENTROPY)

# Images uint8 (B, H, W, 3) to sums float64 (B, 4, C) by `SUMS` and predicted class, and features
# float32 (B, D).
Summer = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def summer(
    network: ProbabilitiesAndFeatures,
    student: Probabilities | None,
    thresholds: np.ndarray | None,
    num_classes: int,
) -> Summer:
    """Makes the compiled function that sums up the pixels of images by predicted class.

    Args:
        network: whose doubt is measured: the teacher where there is one.
        student: what it is held against; None where there is no teacher.
        thresholds: `(C,)` DCRS thresholds; None where there are none.
        num_classes: C.

    Returns:
        A `Summer`. What cannot be known is 0.
    """

    @tf.function(input_signature=[IMAGES])
    def compute(images: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        probabilities, features = network(images)
        highest = tf.reduce_max(probabilities, axis=-1)
        predicted = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
        nothing = tf.zeros_like(highest)
        below = other = nothing
        if thresholds is not None:
            everywhere = tf.ones_like(predicted, tf.bool)
            limits = tf.constant(thresholds, tf.float32)
            reached = confidence.confident_region(limits, highest, predicted, everywhere)
            below = 1 - tf.cast(reached, tf.float32)
        if student is not None:
            differs = tf.argmax(student(images), axis=-1, output_type=tf.int32) != predicted
            other = tf.cast(differs, tf.float32)
        entropy = -tf.reduce_sum(tf.math.xlogy(probabilities, probabilities), axis=-1)
        entropy /= np.log(max(num_classes, 2))
        # One segment per image and class; float64, because a photo has millions of pixels.
        batch = tf.shape(images)[0]
        segments = predicted + num_classes * tf.range(batch)[:, None, None]
        sums = [
            tf.math.unsorted_segment_sum(tf.cast(values, tf.float64), segments, batch * num_classes)
            for values in (nothing + 1, below, other, entropy)
        ]
        stacked = [tf.reshape(total, [batch, num_classes]) for total in sums]
        return tf.stack(stacked, axis=1), features

    return compute


def class_weights(pixels: np.ndarray) -> np.ndarray:
    """Weighs classes by how rare they are.

    Args:
        pixels: `(N, C)` by photo and predicted class.

    Returns:
        `(C,)` float64: 1 / sqrt(share of all pixels), 0 for a class that is nowhere.
    """
    totals = np.asarray(pixels, np.float64).sum(0)
    shares = totals / totals.sum()
    return np.divide(1.0, np.sqrt(shares), out=np.zeros_like(shares), where=shares > 0)


def parts(sums: np.ndarray, known: tuple[str, ...]) -> dict[str, np.ndarray]:
    """Computes the parts of every photo's doubt.

    Args:
        sums: `(N, 4, C)` of all photos, as a `Summer` gives them.
        known: those of `SUMS` that were measured.

    Returns:
        `(N,)` float64, 0 to 1, by name.
    """
    weights = class_weights(sums[:, SUMS.index(PIXELS)])
    total = sums[:, SUMS.index(PIXELS)] @ weights
    return {name: sums[:, SUMS.index(name)] @ weights / total for name in known}


def doubt(by_part: dict[str, np.ndarray]) -> np.ndarray:
    """Puts parts together: the mean of a photo's ranks, so that none outweighs another.

    Args:
        by_part: `(N,)` by name.

    Returns:
        `(N,)` float64, from 0 (in every part the least doubtful photo) to 1 (the most).
    """
    return np.mean([_ranks(values) for values in by_part.values()], axis=0)


def _ranks(values: np.ndarray) -> np.ndarray:
    """Returns the places `(N,)` of values in their order, 0 to 1; equal ones share the mean."""
    ordered = np.sort(values)
    first = np.searchsorted(ordered, values, side="left")
    last = np.searchsorted(ordered, values, side="right") - 1
    return (first + last) / 2 / max(len(values) - 1, 1)
