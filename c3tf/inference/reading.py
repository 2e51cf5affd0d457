"""Images read ahead of the network, in threads, in batches of one size."""

import collections
import dataclasses
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import tensorflow as tf
from PIL import Image

from c3tf.data import tfrecord
from c3tf.inference.image_files import Input
from c3tf.io import decoding, image_bytes, memory, orientation
from c3tf.io.image_bytes import ImageBytesError

_WORKERS = 4
# Bytes that a network takes per pixel at the least; what needs more than is left ends the process.
_BYTES_PER_PIXEL = 200
NO_MEMORY = "needs more memory than there is; a smaller --batch_size or --height takes less"
# Batches' worth of images that wait for others of their size.
_WAITING = 3


@dataclasses.dataclass(frozen=True)
class Loaded:
    """An image in memory, or why there is none.

    Attributes:
        item: the file.
        image: `(H, W, 3)` uint8, upright where that was asked for; None if it cannot be read.
        shown: what the network gets: the image itself, or resized.
        problem: why it cannot be read.
    """

    item: Input
    image: np.ndarray | None = None
    shown: np.ndarray | None = None
    problem: str | None = None


def batches(
    inputs: Iterable[Input], batch_size: int, height: int = 0, exif: str = orientation.DEFAULT
) -> Iterator[list[Loaded]]:
    """Reads images and yields them in batches of one size, each image once.

    How many are in memory depends on the batch size alone. Images that wait for others of their
    size are given out in a smaller batch before there are too many of them.

    Args:
        inputs: the files.
        batch_size: images per batch at most.
        height: height that the network gets; 0 keeps the image's own.
        exif: what becomes of rotations that metadata note, one of `orientation.RULES`.

    Yields:
        Images whose `image` and `shown` have one size each, or a single one with a problem.
    """
    waiting: dict[tuple, list[Loaded]] = {}
    for loaded in _read_ahead(inputs, height, exif, window=_WORKERS + batch_size):
        if loaded.problem:
            yield [loaded]
            continue
        size = (loaded.image.shape, loaded.shown.shape)
        # Each fits by itself; together they may not.
        if size in waiting and too_large(*loaded.shown.shape[:2], len(waiting[size]) + 1):
            yield waiting.pop(size)
        waiting.setdefault(size, []).append(loaded)
        if len(waiting[size]) == batch_size:
            yield waiting.pop(size)
        elif sum(map(len, waiting.values())) >= _WAITING * batch_size:
            yield waiting.pop(next(iter(waiting)))
    yield from waiting.values()


def _read_ahead(inputs: Iterable[Input], height: int, exif: str, window: int) -> Iterator[Loaded]:
    """Reads images in order, at most `window` of them ahead."""
    pending: collections.deque[Future[Loaded]] = collections.deque()
    with ThreadPoolExecutor(_WORKERS) as pool:
        try:
            for item in inputs:
                pending.append(pool.submit(_load, item, height, exif))
                if len(pending) > window:
                    yield pending.popleft().result()
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def _load(item: Input, height: int, exif: str = orientation.DEFAULT) -> Loaded:
    try:
        encoded = decoding.read(str(item.path))
        image = _decode(encoded, exif)
        # Before resizing, which takes that much itself.
        if problem := too_large(*_size_at(image, height)):
            return Loaded(item, problem=problem)
        shown = resized(image, height)
    except OSError as error:
        return Loaded(item, problem=error.strerror or str(error))
    except ImageBytesError as error:
        # A clause of its own, not one that goes on after the file's name.
        said = str(error).replace("is no readable image", "damaged or cut short")
        return Loaded(item, problem=said.removeprefix("is "))
    except tf.errors.ResourceExhaustedError:
        return Loaded(item, problem=NO_MEMORY)
    except tf.errors.OpError:
        return Loaded(item, problem="damaged or cut short")
    return Loaded(item, image.numpy(), shown.numpy())


def too_large(height: int, width: int, count: int = 1) -> str | None:
    """Says that images of this size take more memory at once than is left, or returns None."""
    needed, left = count * height * width * _BYTES_PER_PIXEL, memory.available()
    if needed <= left:
        return None
    what, smaller = (
        ("it takes", "--height")
        if count == 1
        else (f"{count} at once take", "a smaller --batch_size or --height")
    )
    return (
        f"too large to predict: {what} {needed / 1e9:.1f} GB of memory or more, "
        f"{left / 1e9:.1f} GB are left; {smaller} takes less"
    )


def _decode(encoded: bytes, exif: str) -> tf.Tensor:
    """Decodes a file as training does, if it is one that the converters take.

    Raises:
        ImageBytesError: it is not.
        tf.errors.OpError: TensorFlow cannot decode it.
    """
    if image_bytes.kind_of(encoded) is None:
        raise ImageBytesError("no JPEG or PNG")
    header = image_bytes.check(encoded)
    if header.depth > 8:
        raise ImageBytesError(
            f"has {header.depth}-bit pixels; images must have 8 bits per channel, as in training"
        )
    noted = orientation.of(decoding.opened(encoded), header)
    is_turned = orientation.is_turned(noted)
    if is_turned and exif == "refuse":
        raise ImageBytesError(orientation.refusal(noted))
    image = tfrecord.decode_image(encoded)
    decoding.check_filling(encoded, header, image[-1, -1].numpy())
    if is_turned and exif == "apply":
        upright = orientation.apply(Image.fromarray(image.numpy()), noted)
        return tf.constant(np.asarray(upright))
    return image


def resized(image: tf.Tensor, height: int) -> tf.Tensor:
    """Resizes to a height as the converters do: the mean of the area, bilinear where it grows."""
    own, size = tuple(image.shape[:2]), _size_at(image, height)
    if size == own:
        return image
    method = "bilinear" if size[0] > own[0] or size[1] > own[1] else "area"
    resized = tf.image.resize(image[None], size, method=method)[0]
    return tf.saturate_cast(tf.floor(resized + 0.5), tf.uint8)


def _size_at(image: tf.Tensor, height: int) -> tuple[int, int]:
    """Returns the height and width of an image resized to a height; 0 keeps its own."""
    own_height, own_width, _ = image.shape
    if not height:
        return own_height, own_width
    return height, max(1, round(own_width * height / own_height))
