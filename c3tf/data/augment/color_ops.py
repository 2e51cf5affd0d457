"""Colour operations on uint8 images with the results of Pillow.

Two kinds. A *table* operation changes every byte by itself, so it is a table of 256 entries per
channel, and several of them in a row are one table. A *pixel* operation looks at the other
channels or at the neighbours and has to make an image. `color_program` runs a drawn sequence of
both. Every function here is pure TensorFlow, works under XLA and needs static image shapes.

Source: Pillow's `ImageEnhance`, `ImageOps` and HSV conversion; the levels of RandAugment are in
`rand_augment`.
"""

import enum

import numpy as np
import tensorflow as tf

from c3tf.data.augment.numerics import rounded

# The largest byte and the number of bytes, i.e. the entries of a table.
TOP = int(np.iinfo(np.uint8).max)
LEVELS = TOP + 1

# Pillow's RGB to grey ("L"): ITU-R 601-2 luma in 16 bit fixed point.
_LUMA = (19595, 38470, 7471)
_LUMA_SHIFT = 16

# Weights of Pillow's SMOOTH filter: ones around a centre of five.
_SMOOTH_CENTER = 5
_SMOOTH_SUM = 13


class ColorOp(enum.IntEnum):
    """Names the colour operations; the numbers are those of a colour program's `ops`."""

    IDENTITY = 0
    BRIGHTNESS = 1
    CONTRAST = 2
    SATURATION = 3
    HUE = 4
    SHARPNESS = 5
    AUTO_CONTRAST = 6
    EQUALIZE = 7
    INVERT = 8
    POSTERIZE = 9
    SOLARIZE = 10
    SOLARIZE_ADD = 11


def _ramp() -> tf.Tensor:
    """Returns the identity table, `(1, 256)` int32."""
    return tf.range(LEVELS)[tf.newaxis]


def blend(degenerate: tf.Tensor, image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Moves from `degenerate` (factor 0) to `image` (factor 1) and beyond, as Pillow's blend.

    Args:
        degenerate: float32, whole numbers 0 to 255, broadcastable to `image`.
        image: float32, whole numbers 0 to 255.
        factor: float32 scalar.

    Returns:
        float32 of the common shape, clipped to 0 to 255 and truncated to whole numbers.
    """
    mixed = degenerate + rounded(factor * (image - degenerate))
    return tf.floor(tf.clip_by_value(mixed, 0.0, float(TOP)))


def luma(image: tf.Tensor) -> tf.Tensor:
    """Converts uint8 RGB `(h, w, 3)` to grey, int32 `(h, w)`, as Pillow's mode "L"."""
    red, green, blue = tf.unstack(tf.cast(image, tf.int32), axis=-1)
    total = red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2] + (1 << (_LUMA_SHIFT - 1))
    return tf.bitwise.right_shift(total, _LUMA_SHIFT)


# --- Table operations: (image, value) -> int32 table, (1, 256) or (3, 256) --------------------


def brightness_table(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Returns the table of `ImageEnhance.Brightness(image).enhance(factor)`."""
    del image
    ramp = tf.cast(_ramp(), tf.float32)
    return tf.cast(blend(tf.zeros_like(ramp), ramp, factor), tf.int32)


def contrast_table(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Returns the table of `ImageEnhance.Contrast(image).enhance(factor)`."""
    # Rows are summed in 32 bits, the whole in 64: a large image of bright pixels overflows 32.
    total = tf.reduce_sum(tf.cast(tf.reduce_sum(luma(image), axis=1), tf.int64))
    count = image.shape[0] * image.shape[1]
    mean = (2 * total + count) // (2 * count)
    ramp = tf.cast(_ramp(), tf.float32)
    return tf.cast(blend(tf.cast(mean, tf.float32), ramp, factor), tf.int32)


def invert_table(image: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Returns the table of `ImageOps.invert(image)`; `value` has no meaning."""
    del image, value
    return TOP - _ramp()


def posterize_table(image: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Returns the table of `ImageOps.posterize(image, bits)`; 0 bits keep nothing."""
    del image
    step = tf.bitwise.left_shift(1, 8 - tf.cast(bits, tf.int32))
    return _ramp() // step * step


def solarize_table(image: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """Returns the table of `ImageOps.solarize(image, threshold)`; 256 changes nothing."""
    del image
    ramp = _ramp()
    return tf.where(tf.cast(ramp, tf.float32) < threshold, ramp, TOP - ramp)


def solarize_add_table(image: tf.Tensor, addition: tf.Tensor) -> tf.Tensor:
    """Returns the table that adds `addition` to the darker half of the bytes, clipped."""
    del image
    ramp = _ramp()
    return tf.where(ramp < LEVELS // 2, tf.minimum(ramp + tf.cast(addition, tf.int32), TOP), ramp)


def auto_contrast_table(image: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Returns the table of `ImageOps.autocontrast(image)`; `value` has no meaning."""
    del value
    low = tf.cast(tf.reduce_min(image, axis=[0, 1]), tf.int32)[:, tf.newaxis]
    high = tf.cast(tf.reduce_max(image, axis=[0, 1]), tf.int32)[:, tf.newaxis]
    ramp = tf.tile(_ramp(), [3, 1])
    # In double precision and in this order, as Pillow's Python: the truncation shows every bit.
    scale = float(TOP) / tf.cast(tf.maximum(high - low, 1), tf.float64)
    offset = rounded(-tf.cast(low, tf.float64) * scale)
    stretched = rounded(tf.cast(ramp, tf.float64) * scale) + offset
    table = tf.cast(tf.clip_by_value(stretched, 0.0, float(TOP)), tf.int32)
    return tf.where(high > low, table, ramp)


def equalize_table(image: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Returns the table of `ImageOps.equalize(image)`; `value` has no meaning."""
    del value
    first = LEVELS * tf.range(3)
    bins = tf.reshape(tf.cast(image, tf.int32) + first, [-1, 1])
    counts = tf.tensor_scatter_nd_add(
        tf.zeros([3 * LEVELS], tf.int32), bins, tf.ones([bins.shape[0]], tf.int32)
    )
    counts = tf.reshape(counts, [3, LEVELS])
    highest = tf.cast(tf.reduce_max(image, axis=[0, 1]), tf.int32)
    last = tf.gather(counts, highest, batch_dims=1)[:, tf.newaxis]
    step = (image.shape[0] * image.shape[1] - last) // TOP
    below = tf.cumsum(counts, axis=1, exclusive=True)
    table = tf.minimum((below + step // 2) // tf.maximum(step, 1), TOP)
    # A channel of one colour has step 0 as well: everything but its last bin is empty.
    return tf.where(step > 0, table, _ramp())


# --- Pixel operations: (image, value) -> image ------------------------------------------------


def saturate(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Returns `ImageEnhance.Color(image).enhance(factor)`, uint8 `(h, w, 3)`."""
    grey = tf.cast(luma(image), tf.float32)[..., tf.newaxis]
    return tf.cast(blend(grey, tf.cast(image, tf.float32), factor), tf.uint8)


def sharpen(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Returns `ImageEnhance.Sharpness(image).enhance(factor)`, uint8 `(h, w, 3)`.

    Pillow leaves the outermost pixels as they are, and with them every image that is smaller than
    its 3 x 3 filter.
    """
    height, width, channels = image.shape
    if height < 3 or width < 3:
        return image
    # Rows of bytes instead of rows of pixels: the innermost loop is then long enough for SIMD.
    rows = tf.reshape(image, [height, width * channels])
    wide = tf.cast(rows, tf.int16)
    inner = wide[1:-1, channels:-channels]
    columns = wide[:-2] + wide[1:-1] + wide[2:]
    total = columns[:, : -2 * channels] + columns[:, channels:-channels]
    total += columns[:, 2 * channels :] + (_SMOOTH_CENTER - 1) * inner
    # The divisor is odd, so no total lies near a half and single precision rounds as Pillow.
    smooth = tf.floor(tf.cast(total, tf.float32) / _SMOOTH_SUM + 0.5)
    inner = tf.cast(blend(smooth, tf.cast(inner, tf.float32), factor), tf.uint8)
    inner = tf.concat([rows[1:-1, :channels], inner, rows[1:-1, -channels:]], axis=1)
    return tf.reshape(tf.concat([rows[:1], inner, rows[-1:]], axis=0), image.shape)


def shift_hue(image: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Turns the hue by `factor` of the circle through Pillow's HSV bytes, uint8 `(h, w, 3)`.

    Args:
        image: uint8 `(h, w, 3)`.
        factor: float32 scalar in [-0.5, 0.5]. The turn is `int(factor * 255)` of the 256 hues, as
            torchvision's `adjust_hue` on Pillow images.
    """
    hue, saturation, value = _to_hsv(image)
    turn = tf.cast(factor * float(TOP), tf.int32)
    return _from_hsv(tf.math.floormod(hue + turn, LEVELS), saturation, value)


def _to_hsv(image: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Converts uint8 `(h, w, 3)` to hue, saturation and value, bytes as int32 `(h, w)`.

    Pillow computes in a mixture of single and double precision and truncates. Each rounding is
    repeated here, because one hue more or less is up to six grey levels.
    """
    red, green, blue = tf.unstack(tf.cast(image, tf.float32), axis=-1)
    high = tf.maximum(red, tf.maximum(green, blue))
    low = tf.minimum(red, tf.minimum(green, blue))
    span = high - low
    divisor = tf.maximum(span, 1.0)
    saturation = tf.cast(span / tf.maximum(high, 1.0), tf.float64)
    red_gap, green_gap, blue_gap = (
        tf.cast((high - channel) / divisor, tf.float64) for channel in (red, green, blue)
    )
    sector = tf.where(
        tf.equal(red, high),
        blue_gap - green_gap,
        tf.where(tf.equal(green, high), 2.0 + red_gap - blue_gap, 4.0 + green_gap - red_gap),
    )
    sector = tf.cast(tf.cast(sector, tf.float32), tf.float64)
    circle = sector / 6.0 + 1.0
    circle = tf.cast(tf.cast(circle - tf.floor(circle), tf.float32), tf.float64)
    gray = tf.equal(span, 0.0)
    hue = tf.where(gray, 0, tf.cast(circle * float(TOP), tf.int32))
    return hue, tf.cast(saturation * float(TOP), tf.int32), tf.cast(high, tf.int32)


def _from_hsv(hue: tf.Tensor, saturation: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Converts hue, saturation and value, bytes as int32 `(h, w)`, to uint8 `(h, w, 3)`."""
    sixths = 6 * hue
    sector = sixths // TOP
    fraction = tf.cast(sixths - TOP * sector, tf.float32) / float(TOP)
    strength = tf.cast(saturation, tf.float32) / float(TOP)
    level = tf.cast(value, tf.float32)

    def to_level(share: tf.Tensor) -> tf.Tensor:
        return tf.floor(level * (1.0 - share) + 0.5)

    lowest = to_level(strength)
    falling = to_level(strength * fraction)
    rising = to_level(strength * (1.0 - fraction))
    # By sector of the circle (the seventh is the first again): red, green, blue.
    choices = (
        (level, falling, lowest, lowest, rising, level),
        (rising, level, level, falling, lowest, lowest),
        (lowest, lowest, rising, level, level, falling),
    )
    channels = []
    for by_sector in choices:
        channel = by_sector[0]
        for index in range(1, 6):
            channel = tf.where(tf.equal(sector, index), by_sector[index], channel)
        channels.append(channel)
    return tf.cast(tf.stack(channels, axis=-1), tf.uint8)


# Every operation is in exactly one of these, except `IDENTITY`.
TABLE_OPS = {
    ColorOp.BRIGHTNESS: brightness_table,
    ColorOp.CONTRAST: contrast_table,
    ColorOp.AUTO_CONTRAST: auto_contrast_table,
    ColorOp.EQUALIZE: equalize_table,
    ColorOp.INVERT: invert_table,
    ColorOp.POSTERIZE: posterize_table,
    ColorOp.SOLARIZE: solarize_table,
    ColorOp.SOLARIZE_ADD: solarize_add_table,
}
PIXEL_OPS = {
    ColorOp.SATURATION: saturate,
    ColorOp.HUE: shift_hue,
    ColorOp.SHARPNESS: sharpen,
}
# Operations that look at the pixels as they are after everything before: pending tables are
# applied first.
NEEDS_PIXELS = (*PIXEL_OPS, ColorOp.CONTRAST, ColorOp.AUTO_CONTRAST, ColorOp.EQUALIZE)
