"""Dynamic confident region selection, DCRS (Section 3.4, Eq. 6)."""

import tensorflow as tf

from c3tf.method.reduction import GlobalSum, local

# Confidences are counted in this many equal bins, so a threshold is found to 1 / BINS without
# sorting, and from counts that replicas can add up.
BINS = 8192


@tf.function(jit_compile=True)
def most_probable(probabilities: tf.Tensor, axis: int = -1) -> tuple[tf.Tensor, tf.Tensor]:
    """Finds the confidence of each pixel and the class that has it, in one pass.

    Compiled, because TensorFlow's `argmax` alone takes three times as long as its `reduce_max`.

    Args:
        probabilities: `(B, H, W, C)`, or with the classes along another axis.
        axis: theirs.

    Returns:
        `(B, H, W)` the largest probability, and `(B, H, W)` int32 the first class that has it.
    """
    return (
        tf.reduce_max(probabilities, axis=axis),
        tf.argmax(probabilities, axis=axis, output_type=tf.int32),
    )


def confidence_counts(
    confidence: tf.Tensor, predicted: tf.Tensor, valid: tf.Tensor, num_classes: int
) -> tf.Tensor:
    """Counts the pixels of every predicted class by their confidence.

    Args:
        confidence: `(B, H, W)` largest softmax probability of the teacher, 0 to 1.
        predicted: `(B, H, W)` int32, the class that has it.
        valid: `(B, H, W)` bool; pixels outside (padding) are not counted.
        num_classes: C.

    Returns:
        `(C, BINS)` int32 counts; bin b holds confidences from b / BINS on.
    """
    # A diverged network must reach the check of the loss, not fail here over a bin below 0.
    finite = tf.where(tf.math.is_finite(confidence), confidence, 0)
    level = tf.clip_by_value(tf.cast(finite * BINS, tf.int32), 0, BINS - 1)
    cell = tf.where(valid, predicted * BINS + level, num_classes * BINS)
    counts = tf.math.bincount(
        tf.reshape(cell, [-1]), minlength=num_classes * BINS + 1, maxlength=num_classes * BINS + 1
    )
    return tf.reshape(counts[:-1], [num_classes, BINS])


def class_thresholds(counts: tf.Tensor, ratio: float, dtype: tf.DType) -> tf.Tensor:
    """Finds each class's threshold for the current batch (delta in Eq. 6).

    It is the element at position `int(ratio * n)` of the class's n confidences in descending
    order, so that a share of about `ratio` of the class lies at or above it.

    Args:
        counts: `(C, BINS)` counts over the global batch, from `confidence_counts`.
        ratio: s, the share to keep; below 1.
        dtype: dtype of the result.

    Returns:
        `(C,)` thresholds: the lower edge of the element's bin, at most 1 / BINS below the element.
        0 for a class without pixels.
    """
    from_top = tf.cumsum(counts, axis=1, reverse=True)
    position = tf.cast(tf.cast(from_top[:, :1], tf.float64) * ratio, counts.dtype)
    # `from_top` falls along the bins; the element lies in the last bin that still exceeds it.
    bins_above = tf.math.count_nonzero(from_top > position, axis=1)
    return tf.cast(tf.maximum(bins_above - 1, 0), dtype) / BINS


def update_thresholds(
    thresholds: tf.Tensor,
    confidence: tf.Tensor,
    predicted: tf.Tensor,
    valid: tf.Tensor,
    *,
    ratio: float,
    decay: float,
    global_sum: GlobalSum = local,
) -> tf.Tensor:
    """Moves the class thresholds towards those of the current batch (Eq. 6).

    Args:
        thresholds: `(C,)` thresholds of the step before.
        confidence: `(B, H, W)` largest softmax probability of the teacher.
        predicted: `(B, H, W)` int32, the class that has it.
        valid: `(B, H, W)` bool, pixels that come from the image.
        ratio: s, the share of each class to keep. At 1 every pixel is kept: thresholds are 0.
        decay: beta.
        global_sum: adds up a tensor over all replicas.

    Returns:
        `(C,)` thresholds of this step. A class that the teacher predicts nowhere keeps its own.
    """
    if ratio >= 1:
        return tf.zeros_like(thresholds)
    counts = global_sum(confidence_counts(confidence, predicted, valid, thresholds.shape[0]))
    current = class_thresholds(counts, ratio, thresholds.dtype)
    present = tf.reduce_sum(counts, axis=1) > 0
    return tf.where(present, decay * thresholds + (1 - decay) * current, thresholds)


def confident_region(
    thresholds: tf.Tensor, confidence: tf.Tensor, predicted: tf.Tensor, valid: tf.Tensor
) -> tf.Tensor:
    """Selects the pixels whose confidence reaches the threshold of their predicted class.

    Args:
        thresholds: `(C,)`.
        confidence: `(B, H, W)`.
        predicted: `(B, H, W)` int32.
        valid: `(B, H, W)` bool.

    Returns:
        `(B, H, W)` bool.
    """
    return valid & (confidence >= tf.gather(thresholds, predicted))
