"""The reading and decoding of image files: all pixels or none, wherever images are decoded.

Free of TensorFlow: conversion workers come here.
"""

import contextlib
import io
from collections.abc import Iterator

import numpy as np
from PIL import Image, UnidentifiedImageError

from c3tf.io import files, image_bytes
from c3tf.io.image_bytes import Header, ImageBytesError

# The kinds of files that may be images.
_FORMATS = ("JPEG", "PNG")
# Pillow reports damaged files with any of these.
_PILLOW_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, RuntimeError)
# What libjpeg fills missing pixels with: the middle of every channel.
_FILLING = 128
# Coded pixels that no JPEG ends with; none of them is a marker.
_MORE_PIXELS = bytes((97 * place + 41) % 251 for place in range(2048))


def read(path: str) -> bytes:
    """Reads an image file, if it is one that may be read into memory.

    Raises:
        ImageBytesError: it is empty, longer than any image, or a device.
        OSError: it cannot be read.
    """
    if files.is_device(path):
        raise ImageBytesError("is a device, not a file")
    length = files.size(path)
    if length > image_bytes.MAX_BYTES:
        raise ImageBytesError(image_bytes.too_long(length))
    encoded = files.read_bytes(path)
    if not encoded:
        raise ImageBytesError("is empty (0 bytes)")
    return encoded


def decode(encoded: bytes) -> tuple[Image.Image, Header]:
    """Decodes all pixels of a JPEG or PNG.

    Args:
        encoded: contents of the file.

    Returns:
        A Pillow image of whatever mode the file has, and what the file says of itself.

    Raises:
        EndMissingError: what ends the file is missing; see `image_bytes.with_end`.
        ImageBytesError: it is of another kind, damaged, cut, or too large.
    """
    header = image_bytes.check(encoded)
    image = _decode(encoded)
    if _may_be_cut(encoded, header, image.getpixel((image.width - 1, image.height - 1))):
        _check_filling(encoded, header, image)
    return image, header


def check_filling(encoded: bytes, header: Header, last_pixel: np.ndarray) -> None:
    """Refuses a JPEG that ends before its last pixel, which decoders fill up.

    Args:
        encoded: contents of the file.
        header: what `image_bytes.check` says of it.
        last_pixel: of the image as whatever decoder reads it, one value or one per channel.

    Raises:
        ImageBytesError: pixels are missing.
    """
    if _may_be_cut(encoded, header, last_pixel):
        _check_filling(encoded, header, _decode(encoded))


def _may_be_cut(
    encoded: bytes, header: Header, last_pixel: float | tuple[int, ...] | np.ndarray
) -> bool:
    """Tells whether pixels of a JPEG that has an end mark may be missing before it.

    They may where its last pixel is the grey that decoders fill with, where its coded bits do not
    end in the ones that fill the last byte, or where it has several scans, of which the last may be
    cut.
    """
    if header.kind != "jpeg":
        return False
    # A byte of ones is followed by a stuffed zero, so that it is no marker.
    is_filled = encoded[header.end - 1] & 1 or encoded.endswith(b"\xff\0", 0, header.end)
    return header.scans > 1 or not is_filled or bool(np.all(np.equal(last_pixel, _FILLING)))


def _check_filling(encoded: bytes, header: Header, image: Image.Image) -> None:
    """Decodes a JPEG with more coded pixels put before its end mark, which a whole one ignores."""
    longer = encoded[: header.end] + _MORE_PIXELS + encoded[header.end :]
    if not np.array_equal(_decode(longer), image):
        raise ImageBytesError(
            f"is no readable image ({len(encoded)} bytes): the JPEG is cut short, its last pixels "
            "are missing"
        )


def opened(encoded: bytes) -> Image.Image:
    """Opens a JPEG or PNG, whose pixels are not decoded yet.

    Raises:
        ImageBytesError: it is of another kind, damaged, or too large.
    """
    with _named(encoded):
        image = Image.open(io.BytesIO(encoded), formats=_FORMATS)
        # Lower than ours where a program says so.
        if image.width * image.height > (Image.MAX_IMAGE_PIXELS or image_bytes.MAX_PIXELS):
            raise Image.DecompressionBombError(
                f"{image.width}x{image.height} pixels, more than {Image.MAX_IMAGE_PIXELS}"
            )
    return image


def _decode(encoded: bytes) -> Image.Image:
    image = opened(encoded)
    with _named(encoded):
        image.load()
    return image


@contextlib.contextmanager
def _named(encoded: bytes) -> Iterator[None]:
    """Gives one name to what Pillow raises of a file."""
    try:
        yield
    except Image.DecompressionBombError as error:
        raise ImageBytesError(f"is too large to decode safely: {error}") from error
    except UnidentifiedImageError as error:
        raise ImageBytesError(f"is no readable image ({len(encoded)} bytes)") from error
    except MemoryError as error:
        raise ImageBytesError("needs more memory than there is") from error
    except _PILLOW_ERRORS as error:
        raise ImageBytesError(f"is no readable image ({len(encoded)} bytes): {error}") from error
