"""Losses and targets of every pixel from logits on the feature grid, a block of rows at a time.

Logits at the images' size are what the losses are about, and the largest maps beside the network.
Here a block of their rows is resized, goes through softmax, loss and gradient while it lies in the
processor's cache, and leaves only the gradient for the maps that it was resized from. Classes are
the middle axis, so that whole rows of pixels go through the processor's vectors.
"""

from typing import NamedTuple

import tensorflow as tf

from c3tf.method.confidence import most_probable
from c3tf.method.kernels.resize import interpolation_matrix

# Of a block of logits: so much stays in a processor's cache with its softmax and its gradient.
_BLOCK_BYTES = 2**21
# Blocks that may be computed at a time: each is computed by one thread, for the most part.
_PARALLEL_BLOCKS = 8


class Wide(NamedTuple):
    """Maps at the images' size that are yet to be made: a product of two small parts.

    Attributes:
        rows: `(B, H, k)`, or `(1, H, k)` where all images have the same.
        maps: `(B, k, C, W)`, in which the columns have their full number.
    """

    rows: tf.Tensor
    maps: tf.Tensor

    @property
    def dtype(self) -> tf.DType:
        """Their dtype."""
        return self.maps.dtype

    def full(self) -> tf.Tensor:
        """Makes the maps, `(B, H, W, C)`."""
        _, k, channels, width = self.maps.shape
        product = tf.matmul(self.rows, tf.reshape(self.maps, [-1, k, channels * width]))
        full = tf.reshape(product, [-1, self.rows.shape[1], channels, width])
        return tf.transpose(full, [0, 1, 3, 2])


def widen(x: tf.Tensor, width: int, align_corners: bool) -> tf.Tensor:
    """Resizes the columns of `(B, h, w, C)` to `(B, h, C, width)`."""
    columns = tf.constant(interpolation_matrix(x.shape[2], width, align_corners), x.dtype)
    # The product of `resize.bilinear`, so that both round alike; transposed while it is small.
    return tf.transpose(tf.matmul(columns, x), [0, 1, 3, 2])


def resized(x: tf.Tensor, height: int, width: int, align_corners: bool = False) -> Wide:
    """Prepares `resize.bilinear` of maps.

    Args:
        x: `(B, h, w, C)` floating.
        height: rows of the result.
        width: columns of the result.
        align_corners: as for `resize.bilinear`.
    """
    rows = tf.constant(interpolation_matrix(x.shape[1], height, align_corners), x.dtype)
    return Wide(rows[None], widen(x, width, align_corners))


def cross_entropy(
    logits: Wide, target: tf.Tensor, valid: tf.Tensor, weights: tf.Tensor | None = None
) -> tf.Tensor:
    """Adds up the cross-entropy of the valid pixels of each image.

    The gradient is found together with the loss; there is no second derivative, and none for the
    target.

    Args:
        logits: of B images.
        target: `(B, H, W)` int32 classes, or `(B, H, C, W)` probabilities.
        valid: `(B, H, W)` bool.
        weights: `(B, H, W)` factors on the loss of each pixel; None for 1.

    Returns:
        `(B,)`.
    """
    parts = _parts(logits)
    pixels = [x for x in (logits.rows, target, valid, weights) if x is not None]

    @tf.custom_gradient
    def with_gradient(maps: tf.Tensor) -> tuple:
        def block(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            rows, *own = (_block_of(x, index, parts) for x in pixels)
            return _cross_entropy(rows, maps[index // parts], *own)

        losses, slopes = tf.map_fn(
            block,
            tf.range(maps.shape[0] * parts),
            fn_output_signature=(maps.dtype, maps.dtype),
            parallel_iterations=_PARALLEL_BLOCKS,
        )
        slopes = tf.reshape(slopes, [maps.shape[0], parts, *maps.shape[1:]])
        slopes = slopes[:, 0] if parts == 1 else tf.reduce_sum(slopes, axis=1)

        def backward(upstream: tf.Tensor) -> tf.Tensor:
            return tf.reshape(upstream, [-1, 1, 1, 1]) * slopes

        return tf.reduce_sum(tf.reshape(losses, [-1, parts]), axis=1), backward

    return with_gradient(logits.maps)


def softmax(logits: Wide) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Computes the probabilities of all classes and the most probable one.

    Args:
        logits: of B images; no gradient flows to them.

    Returns:
        `(B, H, C, W)` probabilities, `(B, H, W)` the largest of them and `(B, H, W)` int32 the
        first class that has it.
    """
    height, (channels, width) = logits.rows.shape[1], logits.maps.shape[2:]
    parts = _parts(logits)
    probabilities, highest, predicted = tf.map_fn(
        lambda index: _softmax(_block_of(logits.rows, index, parts), logits.maps[index // parts]),
        tf.range(logits.maps.shape[0] * parts),
        fn_output_signature=(logits.maps.dtype, logits.maps.dtype, tf.int32),
        parallel_iterations=_PARALLEL_BLOCKS,
    )
    return (
        tf.reshape(probabilities, [-1, height, channels, width]),
        tf.reshape(highest, [-1, height, width]),
        tf.reshape(predicted, [-1, height, width]),
    )


def _parts(logits: Wide) -> int:
    """Returns into how many blocks of equally many rows an image is cut."""
    height, (channels, width) = logits.rows.shape[1], logits.maps.shape[2:]
    most = max(_BLOCK_BYTES // (channels * width * logits.maps.dtype.size), 1)
    return next(n for n in range(1, height + 1) if height % n == 0 and height // n <= most)


def _block_of(x: tf.Tensor, index: tf.Tensor, parts: int) -> tf.Tensor:
    """Takes the rows of one block from `(B, H, ...)`, or from `(1, H, ...)` for any image."""
    image = index // parts if x.shape[0] > 1 else 0
    rows = x.shape[1] // parts
    start = (index % parts) * rows
    block = tf.slice(x[image], [start, *[0] * (x.shape.rank - 2)], [rows, *x.shape[2:]])
    return tf.ensure_shape(block, [rows, *x.shape[2:]])


@tf.function(jit_compile=True, autograph=False)
def _cross_entropy(
    rows: tf.Tensor,
    maps: tf.Tensor,
    target: tf.Tensor,
    valid: tf.Tensor,
    weights: tf.Tensor | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Computes the loss of a block, a scalar, and its gradient for the maps `(k, C, W)`."""
    k, channels, width = maps.shape
    logits = tf.reshape(tf.matmul(rows, tf.reshape(maps, [k, -1])), [-1, channels, width])
    top = tf.reduce_max(logits, axis=1, keepdims=True)
    power = tf.exp(logits - top)
    total = tf.reduce_sum(power, axis=1, keepdims=True)
    surprise = top + tf.math.log(total) - logits
    if target.dtype.is_integer:
        own = tf.range(channels)[:, None] == target[:, None]
        target = tf.cast(own, logits.dtype)
        loss = tf.reduce_sum(tf.where(own, surprise, 0), axis=1)
    else:
        loss = tf.reduce_sum(target * surprise, axis=1)
    slope = power / total - target
    if weights is not None:
        loss, slope = weights * loss, weights[:, None] * slope
    # Not a product: a pixel that does not count must not turn 0 times infinity into NaN.
    slope = tf.where(valid[:, None], slope, 0)
    slope = tf.matmul(rows, tf.reshape(slope, [-1, channels * width]), transpose_a=True)
    return tf.reduce_sum(tf.where(valid, loss, 0)), tf.reshape(slope, maps.shape)


@tf.function(jit_compile=True, autograph=False)
def _softmax(rows: tf.Tensor, maps: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Computes probabilities, the largest and its class for a block."""
    k, channels, width = maps.shape
    logits = tf.reshape(tf.matmul(rows, tf.reshape(maps, [k, -1])), [-1, channels, width])
    power = tf.exp(logits - tf.reduce_max(logits, axis=1, keepdims=True))
    probabilities = power / tf.reduce_sum(power, axis=1, keepdims=True)
    return probabilities, *most_probable(probabilities, axis=1)
