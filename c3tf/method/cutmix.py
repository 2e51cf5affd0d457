"""CutMix over labeled and unlabeled images (Section 3.2, Eq. 4)."""

from typing import NamedTuple

import tensorflow as tf

# The rectangle covers this share of the image (supplement, Table 1: prop_range = 0.5).
AREA = 0.5


class MixPlan(NamedTuple):
    """Who is mixed with whom, and where, in groups of g labeled and g unlabeled images.

    Attributes:
        order: `(G, 2 g)` int32, for each group a permutation of its images: 0 to g - 1 are the
            labeled ones, g to 2 g - 1 the unlabeled ones. The image at place i is mixed with the
            one at place g + i.
        boxes: `(G, g, 4)` int32, per pair the rectangle: top, left, height, width in pixels.
    """

    order: tf.Tensor
    boxes: tf.Tensor


def boxes_from_uniform(uniform: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Turns uniform numbers into rectangles of half the image (supplement, Section 1).

    The height is `AREA^u` of the image's, the width such that the area is `AREA`, the position
    uniform inside the image.

    Args:
        uniform: `(..., 3)` in [0, 1): aspect, vertical and horizontal position.
        height: image height, pixels.
        width: image width, pixels.

    Returns:
        `(..., 4)` int32: top, left, height, width.
    """
    uniform = tf.cast(uniform, tf.float64)
    tall = tf.pow(tf.constant(AREA, tf.float64), uniform[..., 0])
    box_height = tf.round(tall * height)
    box_width = tf.round(AREA / tall * width)
    top = tf.round((height - box_height) * uniform[..., 1])
    left = tf.round((width - box_width) * uniform[..., 2])
    return tf.cast(tf.stack([top, left, box_height, box_width], axis=-1), tf.int32)


def draw_order(uniform: tf.Tensor, mixing: str) -> tf.Tensor:
    """Turns uniform numbers into the permutations of a `MixPlan` (Table 6).

    Args:
        uniform: `(G, 2 g)`, independent numbers; g must be even for `"intra_set"`.
        mixing: `"cross_set"` shuffles labeled and unlabeled images together; `"intra_set"` pairs
            labeled images with labeled ones and unlabeled images with unlabeled ones.

    Returns:
        `(G, 2 g)` int32.

    Raises:
        ValueError: `mixing` is neither.
    """
    if mixing == "cross_set":
        return tf.argsort(uniform, axis=1, stable=True)
    if mixing == "intra_set":
        half = uniform.shape[1] // 2
        labeled = tf.argsort(uniform[:, :half], axis=1, stable=True)
        unlabeled = half + tf.argsort(uniform[:, half:], axis=1, stable=True)
        quarter = half // 2
        return tf.concat(
            [
                labeled[:, :quarter],
                unlabeled[:, :quarter],
                labeled[:, quarter:],
                unlabeled[:, quarter:],
            ],
            axis=1,
        )
    raise ValueError(f"`mixing` must be 'cross_set' or 'intra_set'. Received: mixing={mixing!r}")


def inside_boxes(boxes: tf.Tensor, height: int, width: int, stride: int = 1) -> tf.Tensor:
    """Draws the rectangles as masks, at the images' size or on a coarser grid.

    Args:
        boxes: `(G, g, 4)` int32: top, left, height, width in image pixels.
        height: rows of the mask.
        width: columns of the mask.
        stride: image pixels per cell of the mask; a cell belongs to the rectangle when the pixel
            at its centre does, as `resize.nearest_grid` takes it.

    Returns:
        `(G, g, height, width, 1)` bool, true inside.
    """
    rows = tf.range(height) * stride + stride // 2
    columns = tf.range(width) * stride + stride // 2
    top, left, box_height, box_width = tf.unstack(boxes[..., None], axis=2)
    in_rows = (rows >= top) & (rows < top + box_height)
    in_columns = (columns >= left) & (columns < left + box_width)
    return (in_rows[..., :, None] & in_columns[..., None, :])[..., None]


def mix(labeled: tf.Tensor, unlabeled: tf.Tensor, plan: MixPlan | None) -> tf.Tensor:
    """Mixes labeled and unlabeled images pairwise, both ways round (Eq. 4).

    Args:
        labeled: `(B, H, W, K)`.
        unlabeled: `(B, H, W, K)`, of the same dtype.
        plan: whom to mix, `B = G * g`; None leaves the images as they are.

    Returns:
        `(2 B, H, W, K)`: per group g images with the partner's pixels inside the rectangle, then
        their g complements. Without a plan, the labeled images and then the unlabeled ones.
    """
    if plan is None:
        return tf.concat([labeled, unlabeled], axis=0)
    groups, places = plan.order.shape
    grouped = _in_groups(labeled, unlabeled, groups)
    grouped = tf.gather(grouped, plan.order, batch_dims=1)
    mixed = _exchange(grouped, inside_boxes(plan.boxes, *labeled.shape[1:3]))
    return tf.reshape(mixed, [groups * places, *labeled.shape[1:]])


def unmix(mixed: tf.Tensor, plan: MixPlan | None, stride: int = 1) -> tuple[tf.Tensor, tf.Tensor]:
    """Puts what belongs to each image together again: the inverse of `mix`.

    Args:
        mixed: `(2 B, h, w, K)`, e.g. predictions for mixed images.
        plan: the plan that mixed them.
        stride: image pixels per pixel of `mixed`.

    Returns:
        The parts of the labeled and of the unlabeled images, `(B, h, w, K)` each.
    """
    if plan is None:
        return tuple(tf.split(mixed, 2, axis=0))
    groups, places = plan.order.shape
    grouped = tf.reshape(mixed, [groups, places, *mixed.shape[1:]])
    # Exchanging twice changes nothing, so mixing is undone by mixing.
    grouped = _exchange(grouped, inside_boxes(plan.boxes, *mixed.shape[1:3], stride))
    grouped = tf.gather(grouped, tf.argsort(plan.order, axis=1), batch_dims=1)
    half = places // 2
    shape = [groups * half, *mixed.shape[1:]]
    return tf.reshape(grouped[:, :half], shape), tf.reshape(grouped[:, half:], shape)


def _in_groups(labeled: tf.Tensor, unlabeled: tf.Tensor, groups: int) -> tf.Tensor:
    shape = [groups, labeled.shape[0] // groups, *labeled.shape[1:]]
    return tf.concat([tf.reshape(labeled, shape), tf.reshape(unlabeled, shape)], axis=1)


def _exchange(grouped: tf.Tensor, inside: tf.Tensor) -> tf.Tensor:
    """Swaps the insides of the images at places i and g + i."""
    first, second = tf.split(grouped, 2, axis=1)
    return tf.concat([tf.where(inside, second, first), tf.where(inside, first, second)], axis=1)
