"""CutMix over labeled and unlabeled images (Section 3.2, Eq. 4)."""

from typing import NamedTuple

import tensorflow as tf

from c3tf.method.kernels import dense, rearrange
from c3tf.method.kernels.dense import Wide
from c3tf.method.kernels.grid import FeatureGrid

# The rectangle covers this share of the image (supplement, Table 1: prop_range = 0.5).
AREA = 0.5


class MixPlan(NamedTuple):
    """Pairs of images and their rectangles, in groups of g labeled and g unlabeled images.

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


def origins(plan: MixPlan) -> tuple[tf.Tensor, tf.Tensor]:
    """Tells which two images each mixed image is made of.

    Args:
        plan: whom to mix.

    Returns:
        `(2 B,)` int32 twice, in the order of the mixed images: the image outside of the rectangle
        and the one inside it, the labeled ones numbered from 0 and the unlabeled ones from B.
    """
    outside = _image_at(plan)
    return tuple(tf.reshape(image, [-1]) for image in (outside, _partner(outside)))


def mix(labeled: tf.Tensor, unlabeled: tf.Tensor, plan: MixPlan | None) -> tf.Tensor:
    """Mixes labeled and unlabeled images pairwise, both ways round (Eq. 4).

    Every pixel of every image is in one mixed image, so M * a + (1 - M) * b of all pairs
    (`plain.mix`) is one permutation of pixels.

    Args:
        labeled: `(B, H, W, K)`.
        unlabeled: `(B, H, W, K)`, of the same dtype.
        plan: whom to mix, `B = G * g`; None leaves the images as they are.

    Returns:
        `(2 B, H, W, K)`: per group g images with the partner's pixels inside the rectangle, then
        their g complements. Without a plan, the labeled images and then the unlabeled ones.
    """
    images = tf.concat([labeled, unlabeled], axis=0)
    if plan is None:
        return images
    grid = images.shape[1:3]
    return rearrange.permute_pixels(
        images, lambda: sources(plan, *grid), lambda: places(plan, *grid)
    )


def unmix(mixed: tf.Tensor, plan: MixPlan | None) -> tuple[tf.Tensor, tf.Tensor]:
    """Puts what belongs to each image together again: the inverse of `mix`.

    Args:
        mixed: `(2 B, h, w, K)`, e.g. predictions for mixed images.
        plan: the plan that mixed them, its boxes in pixels of `mixed` (`on_grid`).

    Returns:
        The parts of the labeled and of the unlabeled images, `(B, h, w, K)` each.
    """
    if plan is not None:
        grid = mixed.shape[1:3]
        mixed = rearrange.permute_pixels(
            mixed, lambda: places(plan, *grid), lambda: sources(plan, *grid)
        )
    return tuple(tf.split(mixed, 2, axis=0))


def unmix_resized(
    mixed: tf.Tensor, plan: MixPlan | None, height: int, width: int, align_corners: bool = False
) -> tuple[Wide, Wide]:
    """Resizes maps bilinearly and takes them apart at the new size.

    Made in full, equal to `unmix(bilinear(mixed, height, width), plan)`.

    Args:
        mixed: `(2 B, h, w, K)` floating.
        plan: the plan that mixed the images; None where they are not mixed.
        height: image height, pixels.
        width: image width, pixels.
        align_corners: as for `resize.bilinear`.

    Returns:
        The parts of the labeled and of the unlabeled images, B each, yet to be made.
    """
    if plan is None:
        labeled, unlabeled = (
            dense.resized(part, height, width, align_corners) for part in tf.split(mixed, 2, axis=0)
        )
        return labeled, unlabeled
    return rearrange.unmix_resized(mixed, *_mixed_rows(plan), height, width, align_corners)


def on_grid(plan: MixPlan | None, grid: FeatureGrid) -> MixPlan | None:
    """Converts a plan from pixels to features; None stays None."""
    return None if plan is None else plan._replace(boxes=grid.boxes(plan.boxes))


def sources(plan: MixPlan, height: int, width: int) -> tf.Tensor:
    """Tells which pixel of the images each pixel of the mixed images shows.

    Args:
        plan: whom to mix.
        height: rows of the maps that are mixed; the plan's boxes are in their pixels.
        width: columns likewise.

    Returns:
        `(2 B, height, width)` int32: pixels of the labeled and then of the unlabeled images,
        numbered image by image and row by row.
    """
    boxes = tf.concat([plan.boxes, plan.boxes], axis=1)
    return rearrange.exchanged(*origins(plan), boxes, height, width)


def places(plan: MixPlan, height: int, width: int) -> tf.Tensor:
    """Tells where each pixel of the images lies in the mixed images: the inverse of `sources`.

    Args:
        plan: whom to mix.
        height: rows of the maps that are mixed; the plan's boxes are in their pixels.
        width: columns likewise.

    Returns:
        `(2 B, height, width)` int32: for the labeled and then the unlabeled images, pixels of the
        mixed images, numbered image by image and row by row.
    """
    return rearrange.exchanged(*_mixed_rows(plan), height, width)


def _mixed_rows(plan: MixPlan) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns for each image its mixed image and that image's complement, and its rectangle.

    `(2 B,)`, `(2 B,)` int32 and `(2 B, 4)`, for the labeled and then the unlabeled images.
    """
    groups, size = plan.order.shape
    mixed = tf.reshape(tf.range(groups * size), [groups, size])
    boxes = tf.concat([plan.boxes, plan.boxes], axis=1)
    # Everything so far stands in the order of the mixed images.
    back = tf.math.invert_permutation(origins(plan)[0])
    own, partner = (tf.gather(tf.reshape(x, [-1]), back) for x in (mixed, _partner(mixed)))
    return own, partner, tf.gather(tf.reshape(boxes, [-1, 4]), back)


def _image_at(plan: MixPlan) -> tf.Tensor:
    """Returns `(G, 2 g)` int32: the image at each place, among the labeled and unlabeled ones."""
    groups, size = plan.order.shape
    half = size // 2
    group = tf.range(groups)[:, None]
    return tf.where(
        plan.order < half,
        group * half + plan.order,
        (groups + group - 1) * half + plan.order,
    )


def _partner(at_place: tf.Tensor) -> tf.Tensor:
    """Returns what stands at the place that each place of `(G, 2 g)` is mixed with."""
    return tf.roll(at_place, at_place.shape[1] // 2, axis=1)
