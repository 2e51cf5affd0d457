"""Permutations of pixels in one pass each way: CutMix of whole batches as a gather."""

from collections.abc import Callable

import tensorflow as tf

from c3tf.method.kernels import dense
from c3tf.method.kernels.dense import Wide
from c3tf.method.kernels.resize import interpolation_matrix


def exchanged(
    own: tf.Tensor, partner: tf.Tensor, boxes: tf.Tensor, height: int, width: int
) -> tf.Tensor:
    """Numbers the pixels of `own` images, inside the rectangles those of their `partner`.

    Args:
        own: N image numbers, int32 of any shape.
        partner: as many.
        boxes: as many rectangles, `(..., 4)` int32: top, left, height, width.
        height: rows of the maps.
        width: columns of the maps.

    Returns:
        `(N, height, width)` int32; pixels are numbered image by image and row by row.
    """
    own, partner = (tf.reshape(x, [-1, 1]) * (height * width) for x in (own, partner))
    top, left, box_height, box_width = tf.unstack(tf.reshape(boxes, [-1, 4])[:, None], axis=2)
    column = tf.range(width)
    plain = own + column
    crossing = tf.where(within(column, left, box_width), partner, own) + column
    # Rows of an image are of these two kinds; looking them up is cheaper than masks of its size.
    kinds = tf.reshape(tf.stack([plain, crossing], axis=1), [-1, width])
    row = tf.range(height)
    crosses = tf.cast(within(row, top, box_height), tf.int32)
    kind = 2 * tf.range(tf.shape(own)[0])[:, None] + crosses
    return tf.gather(kinds, kind) + row[:, None] * width


def permute_pixels(
    maps: tf.Tensor, index: Callable[[], tf.Tensor], inverse: Callable[[], tf.Tensor]
) -> tf.Tensor:
    """Takes the pixels of `(N, h, w, K)` at an index `(N, h, w)` that is a permutation."""
    pixels = _rearrange(
        tf.reshape(maps, [-1, maps.shape[-1]]),
        lambda: tf.reshape(index(), [-1]),
        lambda: tf.reshape(inverse(), [-1]),
    )
    return tf.reshape(pixels, maps.shape)


def unmix_resized(
    mixed: tf.Tensor,
    own: tf.Tensor,
    partner: tf.Tensor,
    boxes: tf.Tensor,
    height: int,
    width: int,
    align_corners: bool,
) -> tuple[Wide, Wide]:
    """Prepares resizing mixed maps bilinearly and taking them apart at the new size.

    Once the columns are resized, the rows of a result are rows of two kinds, those that cross the
    rectangle and those that do not, and the product that resizes the rows chooses between them.

    Args:
        mixed: `(N, h, w, K)` floating; the results are those of N images, halved.
        own: `(N,)` int32, the mixed image that each image is in outside of its rectangle.
        partner: `(N,)` int32, the one that it is in inside of it.
        boxes: `(N, 4)` int32 rectangles in pixels of the results.
        height: rows of the results.
        width: columns of the results.
        align_corners: as for `resize.bilinear`.

    Returns:
        Two times `N / 2` maps.
    """
    top, left, box_height, box_width = tf.unstack(boxes[:, None], axis=2)
    crosses = tf.cast(within(tf.range(height), top, box_height), mixed.dtype)[..., None]
    inside = within(tf.range(width), left, box_width)[:, None, None]
    wide = dense.widen(mixed, width, align_corners)

    def rearranged(index: tf.Tensor) -> tf.Tensor:
        return _rearrange(wide, lambda: index, lambda: tf.math.invert_permutation(index))

    plain, other = rearranged(own), rearranged(partner)
    crossing = tf.where(inside, other, plain)
    rows = tf.constant(interpolation_matrix(mixed.shape[1], height, align_corners), mixed.dtype)
    chosen = tf.concat([rows * (1 - crosses), rows * crosses], axis=2)
    kinds = tf.concat([plain, crossing], axis=1)
    (first_rows, second_rows), (first, second) = tf.split(chosen, 2), tf.split(kinds, 2)
    return Wide(first_rows, first), Wide(second_rows, second)


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


def within(pixel: tf.Tensor, start: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Tells which rows or columns lie in a rectangle's side, `start` to `start + length - 1`."""
    return (pixel >= start) & (pixel < start + length)
