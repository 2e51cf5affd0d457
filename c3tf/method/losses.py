"""Supervised loss (Eq. 1) and consistency loss (Eq. 2)."""

import numpy as np
import tensorflow as tf

from c3tf.labels import IGNORE
from c3tf.method.kernels import dense
from c3tf.method.kernels.dense import Wide
from c3tf.method.reduction import GlobalSum, at_least_float32, local


def supervised(
    labels: tf.Tensor,
    logits: tf.Tensor | Wide,
    *,
    num_images: int,
    averaging: str = "image",
    group_size: int = 1,
    class_weights: np.ndarray | None = None,
    global_sum: GlobalSum = local,
) -> tf.Tensor:
    """Computes the cross-entropy of labeled pixels (Eq. 1).

    Args:
        labels: `(B, H, W)` integer train ids; `IGNORE` where a pixel has no label.
        logits: `(B, H, W, C)` student logits at the labels' size, made or yet to be made.
        num_images: labeled images in the global batch, `|B_L|`.
        averaging: `"image"` for Eq. 1's mean over each image's valid pixels and then over images;
            `"group"` for the same over groups of images (authors' code: a GPU's share);
            `"batch"` for one mean over all valid pixels of the batch.
        group_size: images per group for `"group"`, neighbours in the batch; it divides B.
        class_weights: `(C,)` factors on the loss of the pixels of each class; the means still
            count pixels. None for 1.
        global_sum: adds up a tensor over all replicas.

    Returns:
        This replica's part of the loss, a scalar. An image without valid pixels adds nothing.
    """
    valid = labels != IGNORE
    classes = tf.where(valid, tf.cast(labels, tf.int32), 0)
    logits = logits if isinstance(logits, Wide) else at_least_float32(logits)
    weights = None
    if class_weights is not None:
        weights = tf.gather(tf.constant(class_weights, logits.dtype), classes)
    if isinstance(logits, Wide):
        sums = dense.cross_entropy(logits, classes, valid, weights)
    else:
        loss = tf.nn.sparse_softmax_cross_entropy_with_logits(classes, logits)
        sums = _sums(loss if weights is None else weights * loss, valid)
    return average(
        sums,
        valid,
        num_images=num_images,
        averaging=averaging,
        group_size=group_size,
        global_sum=global_sum,
    )


def consistency(
    teacher_probabilities: tf.Tensor,
    logits: tf.Tensor,
    confident: tf.Tensor,
    *,
    num_images: int,
    averaging: str = "image",
    group_size: int = 1,
    class_mean: bool = False,
    global_sum: GlobalSum = local,
) -> tf.Tensor:
    """Computes the cross-entropy of the student against the teacher's soft targets (Eq. 2).

    Args:
        teacher_probabilities: `(B, H, W, C)` softmax of the teacher; no gradient flows to it.
            `(B, H, C, W)` for logits that are yet to be made, as `dense.softmax` returns it.
        logits: `(B, H, W, C)` student logits, made or yet to be made.
        confident: `(B, H, W)` bool, the confident region of Section 3.4.
        num_images: unlabeled images in the global batch, `|B_U|`.
        averaging: as for `supervised`, over the confident pixels.
        group_size: as for `supervised`.
        class_mean: divide by the number of classes, as the authors' code does.
        global_sum: adds up a tensor over all replicas.

    Returns:
        This replica's part of the loss, a scalar. An image without confident pixels adds nothing.
    """
    target = tf.stop_gradient(teacher_probabilities)
    if isinstance(logits, Wide):
        num_classes = target.shape[2]
        sums = dense.cross_entropy(logits, target, confident)
    else:
        num_classes, logits = target.shape[-1], at_least_float32(logits)
        target = tf.cast(target, logits.dtype)
        sums = _sums(tf.nn.softmax_cross_entropy_with_logits(target, logits), confident)
    if class_mean:
        sums /= tf.cast(num_classes, sums.dtype)
    return average(
        sums,
        confident,
        num_images=num_images,
        averaging=averaging,
        group_size=group_size,
        global_sum=global_sum,
    )


def average(
    sums: tf.Tensor,
    valid: tf.Tensor,
    *,
    num_images: int,
    averaging: str,
    group_size: int,
    global_sum: GlobalSum,
) -> tf.Tensor:
    """Averages a loss over the valid pixels of the global batch.

    Args:
        sums: `(B,)` loss of each image, added up over its valid pixels.
        valid: `(B, H, W)` bool, the pixels that count.
        num_images: images in the global batch.
        averaging: `"image"`, `"group"` or `"batch"`, see `supervised`.
        group_size: images per group for `"group"`.
        global_sum: adds up a tensor over all replicas.

    Returns:
        This replica's part of the mean, a scalar.

    Raises:
        ValueError: `averaging` is none of these.
    """
    counts = tf.reduce_sum(tf.cast(valid, sums.dtype), axis=(1, 2))
    if averaging == "group":
        sums, counts = (
            tf.reduce_sum(tf.reshape(x, [-1, group_size]), axis=1) for x in (sums, counts)
        )
    if averaging in ("image", "group"):
        num_parts = num_images // (group_size if averaging == "group" else 1)
        return tf.reduce_sum(sums / tf.maximum(counts, 1)) / tf.cast(num_parts, sums.dtype)
    if averaging == "batch":
        return tf.reduce_sum(sums) / tf.maximum(global_sum(tf.reduce_sum(counts)), 1)
    raise ValueError(
        f"`averaging` must be 'image', 'group' or 'batch'. Received: averaging={averaging!r}"
    )


def _sums(loss: tf.Tensor, valid: tf.Tensor) -> tf.Tensor:
    """Adds up the loss `(B, H, W)` of the pixels that count, image by image."""
    # Not `loss * weight`: a pixel that does not count must not turn 0 times infinity into NaN.
    return tf.reduce_sum(tf.where(valid, loss, 0), axis=(1, 2))
