"""Pixel contrastive loss (Section 3.3, Eq. 3 and 5)."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from c3tf.labels import IGNORE
from c3tf.method.reduction import GlobalSum, at_least_float32, local
from c3tf.method.sampling import sample_pixels


def contrastive(
    anchors: tf.Tensor,
    anchor_classes: tf.Tensor,
    keys: tf.Tensor,
    key_classes: tf.Tensor,
    *,
    temperature: float,
    anchor_ids: tf.Tensor | None = None,
    key_ids: tf.Tensor | None = None,
) -> tf.Tensor:
    """Computes the contrastive loss of every anchor (the bracket of Eq. 5).

    With s_ij the similarity of anchor i and key j over the temperature and
    S_i = sum of exp(s_ik) over the keys k of other classes, a positive pair costs
    -log(exp(s_ij) / (exp(s_ij) + S_i)) = softplus(log S_i - s_ij).

    Args:
        anchors: `(N, D)` student embeddings; normalised here.
        anchor_classes: `(N,)` int32.
        keys: `(M, D)` embeddings of the teacher; normalised here, no gradient flows to them.
        key_classes: `(M,)` int32.
        temperature: tau.
        anchor_ids: `(N,)` identity of each anchor's pixel, or None.
        key_ids: `(M,)` identity of each key's pixel. A key with the anchor's identity is not one
            of its positives (authors' code).

    Returns:
        `(N,)`: the mean over the positives of each anchor; 0 for an anchor without positives.
    """
    anchors = unit_norm(at_least_float32(anchors))
    keys = tf.stop_gradient(unit_norm(at_least_float32(keys)))
    similarity = tf.matmul(anchors, keys, transpose_b=True) / temperature
    same_class = anchor_classes[:, None] == key_classes[None, :]
    # An anchor without negatives: log S_i is so low that softplus and its gradient are exactly 0.
    nothing = tf.constant(-1e9, similarity.dtype)
    log_negatives = tf.reduce_logsumexp(
        tf.where(same_class, nothing, similarity), axis=1, keepdims=True
    )
    positive = same_class
    if anchor_ids is not None:
        positive &= anchor_ids[:, None] != key_ids[None, :]
    pair_loss = tf.where(positive, tf.nn.softplus(log_negatives - similarity), 0)
    num_positives = tf.reduce_sum(tf.cast(positive, similarity.dtype), axis=1)
    return tf.reduce_sum(pair_loss, axis=1) / tf.maximum(num_positives, 1)


def unit_norm(embedding: tf.Tensor) -> tf.Tensor:
    """Scales vectors along the last axis to length 1; a zero vector stays zero.

    Args:
        embedding: `(..., D)`.

    Returns:
        `(..., D)`.
    """
    return tf.math.l2_normalize(embedding, axis=-1, epsilon=1e-12)


class ContrastInputs(NamedTuple):
    """One set of images as the contrastive loss sees it, at feature resolution.

    Attributes:
        embedding: `(B, h, w, D)` student embeddings; anchors are taken from them.
        key_embedding: `(B, h, w, D)` embeddings that the keys are taken from.
        labels: `(B, h, w)` integer class; `IGNORE` where a pixel is unlabeled or not confident.
        hard: `(B, h, w)` bool, pixels whose segmentation is wrong.
        priority: `(B, h, w)` float32 in [0, 1), the draw of the samples.
    """

    embedding: tf.Tensor
    key_embedding: tf.Tensor
    labels: tf.Tensor
    hard: tf.Tensor
    priority: tf.Tensor


class ContrastResult(NamedTuple):
    """The contrastive loss and what it was made of.

    Attributes:
        loss: scalar, this replica's part.
        anchors_per_class: `(C,)` int32, this replica's anchors.
        hard_anchors: int32 scalar, how many of them are hard.
    """

    loss: tf.Tensor
    anchors_per_class: tf.Tensor
    hard_anchors: tf.Tensor


def pixel_contrast(
    sets: Sequence[ContrastInputs],
    *,
    num_classes: int,
    count: int,
    temperature: float,
    min_pixels: int = 1,
    skip_class_0: bool = False,
    exclude_self: bool = False,
    scale: float = 1.0,
    global_sum: GlobalSum = local,
    global_gather: Callable[[tf.Tensor], tf.Tensor] = local,
    first_image: tf.Tensor | int = 0,
) -> ContrastResult:
    """Computes the pixel contrastive loss over sampled pixels of one or two sets (Eq. 5).

    Every sampled pixel is an anchor (student) and a key. Keys come from the whole global batch.

    Args:
        sets: labeled and/or unlabeled images.
        num_classes: C.
        count: samples per class and image.
        temperature: tau.
        min_pixels: a class with fewer pixels in an image is not sampled there.
        skip_class_0: leave class 0 out (authors' code).
        exclude_self: a pixel is not its own positive (authors' code).
        scale: factor on the loss (authors' code: temperature / 0.1).
        global_sum: adds up a tensor over all replicas.
        global_gather: concatenates tensors of all replicas along axis 0; their lengths may differ.
        first_image: place of this replica's first image in the global batch, which tells pixels
            of different replicas apart.

    Returns:
        The loss, averaged over the anchors of the global batch, with counts.
    """
    embedding, key_embedding, labels, hard, priority = (
        tf.concat([_flatten_pixels(part[i]) for part in sets], axis=0) for i in range(5)
    )
    labels = tf.cast(labels, tf.int32)
    if skip_class_0:
        labels = tf.where(labels == 0, IGNORE, labels)
    samples = sample_pixels(
        labels, hard, priority, num_classes=num_classes, count=count, min_pixels=min_pixels
    )
    # Rows of (image, class, pixel): only places that were filled, so that absent classes cost
    # nothing in the products below.
    place = tf.where(samples.taken)
    image, classes = place[:, 0], tf.cast(place[:, 1], tf.int32)
    index = tf.cast(tf.boolean_mask(samples.index, samples.taken), image.dtype)
    pixel = tf.stack([image, index], axis=1)
    num_pixels = tf.shape(labels, out_type=image.dtype)[1]
    ids = (tf.cast(first_image, image.dtype) + pixel[:, 0]) * num_pixels + pixel[:, 1]

    keys = tf.gather_nd(key_embedding, pixel)
    loss = contrastive(
        tf.gather_nd(embedding, pixel),
        classes,
        global_gather(tf.stop_gradient(keys)),
        global_gather(classes),
        temperature=temperature,
        anchor_ids=ids if exclude_self else None,
        key_ids=global_gather(ids) if exclude_self else None,
    )
    num_anchors = global_sum(tf.cast(tf.size(classes), loss.dtype))
    return ContrastResult(
        loss=scale * tf.reduce_sum(loss) / tf.maximum(num_anchors, 1),
        anchors_per_class=tf.math.bincount(classes, minlength=num_classes, maxlength=num_classes),
        hard_anchors=tf.reduce_sum(tf.cast(samples.hard, tf.int32)),
    )


def _flatten_pixels(x: tf.Tensor) -> tf.Tensor:
    """Reshapes `(B, h, w, ...)` to `(B, h w, ...)`."""
    return tf.reshape(x, [x.shape[0], x.shape[1] * x.shape[2], *x.shape[3:]])
