"""Images read ahead of the network, in threads, in batches of one size."""

import collections
import dataclasses
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO

import numpy as np
import tensorflow as tf
from PIL import Image

from c3tf.data import tfrecord
from c3tf.inference.image_files import Input

# TensorFlow's decoder would take other kinds as well, such as a GIF that is named .png.
_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
# Where a PNG states the bits of a channel.
_DEPTH_AT, _SIXTEEN = 24, bytes([16])
_WORKERS = 4
# Batches' worth of images that wait for others of their size.
_WAITING = 3


@dataclasses.dataclass(frozen=True)
class Loaded:
    """An image in memory, or why there is none.

    Attributes:
        item: the file.
        image: `(H, W, 3)` uint8 as stored; None if it cannot be read.
        shown: what the network gets: the image itself, or resized.
        problem: why it cannot be read.
    """

    item: Input
    image: np.ndarray | None = None
    shown: np.ndarray | None = None
    problem: str | None = None


def batches(inputs: Iterable[Input], batch_size: int, height: int = 0) -> Iterator[list[Loaded]]:
    """Reads images and yields them in batches of one size, each image once.

    How many are in memory depends on the batch size alone. Images that wait for others of their
    size are given out in a smaller batch before there are too many of them.

    Args:
        inputs: the files.
        batch_size: images per batch at most.
        height: height that the network gets; 0 keeps the image's own.

    Yields:
        Images whose `image` and `shown` have one size each, or a single one with a problem.
    """
    waiting: dict[tuple, list[Loaded]] = {}
    for loaded in _read_ahead(inputs, height, window=_WORKERS + batch_size):
        if loaded.problem:
            yield [loaded]
            continue
        size = (loaded.image.shape, loaded.shown.shape)
        waiting.setdefault(size, []).append(loaded)
        if len(waiting[size]) == batch_size:
            yield waiting.pop(size)
        elif sum(map(len, waiting.values())) >= _WAITING * batch_size:
            yield waiting.pop(next(iter(waiting)))
    yield from waiting.values()


def _read_ahead(inputs: Iterable[Input], height: int, window: int) -> Iterator[Loaded]:
    """Reads images in order, at most `window` of them ahead."""
    pending: collections.deque[Future[Loaded]] = collections.deque()
    with ThreadPoolExecutor(_WORKERS) as pool:
        try:
            for item in inputs:
                pending.append(pool.submit(_load, item, height))
                if len(pending) > window:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _load(item: Input, height: int) -> Loaded:
    try:
        encoded = item.path.read_bytes()
        if problem := _problem(encoded):
            return Loaded(item, problem=problem)
        image = tfrecord.decode_image(encoded)
    except OSError as error:
        return Loaded(item, problem=error.strerror or str(error))
    except tf.errors.OpError:
        return Loaded(item, problem="damaged or cut short")
    return Loaded(item, image.numpy(), _resized(image, height).numpy())


def _problem(encoded: bytes) -> str | None:
    """Says why a file is not to be decoded, or None."""
    if not encoded:
        return "empty (0 bytes)"
    if not encoded.startswith((_JPEG, _PNG)):
        return "no JPEG or PNG"
    if encoded.startswith(_PNG) and encoded[_DEPTH_AT : _DEPTH_AT + 1] == _SIXTEEN:
        return "its pixels are 16-bit; networks see 8 bits, so convert it first"
    try:
        with warnings.catch_warnings():
            # Pillow only warns of images between one and two times its limit.
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            Image.open(BytesIO(encoded)).close()
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        return f"too large to decode safely: {error}"
    except (OSError, SyntaxError, ValueError):
        return "damaged or cut short"
    return None


def _resized(image: tf.Tensor, height: int) -> tf.Tensor:
    """Resizes to a height as the converters do: the mean of the area, bilinear where it grows."""
    own_height, own_width, _ = image.shape
    if height in (0, own_height):
        return image
    width = max(1, round(own_width * height / own_height))
    method = "bilinear" if height > own_height or width > own_width else "area"
    resized = tf.image.resize(image[None], (height, width), method=method)[0]
    return tf.saturate_cast(tf.floor(resized + 0.5), tf.uint8)
