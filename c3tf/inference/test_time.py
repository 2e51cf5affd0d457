"""Class maps of an image: at once or by windows, flipped, at several scales."""

import math

import tensorflow as tf

from c3tf.inference import networks
from c3tf.inference.networks import Predictor, Probabilities
from c3tf.inference.options import SLIDING, InferenceOptions


def scorer(probabilities: Probabilities, options: InferenceOptions, num_classes: int) -> Predictor:
    """Makes the function from images and a size to probabilities.

    Args:
        probabilities: of whole images at their own size.
        options: what to do with an image.
        num_classes: C.

    Returns:
        A function from images uint8 `(B, H, W, 3)` and a size `(h, w)` to float32
        `(B, h, w, C)`; it works eagerly and inside a `tf.function`.
    """

    def score(images: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
        own = tf.shape(images)[1:3]
        views = [
            _view(probabilities, images, own, scale, flip, options, num_classes)
            for scale in options.tta_scales
            for flip in ((False, True) if options.tta_flip else (False,))
        ]
        mean = views[0] if len(views) == 1 else tf.add_n(views) / len(views)
        return tf.image.resize(mean, size, method="bilinear")

    return score


def compiled(score: Predictor) -> Predictor:
    """Compiles a `scorer`; traced once for all sizes."""
    return tf.function(score, input_signature=[networks.IMAGES, networks.SIZE])


def predictor(score: Predictor) -> Predictor:
    """Makes the compiled function to the class maps of a `scorer`; traced once for all sizes."""
    return compiled(lambda images, size: networks.most_likely(score(images, size)))


def _view(
    probabilities: Probabilities,
    images: tf.Tensor,
    size: tf.Tensor,
    scale: float,
    flip: bool,
    options: InferenceOptions,
    num_classes: int,
) -> tf.Tensor:
    """Computes the probabilities of one scale and direction, brought back to the image."""
    if scale != 1:
        scaled = tf.round(tf.cast(size, tf.float32) * scale)
        images = tf.image.resize(images, tf.maximum(tf.cast(scaled, tf.int32), 1), antialias=True)
        images = tf.saturate_cast(tf.round(images), tf.uint8)
    if flip:
        images = tf.reverse(images, [2])
    if options.mode == SLIDING:
        result = _sliding(probabilities, images, options, num_classes)
    else:
        result = probabilities(images)
    if flip:
        result = tf.reverse(result, [2])
    return result if scale == 1 else tf.image.resize(result, size, method="bilinear")


def _sliding(
    probabilities: Probabilities, images: tf.Tensor, options: InferenceOptions, num_classes: int
) -> tf.Tensor:
    """Averages the probabilities of windows that cover the image."""
    batch, height, width = tf.unstack(tf.shape(images)[:3])
    high = tf.minimum(options.window[0], height)
    wide = tf.minimum(options.window[1], width)
    tops = _starts(height, high, _step(options.window[0], options.overlap))
    lefts = _starts(width, wide, _step(options.window[1], options.overlap))
    corners = tf.reshape(tf.stack(tf.meshgrid(tops, lefts, indexing="ij"), -1), [-1, 2])

    def add(index: tf.Tensor, total: tf.Tensor, count: tf.Tensor) -> tuple:
        top, left = tf.unstack(corners[index])
        part = probabilities(images[:, top : top + high, left : left + wide])
        around = [[0, 0], [top, height - top - high], [left, width - left - wide], [0, 0]]
        ones = tf.ones([1, high, wide, 1])
        return index + 1, total + tf.pad(part, around), count + tf.pad(ones, around)

    shapes = [[None, None, None, num_classes], [1, None, None, 1]]
    start = (
        tf.constant(0),
        tf.zeros([batch, height, width, num_classes]),
        tf.zeros([1, height, width, 1]),
    )
    # One window after another: all at once would need the memory of all.
    _, total, count = tf.while_loop(
        lambda index, *_: index < tf.shape(corners)[0],
        add,
        start,
        shape_invariants=(tf.TensorShape([]), *map(tf.TensorShape, shapes)),
        parallel_iterations=1,
    )
    return total / count


def _step(window: int, overlap: float) -> int:
    """Returns how far the next window starts, in pixels; the overlap is at least as asked."""
    return max(1, math.floor(window * (1 - overlap)))


def _starts(length: tf.Tensor, window: tf.Tensor, step: int) -> tf.Tensor:
    """Returns where windows start, the last one flush with the end."""
    count = -((window - length) // step) + 1
    return tf.minimum(tf.range(count) * step, length - window)
