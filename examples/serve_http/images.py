"""Checks encoded images by their headers, before anything is decoded, and encodes class maps."""

import io
import struct
from collections.abc import Sequence

import numpy as np
from PIL import Image

from serve_http.limits import Limits, RefusedError

TYPES = ("image/jpeg", "image/png")

# The server counts pixels itself; Pillow would only warn.
Image.MAX_IMAGE_PIXELS = None
# What Pillow raises for headers that are damaged or hostile.
_UNREADABLE = (OSError, SyntaxError, ValueError, TypeError, EOFError, struct.error, MemoryError)


def check(images: Sequence[bytes], limits: Limits) -> None:
    """Refuses images that are no JPEG or PNG, too large together, or of different sizes.

    Args:
        images: encoded images.
        limits: allowed number of images and pixels.

    Raises:
        RefusedError: with status 400 or 413.
    """
    if not images:
        raise RefusedError(400, "no_image", "The request holds no image.")
    if len(images) > limits.batch:
        raise RefusedError(
            413,
            "too_many_images",
            f"A request holds at most {limits.batch} images. Received: {len(images)}",
        )
    sizes = [_size(data) for data in images]
    pixels = sum(width * height for width, height in sizes)
    if pixels > limits.pixels:
        raise RefusedError(
            413,
            "too_many_pixels",
            f"A request holds at most {limits.pixels} pixels. Received: {pixels}",
        )
    if len(set(sizes)) > 1:
        raise RefusedError(
            400,
            "different_sizes",
            f"The images of a request must be of one size. Received (width, height): {sizes}",
        )


def to_png(class_map: np.ndarray) -> bytes:
    """Encodes a class map `(H, W)` uint8 as a grey PNG whose values are train ids."""
    buffer = io.BytesIO()
    Image.fromarray(class_map).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def _size(data: bytes) -> tuple[int, int]:
    """Reads width and height from an image's header."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "PNG")) as image:
            return image.size
    except _UNREADABLE as error:
        raise RefusedError(
            400, "unreadable_image", "An image must be a readable JPEG or PNG file."
        ) from error
