"""Class maps of an image: at once or by windows, flipped, at several scales."""

import math
from collections.abc import Callable

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

    def strip(top: tf.Tensor) -> tf.Tensor:
        rows = images[:, top : top + high]
        window = [batch, high, wide, num_classes]
        return _overlaid(
            lambda left: probabilities(rows[:, :, left : left + wide]), lefts, window, axis=2
        )

    total = _overlaid(strip, tops, [batch, high, width, num_classes], axis=1)
    over_rows, over_columns = _covered(tops, high, height), _covered(lefts, wide, width)
    return total / (over_rows[:, None, None] * over_columns[:, None])


def _overlaid(
    part: Callable[[tf.Tensor], tf.Tensor], starts: tf.Tensor, shape: list, axis: int
) -> tf.Tensor:
    """Adds up maps that follow one another along an axis and overlap.

    Args:
        part: makes the map of a start.
        starts: int32 `(N,)`, each at most a map's length behind the one before.
        shape: of each map, `[B, H, W, C]`; C is known.
        axis: 1 or 2.
    """
    length = shape[axis]
    steps = tf.concat([starts[1:] - starts[:-1], [length]], axis=0)
    # The axis comes first, since that is where pieces of different lengths can be joined.
    first = [axis, *(other for other in range(4) if other != axis)]
    back = [first.index(own) for own in range(4)]
    sized = [shape[own] for own in first]
    pieces = tf.TensorArray(
        tf.float32, tf.size(starts), infer_shape=False, element_shape=[None] * 3 + shape[-1:]
    )

    def add(index: tf.Tensor, begun: tf.Tensor, pieces: tf.TensorArray) -> tuple:
        total = begun + tf.transpose(part(starts[index]), first)
        # What no later map reaches is complete, so that each addition is as small as a map.
        step = steps[index]
        rest = tf.pad(total[step:], [[0, step], [0, 0], [0, 0], [0, 0]])
        return index + 1, rest, pieces.write(index, total[:step])

    # One after another: all at once would need the memory of all.
    _, _, pieces = tf.while_loop(
        lambda index, *_: index < tf.size(starts),
        add,
        (tf.constant(0), tf.zeros(sized), pieces),
        shape_invariants=(
            tf.TensorShape([]),
            tf.TensorShape([None, None, None, shape[-1]]),
            tf.TensorShape(None),
        ),
        parallel_iterations=1,
    )
    return tf.transpose(pieces.concat(), back)


def _covered(starts: tf.Tensor, window: tf.Tensor, length: tf.Tensor) -> tf.Tensor:
    """Counts the windows over every place of an axis, float32 `(length,)`."""
    places = tf.range(length)[:, None]
    over = (places >= starts) & (places < starts + window)
    return tf.reduce_sum(tf.cast(over, tf.float32), axis=1)


def _step(window: int, overlap: float) -> int:
    """Returns how far the next window starts, in pixels; the overlap is at least as asked."""
    return max(1, math.floor(window * (1 - overlap)))


def _starts(length: tf.Tensor, window: tf.Tensor, step: int) -> tf.Tensor:
    """Returns where windows start, the last one flush with the end."""
    count = -((window - length) // step) + 1
    return tf.minimum(tf.range(count) * step, length - window)
