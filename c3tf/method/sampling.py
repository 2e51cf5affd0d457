"""Segmentation-aware sampling of pixels for the contrastive loss (Section 3.3)."""

from typing import NamedTuple

import tensorflow as tf

from c3tf.labels import IGNORE

# Levels of priority that a sort key tells apart: with two kinds for each of up to 254 classes and
# one for ignored pixels, keys stay below 2^31.
_PRIORITIES = 2**22


class Samples(NamedTuple):
    """Sampled pixels, K per image and class, where there are so many.

    Attributes:
        index: `(B, C, K)` int32, positions among the N pixels of the image.
        taken: `(B, C, K)` bool, false for places that stayed empty.
        hard: `(B, C, K)` bool, whether the sample is one of the hard pixels.
    """

    index: tf.Tensor
    taken: tf.Tensor
    hard: tf.Tensor


def sample_pixels(
    labels: tf.Tensor,
    hard: tf.Tensor,
    priority: tf.Tensor,
    *,
    num_classes: int,
    count: int,
    min_pixels: int = 1,
    fill_up: bool = True,
) -> Samples:
    """Draws pixels of every class in every image, half of them hard.

    Where one kind is short, the other fills up; where a class has fewer than `count` pixels, all
    of them are taken. Without filling up, each kind gives at most its half.

    Args:
        labels: `(B, N)` integer class of each pixel, `IGNORE` for pixels that cannot be drawn.
        hard: `(B, N)` bool, the pixels whose segmentation is wrong; all false for random sampling.
        priority: `(B, N)` float32 in [0, 1), independent; of two pixels of a kind the one with
            the lower number is drawn first.
        num_classes: C.
        count: K, samples per class and image.
        min_pixels: a class with fewer pixels in an image is not sampled there.
        fill_up: take more of one kind where the other is short.

    Returns:
        The samples.
    """
    # One sort per image puts the pixels in order of class, then hard before easy, then priority.
    kind = tf.where(
        labels == IGNORE, 2 * num_classes, 2 * tf.cast(labels, tf.int32) + tf.cast(~hard, tf.int32)
    )
    # The key is an integer because a float would round the highest priorities up to the next kind.
    rank = tf.cast(priority * _PRIORITIES, tf.int32)
    order = tf.argsort(kind * _PRIORITIES + rank, axis=1, stable=True)
    counts = tf.math.bincount(kind, minlength=2 * num_classes, maxlength=2 * num_classes, axis=-1)
    starts = tf.reshape(tf.cumsum(counts, axis=1, exclusive=True), [-1, num_classes, 2])
    counts = tf.reshape(counts, [-1, num_classes, 2])

    num_hard, num_easy = counts[..., 0], counts[..., 1]
    sampled = num_hard + num_easy >= min_pixels
    half = count // 2
    take_hard = tf.minimum(num_hard, tf.maximum(half, count - num_easy) if fill_up else half)
    take_easy = tf.minimum(num_easy, count - (take_hard if fill_up else half))
    place = tf.range(count)
    is_hard = place < take_hard[..., None]
    position = tf.where(
        is_hard, starts[..., :1] + place, starts[..., 1:] + place - take_hard[..., None]
    )
    taken = (place < (take_hard + take_easy)[..., None]) & sampled[..., None]
    position = tf.where(taken, position, 0)
    index = tf.gather(order, tf.reshape(position, [tf.shape(position)[0], -1]), batch_dims=1)
    return Samples(tf.reshape(index, tf.shape(position)), taken, is_hard & taken)
