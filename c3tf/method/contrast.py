"""Pixel contrastive loss (Section 3.3, Eq. 3 and 5)."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from c3tf.labels import IGNORE
from c3tf.method.kernels import contrast_blocks
from c3tf.method.reduction import GlobalSum, at_least_float32, local
from c3tf.method.sampling import sample_pixels

# Similarities that are held at a time, a block of anchors against all keys: 4 MiB in float32, which
# stays in a processor's cache.
BLOCK_PAIRS = 2**20


def contrastive(
    anchors: tf.Tensor,
    anchor_classes: tf.Tensor,
    keys: tf.Tensor,
    key_classes: tf.Tensor,
    *,
    temperature: float,
    anchor_ids: tf.Tensor | None = None,
    key_ids: tf.Tensor | None = None,
    block_pairs: int = BLOCK_PAIRS,
) -> tf.Tensor:
    """Computes the contrastive loss of every anchor (the bracket of Eq. 5).

    With s_ij the similarity of anchor i and key j over the temperature and
    S_i = sum of exp(s_ik) over the keys k of other classes, a positive pair costs
    -log(exp(s_ij) / (exp(s_ij) + S_i)) = softplus(log S_i - s_ij).

    Memory is bounded by `block_pairs` and grows with N + M beside it. The gradient is found
    together with the loss, so that nothing of the size N x M is kept or computed twice; there is
    no second derivative.

    Args:
        anchors: `(N, D)` student embeddings; normalised here.
        anchor_classes: `(N,)` int32.
        keys: `(M, D)` embeddings of the teacher; normalised here, no gradient flows to them.
        key_classes: `(M,)` int32.
        temperature: tau.
        anchor_ids: `(N,)` identity of each anchor's pixel, or None.
        key_ids: `(M,)` identity of each key's pixel. A key with the anchor's identity is not one
            of its positives (authors' code).
        block_pairs: similarities to hold at a time; at least those of one anchor are held.

    Returns:
        `(N,)`: the mean over the positives of each anchor; 0 for an anchor without positives.
    """
    anchors = unit_norm(at_least_float32(anchors))
    keys = tf.stop_gradient(unit_norm(at_least_float32(keys)))
    return contrast_blocks.losses(
        anchors / temperature,
        anchor_classes,
        keys,
        key_classes,
        anchor_ids=anchor_ids,
        key_ids=key_ids,
        block_pairs=block_pairs,
    )


def unit_norm(embedding: tf.Tensor) -> tf.Tensor:
    """Scales vectors along the last axis to length 1.

    A vector shorter than 1e-6 has no direction to speak of: it becomes zero and gets no gradient,
    which would be a million times that of others.

    Args:
        embedding: `(..., D)`.

    Returns:
        `(..., D)`.
    """
    square = tf.reduce_sum(tf.square(embedding), axis=-1, keepdims=True)
    return embedding * tf.math.rsqrt(tf.where(square > 1e-12, square, np.inf))


class ContrastInputs(NamedTuple):
    """One set of images as the contrastive loss sees it, at feature resolution.

    Attributes:
        embedding: `(B, h, w, D)` student embeddings; anchors are taken from them. With `place`,
            maps of any number of images.
        key_embedding: `(B, h, w, D)` embeddings that the keys are taken from.
        labels: `(B, h, w)` integer class; `IGNORE` where a pixel is unlabeled or not confident.
        hard: `(B, h, w)` bool, pixels whose segmentation is wrong.
        priority: `(B, h, w)` float32 in [0, 1), the draw of the samples.
        place: `(B, h, w)` int32, where each pixel's embedding lies in `embedding`, whose pixels
            are numbered image by image and row by row: so mixed maps need not be taken apart, only
            the sampled pixels of them. None where each lies in its own place.
    """

    embedding: tf.Tensor
    key_embedding: tf.Tensor
    labels: tf.Tensor
    hard: tf.Tensor
    priority: tf.Tensor
    place: tf.Tensor | None = None


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
    fill_up: bool = True,
    skip_class_0: bool = False,
    exclude_self: bool = False,
    scale: float = 1.0,
    global_sum: GlobalSum = local,
    global_gather: Callable[[tf.Tensor], tf.Tensor] = local,
    first_image: tf.Tensor | int = 0,
    block_pairs: int = BLOCK_PAIRS,
) -> ContrastResult:
    """Computes the pixel contrastive loss over sampled pixels of one or two sets (Eq. 5).

    Every sampled pixel is an anchor (student) and a key. Keys come from the whole global batch.

    Args:
        sets: labeled and/or unlabeled images.
        num_classes: C.
        count: samples per class and image.
        temperature: tau.
        min_pixels: a class with fewer pixels in an image is not sampled there.
        fill_up: as for `sample_pixels`.
        skip_class_0: leave class 0 out (authors' code).
        exclude_self: a pixel is not its own positive (authors' code).
        scale: factor on the loss (authors' code: temperature / 0.1).
        global_sum: adds up a tensor over all replicas.
        global_gather: concatenates tensors of all replicas along axis 0; their lengths may differ.
        first_image: place of this replica's first image in the global batch, which tells pixels
            of different replicas apart.
        block_pairs: similarities to hold at a time, see `contrastive`.

    Returns:
        The loss, averaged over the anchors of the global batch, with counts.
    """
    labels, hard, priority = (
        tf.concat([_flatten_pixels(maps) for maps in parts], axis=0)
        for parts in zip(*((part.labels, part.hard, part.priority) for part in sets), strict=True)
    )
    labels = tf.cast(labels, tf.int32)
    if skip_class_0:
        labels = tf.where(labels == 0, IGNORE, labels)
    samples = sample_pixels(
        labels,
        hard,
        priority,
        num_classes=num_classes,
        count=count,
        min_pixels=min_pixels,
        fill_up=fill_up,
    )
    # Only places that were filled, so that absent classes cost nothing in the products below.
    filled = tf.cast(tf.where(samples.taken), tf.int32)
    image, classes = filled[:, 0], filled[:, 1]
    pixel = image * labels.shape[1] + tf.boolean_mask(samples.index, samples.taken)
    ids = tf.cast(first_image, tf.int32) * labels.shape[1] + pixel

    embedding, keys = _gather_samples(sets, pixel)
    loss = contrastive(
        embedding,
        classes,
        global_gather(keys),
        global_gather(classes),
        temperature=temperature,
        anchor_ids=ids if exclude_self else None,
        key_ids=global_gather(ids) if exclude_self else None,
        block_pairs=block_pairs,
    )
    num_anchors = global_sum(tf.cast(tf.size(classes), loss.dtype))
    return ContrastResult(
        loss=scale * tf.reduce_sum(loss) / tf.maximum(num_anchors, 1),
        anchors_per_class=tf.math.bincount(classes, minlength=num_classes, maxlength=num_classes),
        hard_anchors=tf.reduce_sum(tf.cast(samples.hard, tf.int32)),
    )


def _gather_samples(
    sets: Sequence[ContrastInputs], pixel: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the student embeddings and the keys of pixels, `(N, D)` each.

    Args:
        sets: one or two sets.
        pixel: `(N,)` int32, pixels numbered over all sets; ascending from set to set.
    """
    # Sets that share their maps have to share this tensor too, or each has a gradient of its size.
    flat = {id(part.embedding): _pixel_rows(part.embedding) for part in sets}
    embedding, keys, first = [], [], 0
    for part in sets:
        number = math.prod(part.labels.shape)
        own = pixel[(pixel >= first) & (pixel < first + number)] - first
        keys.append(tf.gather(_pixel_rows(part.key_embedding), own))
        place = own if part.place is None else tf.gather(tf.reshape(part.place, [-1]), own)
        embedding.append(tf.gather(flat[id(part.embedding)], place))
        first += number
    return tf.concat(embedding, axis=0), tf.stop_gradient(tf.concat(keys, axis=0))


def _pixel_rows(maps: tf.Tensor) -> tf.Tensor:
    """Reshapes `(B, h, w, D)` to `(B h w, D)`."""
    return tf.reshape(maps, [-1, maps.shape[-1]])


def _flatten_pixels(x: tf.Tensor) -> tf.Tensor:
    """Reshapes `(B, h, w, ...)` to `(B, h w, ...)`."""
    return tf.reshape(x, [x.shape[0], x.shape[1] * x.shape[2], *x.shape[3:]])
