"""The method's costly parts in plain TensorFlow, as the equations have them, without any economy.

The oracle of the kernels in `c3tf.method`, differentiated by TensorFlow, and what
`benchmarks/method_cost.py` times beside them.
"""

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from c3tf.labels import IGNORE
from c3tf.method.contrast import ContrastInputs
from c3tf.method.sampling import sample_pixels


def update_thresholds(thresholds, confidence, predicted, valid, *, ratio, decay):
    """Eq. 6 by sorting every class's confidences."""
    updated = []
    for c, old in enumerate(tf.unstack(thresholds)):
        own = tf.boolean_mask(confidence, valid & (predicted == c))
        number = tf.size(own)
        descending = tf.sort(own, direction="DESCENDING")
        position = tf.cast(tf.cast(number, tf.float64) * ratio, tf.int32)
        element = tf.reduce_sum(descending[position : position + 1])
        updated.append(tf.where(number > 0, decay * old + (1 - decay) * element, old))
    return tf.stack(updated)


def confident_region(thresholds, probabilities, valid, *, ratio, decay):
    """Thresholds of this step, and the pixels that reach them."""
    confidence = tf.reduce_max(probabilities, axis=-1)
    predicted = tf.argmax(probabilities, axis=-1, output_type=tf.int32)
    thresholds = update_thresholds(
        thresholds, confidence, predicted, valid, ratio=ratio, decay=decay
    )
    return thresholds, valid & (confidence >= tf.gather(thresholds, predicted))


def contrastive(
    anchors, anchor_classes, keys, key_classes, *, temperature, anchor_ids=None, key_ids=None
):
    """The bracket of Eq. 5 with every similarity in memory."""
    anchors = tf.math.l2_normalize(anchors, axis=-1)
    keys = tf.stop_gradient(tf.math.l2_normalize(keys, axis=-1))
    similarity = tf.matmul(anchors, keys, transpose_b=True) / temperature
    same = anchor_classes[:, None] == key_classes[None, :]
    nothing = tf.constant(-1e9, similarity.dtype)
    log_negatives = tf.reduce_logsumexp(tf.where(same, nothing, similarity), axis=1, keepdims=True)
    positive = same
    if anchor_ids is not None:
        positive &= anchor_ids[:, None] != key_ids[None, :]
    pair_loss = tf.where(positive, tf.nn.softplus(log_negatives - similarity), 0)
    count = tf.reduce_sum(tf.cast(positive, similarity.dtype), axis=1)
    return tf.reduce_sum(pair_loss, axis=1) / tf.maximum(count, 1)


def pixel_contrast(sets: Sequence[ContrastInputs], *, num_classes, count, temperature):
    """The mean of Eq. 5 over sampled pixels; maps are taken apart and put together first."""
    embedding, key_embedding, labels, hard, priority = (
        tf.concat([_flatten_pixels(maps) for maps in parts], axis=0)
        for parts in zip(*(part[:5] for part in sets), strict=True)
    )
    samples = sample_pixels(labels, hard, priority, num_classes=num_classes, count=count)
    filled = tf.where(samples.taken)
    index = tf.cast(tf.boolean_mask(samples.index, samples.taken), filled.dtype)
    pixel = tf.stack([filled[:, 0], index], axis=1)
    classes = tf.cast(filled[:, 1], tf.int32)
    anchors, keys = tf.gather_nd(embedding, pixel), tf.gather_nd(key_embedding, pixel)
    losses = contrastive(anchors, classes, keys, classes, temperature=temperature)
    return tf.reduce_sum(losses) / tf.cast(tf.size(classes), losses.dtype)


def _flatten_pixels(maps):
    return tf.reshape(maps, [maps.shape[0], -1, *maps.shape[3:]])


def inside_boxes(boxes, height, width, stride=1):
    """Masks `(G, g, height, width, 1)` of rectangles, on the images' grid or a coarser one."""
    rows = tf.range(height) * stride + stride // 2
    columns = tf.range(width) * stride + stride // 2
    top, left, box_height, box_width = tf.unstack(boxes[..., None], axis=2)
    in_rows = (rows >= top) & (rows < top + box_height)
    in_columns = (columns >= left) & (columns < left + box_width)
    return (in_rows[..., :, None] & in_columns[..., None, :])[..., None]


def mix(labeled, unlabeled, plan):
    """Eq. 4 by selecting with masks."""
    groups, size = plan.order.shape
    shape = [groups, size // 2, *labeled.shape[1:]]
    grouped = tf.concat([tf.reshape(x, shape) for x in (labeled, unlabeled)], axis=1)
    placed = tf.gather(grouped, plan.order, batch_dims=1)
    inside = inside_boxes(plan.boxes, *labeled.shape[1:3])
    return tf.reshape(_exchange(placed, inside), [groups * size, *labeled.shape[1:]])


def unmix(mixed, plan, stride=1):
    """The inverse of `mix`, on the images' grid or a coarser one."""
    groups, size = plan.order.shape
    placed = tf.reshape(mixed, [groups, size, *mixed.shape[1:]])
    placed = _exchange(placed, inside_boxes(plan.boxes, *mixed.shape[1:3], stride))
    grouped = tf.gather(placed, tf.argsort(plan.order, axis=1), batch_dims=1)
    shape = [groups * size // 2, *mixed.shape[1:]]
    return tuple(tf.reshape(half, shape) for half in tf.split(grouped, 2, axis=1))


def _exchange(placed, inside):
    first, second = tf.split(placed, 2, axis=1)
    return tf.concat([tf.where(inside, second, first), tf.where(inside, first, second)], axis=1)


def random_labels(
    rng: np.random.Generator, shape: tuple[int, ...], num_classes: int, present: int
) -> np.ndarray:
    """Draws labels `(B, h, w)` of which each image shows some classes, and a tenth is ignored."""
    labels = np.stack(
        [rng.choice(rng.permutation(num_classes)[:present], shape[1:]) for _ in range(shape[0])]
    )
    return np.where(rng.random(shape) < 0.1, IGNORE, labels).astype(np.int32)
