"""Mixing of unlabeled images with each other: who is pasted where, by a mask of any shape."""

import tensorflow as tf

from c3tf.method.kernels import rearrange


def next_of_group(maps: tf.Tensor, group: int) -> tf.Tensor:
    """Returns in the place of every image the next one of its mix group, the first after the last.

    Args:
        maps: `(B, ...)`, whole groups.
        group: images per group; it divides B.

    Returns:
        `(B, ...)`. The batch is shuffled, so the next image is any other one.
    """
    grouped = tf.reshape(maps, [-1, group, *maps.shape[1:]])
    return tf.reshape(tf.roll(grouped, -1, axis=1), maps.shape)


def paste(mask: tf.Tensor, inside: tf.Tensor, outside: tf.Tensor) -> tf.Tensor:
    """Computes M * inside + (1 - M) * outside.

    Args:
        mask: `(B, H, W)` bool, M.
        inside: `(B, H, W)` or `(B, H, W, K)`.
        outside: likewise.

    Returns:
        As they are.
    """
    return tf.where(mask if inside.shape.rank == 3 else mask[..., None], inside, outside)


def rectangles(boxes: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Returns the masks of rectangles.

    Args:
        boxes: `(B, 4)` int32: top, left, height, width in pixels.
        height: image height, pixels.
        width: image width, pixels.

    Returns:
        `(B, height, width)` bool, True inside.
    """
    top, left, box_height, box_width = tf.unstack(boxes[:, None], axis=2)
    rows = rearrange.within(tf.range(height), top, box_height)
    columns = rearrange.within(tf.range(width), left, box_width)
    return rows[:, :, None] & columns[:, None, :]


def half_of_classes(predicted: tf.Tensor, valid: tf.Tensor, uniform: tf.Tensor) -> tf.Tensor:
    """Returns the masks of half of the classes of every image: n // 2 of the n that are there.

    Args:
        predicted: `(B, H, W)` int32 classes.
        valid: `(B, H, W)` bool, the pixels that belong to the image; the others are in no mask.
        uniform: `(B, C)` independent random numbers in [0, 1); the classes with the lowest are
            chosen.

    Returns:
        `(B, H, W)` bool. Nothing of an image of one class.
    """
    count, num_classes = uniform.shape
    cell = predicted + num_classes * tf.range(count)[:, None, None]
    cell = tf.reshape(tf.where(valid, cell, count * num_classes), [-1])
    cells = count * num_classes + 1
    pixels = tf.math.bincount(cell, minlength=cells, maxlength=cells)[:-1]
    present = tf.reshape(pixels, [count, num_classes]) > 0
    half = tf.math.count_nonzero(present, axis=1, keepdims=True, dtype=tf.int32) // 2
    # The place of every class among those that are there, which come before the others.
    order = tf.argsort(tf.where(present, uniform, 1), axis=1, stable=True)
    chosen = present & (tf.argsort(order, axis=1) < half)
    return tf.gather(chosen, predicted, batch_dims=1) & valid


def boxes_of_area(
    uniform: tf.Tensor,
    height: int,
    width: int,
    *,
    areas: tuple[float, float],
    aspects: tuple[float, float],
) -> tf.Tensor:
    """Turns uniform numbers into rectangles of drawn area and aspect anywhere inside the image.

    Area, aspect and position are drawn together until the rectangle lies inside: the first trial
    that does is taken.

    Args:
        uniform: `(..., T, 4)` in [0, 1), T trials: area, aspect, vertical and horizontal position.
        height: image height, pixels.
        width: image width, pixels.
        areas: least and largest share of the image's area.
        aspects: least and largest height by width.

    Returns:
        `(..., 4)` int32: top, left, height, width. Empty where no trial lies inside.
    """
    u = tf.unstack(tf.cast(uniform, tf.float64), axis=-1)
    area = (areas[0] + (areas[1] - areas[0]) * u[0]) * height * width
    aspect = aspects[0] + (aspects[1] - aspects[0]) * u[1]
    sizes = tf.sqrt(area * aspect), tf.sqrt(area / aspect)
    box_height, box_width = (tf.cast(size, tf.int32) for size in sizes)
    top, left = (tf.cast(u[2] * height, tf.int32), tf.cast(u[3] * width, tf.int32))
    inside = (top + box_height <= height) & (left + box_width <= width)
    boxes = tf.stack([top, left, box_height, box_width], axis=-1)
    first = tf.argmax(inside, axis=-1, output_type=tf.int32)
    box = tf.gather(boxes, first, batch_dims=first.shape.rank)
    return tf.where(tf.reduce_any(inside, axis=-1, keepdims=True), box, 0)
