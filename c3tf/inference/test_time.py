"""Class maps of an image: at once or by windows, flipped, at several scales."""

import dataclasses
import math
from typing import Any

import tensorflow as tf

from c3tf.errors import UserError
from c3tf.inference import networks
from c3tf.inference.networks import Predictor, Probabilities

WHOLE, SLIDING = "whole", "sliding"
MODES = (WHOLE, SLIDING)
# What is common; a scale beyond it is a slip of the pen.
_MAX_SCALE = 4.0


@dataclasses.dataclass(frozen=True)
class InferenceOptions:
    """What is done with an image; the averages are of softmax probabilities.

    Attributes:
        mode: `"whole"` shows the network the image at once, `"sliding"` window by window.
        window: height and width of a window in pixels of the (scaled) image, for `"sliding"`.
        overlap: share of a window that the next one repeats, 0 to below 1, for `"sliding"`.
        tta_flip: adds the mirrored image.
        tta_scales: factors of the image's size.
    """

    mode: str = WHOLE
    window: tuple[int, int] | None = None
    overlap: float | None = None
    tta_flip: bool = False
    tta_scales: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise UserError(
                f"`--inference` must be {' or '.join(MODES)}. Received: --inference={self.mode}"
            )
        if self.mode == WHOLE:
            for name in ("window", "overlap"):
                if getattr(self, name) is not None:
                    raise UserError(f"`--{name}` needs --inference={SLIDING}.")
        elif self.window is None or len(self.window) != 2 or min(self.window) < 1:
            raise UserError(
                f"--inference={SLIDING} needs `--window` as height x width in pixels, such as "
                f"--window=512x1024. Received: --window={self.window}"
            )
        elif self.overlap is None or not 0 <= self.overlap < 1:
            raise UserError(
                f"--inference={SLIDING} needs `--overlap` as a share from 0 to below 1, such as "
                f"--overlap=0.5. Received: --overlap={self.overlap}"
            )
        wrong = [scale for scale in self.tta_scales if not 0 < scale <= _MAX_SCALE]
        if wrong or not self.tta_scales or len(set(self.tta_scales)) != len(self.tta_scales):
            raise UserError(
                f"`--tta_scales` must be different numbers above 0 and up to {_MAX_SCALE:g}. "
                f"Received: --tta_scales={','.join(map(str, self.tta_scales))}"
            )

    @property
    def averages(self) -> bool:
        """Whether anything is averaged; a whole image at one scale of 1 is not."""
        return self.mode != WHOLE or self.tta_flip or self.tta_scales != (1.0,)

    def to_json(self) -> dict[str, Any]:
        """States the options as plain data, for results."""
        facts: dict[str, Any] = {"inference": "whole image", "resize": networks.RESIZE}
        if self.mode == SLIDING:
            facts["inference"] = "sliding window"
            facts |= {"window": list(self.window), "overlap": self.overlap}
        facts |= {"flip": self.tta_flip, "scales": list(self.tta_scales)}
        if self.averages:
            facts["averaging"] = (
                "softmax probabilities at the image's size: mean over the windows that hold the "
                "pixel, then over scales and flips, all of equal weight"
            )
        return facts


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
