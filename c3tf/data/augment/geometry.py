"""The geometric draw of one image: flip, rotation, scale and crop as a single mapping.

The draw comes before any pixel is touched: it says which window of the image the view reads, so
a caller can decode only that window, and `warp` computes only the pixels of the crop, in one pass,
for the image, the label and the valid mask alike.

Order of the parts, as seen from the image: flip, scaling, crop, and the rotation either before
them all, about the image's centre, or after them, about the crop's. Coordinates are continuous,
pixel `i` covers `[i, i + 1)`, as in Pillow.
"""

import dataclasses
import math
import numbers
from typing import NamedTuple

import tensorflow as tf

from c3tf.config import AugmentConfig

ROTATION_ORDERS = ("first", "last")


@dataclasses.dataclass(frozen=True)
class GeometryOptions:
    """The geometric part of a weak view (supplement, Table 1).

    Attributes:
        crop_size: height and width of the view in pixels.
        flip: mirror left and right with probability 0.5.
        max_degrees: rotation is uniform within plus or minus this angle, 0 (none) to 90.
        integer_degrees: draw whole degrees only, as the authors' code; `max_degrees` is then
            a whole number.
        scales: factors to draw from with equal probability; empty means the image's own scale.
        rotation_order: `"first"` turns the image, so that the crop finds content in its corners
            except near the image's border; `"last"` turns the crop, which leaves its corners
            empty.
    """

    crop_size: tuple[int, int]
    flip: bool
    max_degrees: float
    integer_degrees: bool
    scales: tuple[float, ...]
    rotation_order: str

    @classmethod
    def of(cls, augment: AugmentConfig, *, labeled: bool) -> "GeometryOptions":
        """Takes a configuration's options for labeled or for unlabeled images."""
        order = augment.rotation_order
        if order == "authors":
            order = "last" if labeled else "first"
        return cls(
            crop_size=(augment.crop_height, augment.crop_width),
            flip=augment.flip,
            max_degrees=augment.max_rotation,
            integer_degrees=augment.integer_degrees,
            scales=augment.scales if labeled or augment.scale_unlabeled else (),
            rotation_order=order,
        )

    def __post_init__(self) -> None:
        whole = all(isinstance(v, numbers.Integral) and v > 0 for v in self.crop_size)
        if len(self.crop_size) != 2 or not whole:
            raise ValueError(
                "`crop_size` must be two positive whole numbers, height and width. "
                f"Received: crop_size={self.crop_size}"
            )
        if not 0 <= self.max_degrees <= 90:
            raise ValueError(
                f"`max_degrees` must be 0 to 90. Received: max_degrees={self.max_degrees}"
            )
        if self.integer_degrees and self.max_degrees != int(self.max_degrees):
            raise ValueError(
                "`max_degrees` must be a whole number when `integer_degrees` is on. "
                f"Received: max_degrees={self.max_degrees}"
            )
        if not all(math.isfinite(scale) and scale > 0 for scale in self.scales):
            raise ValueError(
                f"`scales` must be positive, or empty for none. Received: scales={self.scales}"
            )
        if self.rotation_order not in ROTATION_ORDERS:
            raise ValueError(
                f"`rotation_order` must be one of {ROTATION_ORDERS}. "
                f"Received: rotation_order={self.rotation_order!r}"
            )

    @property
    def resamples(self) -> bool:
        """Says whether views are interpolated; if not, they are exact copies of pixels."""
        return self.max_degrees > 0 or any(scale != 1 for scale in self.scales)

    @property
    def window_limit(self) -> tuple[int, int]:
        """Height and width that no drawn window exceeds, whatever the image's size."""
        height, width = self.crop_size
        if not self.resamples:
            return height, width
        zoom = min(self.scales, default=1.0)
        if self.rotation_order == "last":
            return math.ceil(height / zoom) + 2, math.ceil(width / zoom) + 2

        def reach(along: int, across: int) -> int:
            # The extent of a turned rectangle is largest at this angle, or at the largest drawn.
            angle = min(math.atan2(across, along), math.radians(self.max_degrees))
            extent = along * math.cos(angle) + across * math.sin(angle)
            return math.ceil(extent / zoom) + 3

        return reach(height - 1, width - 1), reach(width - 1, height - 1)


class Geometry(NamedTuple):
    """One draw, shared by an image, its label and its valid mask.

    Attributes:
        matrix: float32 `(2, 3)`. Maps the centre `(x, y, 1)` of a pixel of the view to the
            continuous `(x, y)` it is read from, counted from the window's corner.
        window: int32 `(4,)`, top, left, height, width: the pixels of the image that the view
            reads. It lies inside the image; `tf.io.decode_and_crop_jpeg` takes it as it is.
        flip: bool scalar, whether the view is mirrored (already part of `matrix`).
        limits: float32 `(4,)`, top, left, bottom, right of what the view may show, counted from
            the window's corner: the image, and when the crop is turned, the crop.
        covered: bool scalar, whether every pixel of the view lies within the limits.
    """

    matrix: tf.Tensor
    window: tf.Tensor
    flip: tf.Tensor
    limits: tf.Tensor
    covered: tf.Tensor


def draw_geometry(seed: tf.Tensor, image_size: tf.Tensor, options: GeometryOptions) -> Geometry:
    """Draws flip, rotation, scale and crop for one image.

    An image that is smaller than the crop lies in its upper left corner before the rotation.

    Args:
        seed: int32 or int64 `(2,)`.
        image_size: int32 `(2,)`, height and width of the image in pixels.
        options: what to draw.

    Returns:
        The draw; the same seed and size give the same draw.
    """
    image_size = tf.cast(image_size, tf.int32)
    # One call for all numbers: a random operation costs more than the arithmetic on its result.
    uniform = tf.unstack(tf.random.stateless_uniform([5], seed))
    flip = uniform[0] < (0.5 if options.flip else 0.0)
    degrees = _draw_degrees(uniform[1], options)
    scale = tf.constant(1.0)
    if options.scales:
        scale = tf.gather(
            tf.constant(options.scales, tf.float32), _pick(uniform[2], len(options.scales))
        )
    frame = image_size
    if options.resamples:
        frame = tf.cast(tf.floor(tf.cast(image_size, tf.float32) * scale), tf.int32)
    room = tf.maximum(frame - tf.constant(options.crop_size), 0)
    offset = tf.stack([_pick(uniform[3], room[0] + 1), _pick(uniform[4], room[1] + 1)])
    to_image = _frame_to_image(tf.cast(image_size, tf.float64), flip, scale)
    matrix = _matrix(to_image, tf.cast(image_size, tf.float64), offset, degrees, options)
    limits = _limits(to_image, image_size, offset, options)
    if options.resamples:
        window, covered = _resampled_window(matrix, limits, image_size, options)
    else:
        window = _copied_window(offset, flip, image_size, options.crop_size)
        covered = tf.reduce_all(tf.equal(window[2:], options.crop_size))
    # In double precision up to here: from now on coordinates are no larger than the window.
    corner = tf.cast(window[:2], tf.float64)
    local = tf.concat([matrix[:, :2], matrix[:, 2:] - tf.reverse(corner, [0])[:, None]], axis=1)
    limits = tf.cast(limits - tf.tile(corner, [2]), tf.float32)
    return Geometry(tf.cast(local, tf.float32), window, flip, limits, covered)


def _pick(uniform: tf.Tensor, count: tf.Tensor | int) -> tf.Tensor:
    """Turns a number in [0, 1) into one of `count` indices, int32."""
    index = tf.cast(uniform * tf.cast(count, tf.float32), tf.int32)
    return tf.minimum(index, count - 1)


def _draw_degrees(uniform: tf.Tensor, options: GeometryOptions) -> tf.Tensor:
    """Turns a number in [0, 1) into an angle in degrees, float32."""
    if options.integer_degrees:
        most = int(options.max_degrees)
        return tf.cast(_pick(uniform, 2 * most + 1) - most, tf.float32)
    return (2.0 * uniform - 1.0) * options.max_degrees


def _frame_to_image(size: tf.Tensor, flip: tf.Tensor, scale: tf.Tensor) -> tf.Tensor:
    """Returns the mapping from the flipped and scaled image to the image.

    Args:
        size: float64 `(2,)`, height and width of the image.
        flip: bool scalar.
        scale: float32 scalar.

    Returns:
        float64 `(2, 2)`: factor and addition for x, then for y.
    """
    step = 1.0 / tf.cast(scale, tf.float64)
    zero = tf.zeros([], tf.float64)
    x = tf.where(flip, tf.stack([-step, size[1]]), tf.stack([step, zero]))
    return tf.stack([x, tf.stack([step, zero])])


def _matrix(
    to_image: tf.Tensor,
    size: tf.Tensor,
    offset: tf.Tensor,
    degrees: tf.Tensor,
    options: GeometryOptions,
) -> tf.Tensor:
    """Returns the mapping from the view to the image, float64 `(2, 3)`.

    Args:
        to_image: see `_frame_to_image`.
        size: float64 `(2,)`, height and width of the image.
        offset: int32 `(2,)`, top and left of the crop in the scaled image.
        degrees: float32 scalar, counterclockwise as in Pillow's `rotate`.
        options: crop size and order.
    """
    radians = tf.cast(degrees, tf.float64) * (math.pi / 180.0)
    cos, sin = tf.cos(radians), tf.sin(radians)
    turn = tf.stack([tf.stack([cos, -sin]), tf.stack([sin, cos])])
    factor, addition = to_image[:, 0], to_image[:, 1]
    place = addition + factor * tf.cast(tf.reverse(offset, [0]), tf.float64)
    if options.rotation_order == "first":
        center = tf.reverse(size, [0]) / 2.0
        linear = turn * factor
        place = tf.linalg.matvec(turn, place - center) + center
    else:
        center = tf.constant(options.crop_size[::-1], tf.float64) / 2.0
        linear = factor[:, tf.newaxis] * turn
        place += factor * (center - tf.linalg.matvec(turn, center))
    return tf.concat([linear, place[:, tf.newaxis]], axis=1)


def _limits(
    to_image: tf.Tensor, image_size: tf.Tensor, offset: tf.Tensor, options: GeometryOptions
) -> tf.Tensor:
    """Returns what the view may show: top, left, bottom, right in the image, float64 `(4,)`."""
    size = tf.cast(image_size, tf.float64)
    if options.rotation_order == "first":
        return tf.concat([tf.zeros_like(size), size], axis=0)
    ends = tf.cast(tf.stack([offset, offset + tf.constant(options.crop_size)]), tf.float64)
    ends = tf.reverse(to_image[:, 1] + to_image[:, 0] * tf.reverse(ends, [1]), [1])
    low = tf.clip_by_value(tf.reduce_min(ends, axis=0), 0.0, size)
    return tf.concat([low, tf.clip_by_value(tf.reduce_max(ends, axis=0), low, size)], axis=0)


def _resampled_window(
    matrix: tf.Tensor, limits: tf.Tensor, image_size: tf.Tensor, options: GeometryOptions
) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the window that interpolation reads, int32 `(4,)`, and `covered`."""
    height, width = options.crop_size
    far_x, far_y = width - 0.5, height - 0.5
    corners = tf.constant(
        [[0.5, far_x, 0.5, far_x], [0.5, 0.5, far_y, far_y], [1.0, 1.0, 1.0, 1.0]], tf.float64
    )
    points = tf.reverse(tf.linalg.matmul(matrix, corners), [0])
    low, high = tf.reduce_min(points, axis=1), tf.reduce_max(points, axis=1)
    # The pixels' own coordinates are in single precision; the margin is far above their error.
    margin = 0.01
    covered = (low >= limits[:2] + margin) & (high <= limits[2:] - margin)
    # A point is mixed from the pixels whose centres surround it, within what is turned.
    first = tf.maximum(tf.floor(low - 0.5), tf.floor(limits[:2]))
    last = tf.minimum(tf.floor(high - 0.5) + 1.0, tf.math.ceil(limits[2:]) - 1.0)
    first = tf.clip_by_value(tf.cast(first, tf.int32), 0, image_size - 1)
    last = tf.clip_by_value(tf.cast(last, tf.int32), first, image_size - 1)
    return tf.concat([first, last - first + 1], axis=0), tf.reduce_all(covered)


def _copied_window(
    offset: tf.Tensor, flip: tf.Tensor, image_size: tf.Tensor, crop_size: tuple[int, int]
) -> tf.Tensor:
    """Returns the window that a crop without interpolation copies, int32 `(4,)`."""
    size = tf.minimum(tf.constant(crop_size), image_size)
    left = tf.where(flip, image_size[1] - offset[1] - size[1], offset[1])
    return tf.stack([offset[0], left, size[0], size[1]])
