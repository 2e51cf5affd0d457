"""CutMix over labeled and unlabeled images (Section 3.2, Eq. 4)."""

from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from c3tf.method.kernels.resize import bilinear, interpolation_matrix

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
    return _rearrange_pixels(images, lambda: sources(plan, *grid), lambda: places(plan, *grid))


def unmix(mixed: tf.Tensor, plan: MixPlan | None) -> tuple[tf.Tensor, tf.Tensor]:
    """Puts what belongs to each image together again: the inverse of `mix`.

    Args:
        mixed: `(2 B, h, w, K)`, e.g. predictions for mixed images.
        plan: the plan that mixed them, its boxes in pixels of `mixed` (`FeatureGrid.boxes`).

    Returns:
        The parts of the labeled and of the unlabeled images, `(B, h, w, K)` each.
    """
    if plan is not None:
        grid = mixed.shape[1:3]
        mixed = _rearrange_pixels(mixed, lambda: places(plan, *grid), lambda: sources(plan, *grid))
    return tuple(tf.split(mixed, 2, axis=0))


def unmix_resized(
    mixed: tf.Tensor, plan: MixPlan | None, height: int, width: int, align_corners: bool = False
) -> tuple[tf.Tensor, tf.Tensor]:
    """Resizes maps bilinearly and takes them apart at the new size.

    Equal to `unmix(bilinear(mixed, height, width), plan)`, without a pass over the large maps: once
    the columns are resized, the rows of a result are rows of two kinds, those that cross the
    rectangle and those that do not, and the product that resizes the rows chooses between them.

    Args:
        mixed: `(2 B, h, w, K)` floating.
        plan: the plan that mixed the images; None where they are not mixed.
        height: image height, pixels.
        width: image width, pixels.
        align_corners: as for `resize.bilinear`.

    Returns:
        The parts of the labeled and of the unlabeled images, `(B, height, width, K)` each.
    """
    if plan is None:
        parts = tf.split(mixed, 2, axis=0)
        return tuple(bilinear(part, height, width, align_corners) for part in parts)
    number, low, _, channels = mixed.shape
    own, partner, boxes = _mixed_rows(plan)
    top, left, box_height, box_width = tf.unstack(boxes[:, None], axis=2)
    crosses = tf.cast(_within(tf.range(height), top, box_height), mixed.dtype)[..., None]
    inside = _within(tf.repeat(tf.range(width), channels), left, box_width)[:, None]

    columns = interpolation_matrix(mixed.shape[2], width, align_corners)
    columns = tf.constant(columns, mixed.dtype)
    wide = tf.reshape(tf.matmul(columns, mixed), [number, low, width * channels])
    plain, other = (
        _rearrange(wide, lambda index=index: index, lambda index=index: _inverse(index))
        for index in (own, partner)
    )
    crossing = tf.where(inside, other, plain)
    rows = tf.constant(interpolation_matrix(low, height, align_corners), mixed.dtype)
    chosen = tf.concat([rows * (1 - crosses), rows * crosses], axis=2)
    kinds = tf.concat([plain, crossing], axis=1)
    return tuple(
        tf.reshape(tf.matmul(*half), [number // 2, height, width, channels])
        for half in zip(tf.split(chosen, 2), tf.split(kinds, 2), strict=True)
    )


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
    return _exchanged(*origins(plan), boxes, height, width)


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
    return _exchanged(*_mixed_rows(plan), height, width)


def _mixed_rows(plan: MixPlan) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns for each image its mixed image and that image's complement, and its rectangle.

    `(2 B,)`, `(2 B,)` int32 and `(2 B, 4)`, for the labeled and then the unlabeled images.
    """
    groups, size = plan.order.shape
    mixed = tf.reshape(tf.range(groups * size), [groups, size])
    boxes = tf.concat([plan.boxes, plan.boxes], axis=1)
    # Everything so far stands in the order of the mixed images.
    back = _inverse(origins(plan)[0])
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


def _exchanged(
    own: tf.Tensor, partner: tf.Tensor, boxes: tf.Tensor, height: int, width: int
) -> tf.Tensor:
    """Numbers the pixels of `own` images, inside the rectangles those of their `partner`."""
    own, partner = (tf.reshape(x, [-1, 1]) * (height * width) for x in (own, partner))
    top, left, box_height, box_width = tf.unstack(tf.reshape(boxes, [-1, 4])[:, None], axis=2)
    column = tf.range(width)
    plain = own + column
    crossing = tf.where(_within(column, left, box_width), partner, own) + column
    # Rows of an image are of these two kinds; looking them up is cheaper than masks of its size.
    kinds = tf.reshape(tf.stack([plain, crossing], axis=1), [-1, width])
    row = tf.range(height)
    crosses = tf.cast(_within(row, top, box_height), tf.int32)
    kind = 2 * tf.range(tf.shape(own)[0])[:, None] + crosses
    return tf.gather(kinds, kind) + row[:, None] * width


def _within(pixel: tf.Tensor, start: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    return (pixel >= start) & (pixel < start + length)


def _rearrange_pixels(
    maps: tf.Tensor, index: Callable[[], tf.Tensor], inverse: Callable[[], tf.Tensor]
) -> tf.Tensor:
    """Takes the pixels of `(N, h, w, K)` at an index `(N, h, w)` that is a permutation."""
    pixels = _rearrange(
        tf.reshape(maps, [-1, maps.shape[-1]]),
        lambda: tf.reshape(index(), [-1]),
        lambda: tf.reshape(inverse(), [-1]),
    )
    return tf.reshape(pixels, maps.shape)


def _rearrange(
    maps: tf.Tensor, index: Callable[[], tf.Tensor], inverse: Callable[[], tf.Tensor]
) -> tf.Tensor:
    """Takes the rows of `maps` at an index that is a permutation of them, with its gradient.

    One pass over the maps in each direction: the gradient of a permutation is the inverse one,
    where that of a general gather adds up.
    """

    @tf.custom_gradient
    def gather(maps: tf.Tensor) -> tuple:
        def backward(upstream: tf.Tensor) -> tf.Tensor:
            return tf.gather(tf.convert_to_tensor(upstream), inverse())

        return tf.gather(maps, index()), backward

    return gather(maps)


def _inverse(permutation: tf.Tensor) -> tf.Tensor:
    return tf.math.invert_permutation(permutation)
