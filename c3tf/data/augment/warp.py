"""The pixels of a view, computed from the window that a drawn geometry names.

Image, label and valid mask use the same coordinates and differ only in the last step: the image
is interpolated (bilinear, neighbours beyond the border repeat it, 0 outside as Pillow), the label
takes the pixel that holds the point (nearest, `IGNORE` outside). A view's pixel is valid when its
point lies in the image, and in the crop when that is turned, so the label is `IGNORE` wherever the
mask is False.
"""

import tensorflow as tf

from c3tf.data.augment.geometry import Geometry, GeometryOptions
from c3tf.data.augment.numerics import rounded
from c3tf.labels import IGNORE


def warp_image(window: tf.Tensor, geometry: Geometry, options: GeometryOptions) -> tf.Tensor:
    """Computes an image's view.

    Args:
        window: uint8 `(window height, window width, 3)`, the pixels of `geometry.window`.
        geometry: the draw.
        options: the options it was drawn with.

    Returns:
        uint8 `(h, w, 3)`, 0 where the view leaves the image.
    """
    window = _checked(window, geometry, channels=3)
    if not options.resamples:
        return _copy(window, geometry, options, fill=0)
    window = _pad(window, options.window_limit)
    view = _interpolate(window, geometry.matrix, geometry.window[2:], options.crop_size)
    return _fill_outside(view, geometry, options, fill=0)


def warp_label(window: tf.Tensor, geometry: Geometry, options: GeometryOptions) -> tf.Tensor:
    """Computes a label's view, uint8 `(h, w, 1)`, `IGNORE` where it leaves the image."""
    window = _checked(window, geometry, channels=1)
    if not options.resamples:
        return _copy(window, geometry, options, fill=IGNORE)
    window = _pad(window, options.window_limit)
    view = _take_nearest(window, geometry.matrix, geometry.window[2:], options.crop_size)
    return _fill_outside(view, geometry, options, fill=IGNORE)


def valid_mask(geometry: Geometry, options: GeometryOptions) -> tf.Tensor:
    """Returns where a view comes from its image, bool `(h, w, 1)`."""
    shape = [*options.crop_size, 1]

    def partly() -> tf.Tensor:
        if options.resamples:
            return _inside(geometry.matrix, geometry.limits, options.crop_size)
        rows = tf.range(shape[0]) < geometry.window[2]
        columns = tf.range(shape[1]) < geometry.window[3]
        return (rows[:, tf.newaxis] & columns)[..., tf.newaxis]

    return tf.cond(geometry.covered, lambda: tf.ones(shape, tf.bool), partly)


def _checked(window: tf.Tensor, geometry: Geometry, channels: int) -> tf.Tensor:
    """Returns the window after checking that it is the one the geometry names."""
    window = tf.convert_to_tensor(window)
    if window.dtype != tf.uint8:
        raise ValueError(f"`window` must be uint8. Received: window={window.dtype.name}")
    expected = tf.concat([geometry.window[2:], [channels]], axis=0)
    message = (
        "`window` must have the size of the geometry's window, cut from an image or label of the "
        "size the geometry was drawn for."
    )
    with tf.control_dependencies([tf.debugging.assert_equal(tf.shape(window), expected, message)]):
        return tf.ensure_shape(tf.identity(window), [None, None, channels])


def _copy(window: tf.Tensor, geometry: Geometry, options: GeometryOptions, fill: int) -> tf.Tensor:
    """Mirrors the window where drawn and fills it up to the crop's size."""
    view = tf.cond(geometry.flip, lambda: tf.reverse(window, [1]), lambda: window)
    return _pad(view, options.crop_size, fill)


def _pad(pixels: tf.Tensor, size: tuple[int, int], fill: int = 0) -> tf.Tensor:
    """Fills up to `size` below and on the right, and makes the shape static."""
    missing = tf.constant(size) - tf.shape(pixels)[:2]
    paddings = [[0, missing[0]], [0, missing[1]], [0, 0]]
    padded = tf.pad(pixels, paddings, constant_values=tf.constant(fill, pixels.dtype))
    return tf.ensure_shape(padded, [*size, pixels.shape[-1]])


def _fill_outside(
    view: tf.Tensor, geometry: Geometry, options: GeometryOptions, fill: int
) -> tf.Tensor:
    """Writes `fill` where the view leaves the image; most views of a large image do not."""
    fill = tf.constant(fill, view.dtype)
    return tf.cond(
        geometry.covered,
        lambda: view,
        lambda: _mask(view, fill, geometry.matrix, geometry.limits, options.crop_size),
    )


def _points(matrix: tf.Tensor, crop_size: tuple[int, int]) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the y and x that each pixel is read from, float32 `(h, w)` each."""
    height, width = crop_size
    x = tf.range(width, dtype=tf.float32) + 0.5
    y = tf.range(height, dtype=tf.float32)[:, tf.newaxis] + 0.5
    from_x, from_y = (
        rounded(row[0] * x) + rounded(row[1] * y) + row[2] for row in tf.unstack(matrix)
    )
    return from_y, from_x


# Compiled: TensorFlow's own projective transform takes three times as long, separate operations
# five times. Masking is a step of its own because a select at the end of the interpolation keeps
# the compiler from using SIMD. The window's static size (`window_limit`) makes it one compilation
# per set of options, whatever the sizes of the images.
@tf.function(jit_compile=True, autograph=False)
def _interpolate(
    window: tf.Tensor, matrix: tf.Tensor, size: tf.Tensor, crop_size: tuple[int, int]
) -> tf.Tensor:
    """Interpolates between the four nearest pixels, uint8 `(h, w, channels)`.

    Args:
        window: uint8 of static shape `window_limit`, at least 3 x 3.
        matrix: float32 `(2, 3)`, see `Geometry`.
        size: int32 `(2,)`, height and width of the part of `window` that holds pixels.
        crop_size: height and width of the view.
    """
    y, x = _points(matrix, crop_size)
    size = tf.cast(size, tf.float32)
    row, share_y = _between(y, size[0])
    column, share_x = _between(x, size[1])
    start = row * window.shape[1] + column
    pixels = tf.reshape(tf.cast(window, tf.float32), [-1, window.shape[-1]])

    def along_row(first: tf.Tensor) -> tf.Tensor:
        left = tf.gather(pixels, first)
        return left + share_x * (tf.gather(pixels, first + 1) - left)

    upper, lower = along_row(start), along_row(start + window.shape[1])
    return tf.cast(upper + share_y * (lower - upper) + 0.5, window.dtype)


def _between(point: tf.Tensor, size: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns the first of the two pixels around a coordinate and the share of the second.

    Args:
        point: float32 `(h, w)`.
        size: float32 scalar, the number of pixels; points beyond the outermost centres get the
            outermost pixel.

    Returns:
        int32 `(h, w)` and float32 `(h, w, 1)`.
    """
    # A pixel's value belongs to its centre.
    point = point - 0.5
    first = tf.clip_by_value(tf.floor(point), 0.0, tf.maximum(size - 2.0, 0.0))
    share = tf.clip_by_value(point - first, 0.0, tf.minimum(size - 1.0, 1.0))
    return tf.cast(first, tf.int32), share[..., tf.newaxis]


@tf.function(jit_compile=True, autograph=False)
def _take_nearest(
    window: tf.Tensor, matrix: tf.Tensor, size: tf.Tensor, crop_size: tuple[int, int]
) -> tf.Tensor:
    """Takes the pixel that holds each point; arguments and result as `_interpolate`."""
    y, x = _points(matrix, crop_size)
    row = tf.clip_by_value(tf.cast(tf.floor(y), tf.int32), 0, size[0] - 1)
    column = tf.clip_by_value(tf.cast(tf.floor(x), tf.int32), 0, size[1] - 1)
    pixels = tf.reshape(window, [-1, window.shape[-1]])
    return tf.gather(pixels, row * window.shape[1] + column)


@tf.function(jit_compile=True, autograph=False)
def _inside(matrix: tf.Tensor, limits: tf.Tensor, crop_size: tuple[int, int]) -> tf.Tensor:
    """Returns which pixels are read from inside the limits, bool `(h, w, 1)`."""
    y, x = _points(matrix, crop_size)
    top, left, bottom, right = tf.unstack(limits)
    return ((y >= top) & (y < bottom) & (x >= left) & (x < right))[..., tf.newaxis]


@tf.function(jit_compile=True, autograph=False)
def _mask(
    view: tf.Tensor,
    fill: tf.Tensor,
    matrix: tf.Tensor,
    limits: tf.Tensor,
    crop_size: tuple[int, int],
) -> tf.Tensor:
    """Writes `fill` into the pixels that `_inside` denies."""
    return tf.where(_inside(matrix, limits, crop_size), view, fill)
