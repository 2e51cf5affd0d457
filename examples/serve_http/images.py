"""Reads requests' images by their headers, before any is decoded, and encodes class maps."""

import base64
import binascii
import io
import json
import struct
from collections.abc import Sequence

import numpy as np
import tensorflow as tf
from PIL import Image

from serve_http import orientation
from serve_http.limits import Limits, RefusedError

TYPES = ("image/jpeg", "image/png")

# Progressive files have about ten scans. Each costs a pass over all pixels, in as little as ten
# bytes; the marker that begins one cannot stand within another.
MOST_SCANS = 64
_SCAN = b"\xff\xda"
_JPEG = b"\xff\xd8\xff"
# Channels of CMYK, and the note of Adobe's that it is inverted, by which decoders differ.
_CMYK, _ADOBE = 4, b"\xff\xee\x00\x0eAdobe"
# A PNG begins with its signature and its header chunk: size, and bits of a channel.
_PNG = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PNG_HEADER = struct.Struct(">IIB")
# Each of these chunks may unpack to 8 MB, which the decoder does and forgets.
MOST_PACKED = 8
_PACKED = frozenset((b"zTXt", b"iTXt", b"iCCP"))
_CHUNK = struct.Struct(">I4s")
_CHUNK_OVERHEAD = 12
# Pixels for which a network computes at least one value on its coarsest grid.
_CELL = 16
# Characters that base64 does not use; a batch needs a few for each image.
_STRUCTURE = b'"[]{},:'


def parse_batch(body: bytes, limits: Limits) -> list[bytes]:
    """Reads the images of `{"images": [base64, ...]}`.

    Raises:
        RefusedError: it is something else; which is seen before a large structure is built of it.
    """
    bad = RefusedError(400, "bad_json", 'The body must be {"images": [...]} with base64 strings.')
    # A request may hold too many images, which `check` says; thousands are another thing.
    if sum(body.count(bytes([c])) for c in _STRUCTURE) > 100 * (limits.batch + 1):
        raise bad
    try:
        given = json.loads(body)["images"]
        if not isinstance(given, list):
            raise TypeError("no list")
        return [base64.b64decode(one, validate=True) for one in given]
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise bad from error


def check(images: Sequence[bytes], limits: Limits, exif: str) -> list[int]:
    """Refuses images that are no JPEG or PNG, too large together, or of different sizes.

    Args:
        images: encoded images.
        limits: allowed number of images and pixels.
        exif: what becomes of rotations that metadata note, one of `orientation.RULES`.

    Returns:
        The orientation that each is to be turned from, 1 where it stays as it is.

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
    pixels = sum(_in_cells(width) * _in_cells(height) for width, height in sizes)
    if pixels > limits.pixels:
        raise RefusedError(
            413,
            "too_many_pixels",
            f"A request holds at most {limits.pixels} pixels. Received: {pixels}",
        )
    found = [_orientation(data, exif) for data in images]
    turned = [
        size[::-1] if orientation.swaps_sides(one) else size
        for size, one in zip(sizes, found, strict=True)
    ]
    if len(set(turned)) > 1:
        raise RefusedError(
            400,
            "different_sizes",
            f"The images of a request must be of one size. Received (width, height): {turned}",
        )
    return found


def upright(images: Sequence[bytes], orientations: Sequence[int]) -> np.ndarray:
    """Decodes images, as the SavedModel does it, and turns them.

    Returns:
        `(B, H, W, 3)` uint8.

    Raises:
        tf.errors.InvalidArgumentError: one cannot be decoded.
    """
    decoded = (
        tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE").numpy()
        for data in images
    )
    return np.stack(
        [orientation.apply(image, one) for image, one in zip(decoded, orientations, strict=True)]
    )


def _orientation(data: bytes, exif: str) -> int:
    if exif == "ignore":
        return orientation.UPRIGHT
    noted = orientation.noted(data)
    if exif == "refuse" and noted != orientation.UPRIGHT:
        raise orientation.refusal(noted)
    return noted


def _in_cells(side: int) -> int:
    """Rounds a side up to what the network computes: a row of pixels costs as much as sixteen."""
    return -(-side // _CELL) * _CELL


def to_png(class_map: np.ndarray) -> bytes:
    """Encodes a class map `(H, W)` uint8 as a grey PNG whose values are train ids."""
    buffer = io.BytesIO()
    Image.fromarray(class_map).save(buffer, "png", compress_level=1)
    return buffer.getvalue()


def unreadable() -> RefusedError:
    """Makes the refusal of what the decoder does not take."""
    return RefusedError(400, "unreadable_image", "An image must be a readable JPEG or PNG file.")


def _size(data: bytes) -> tuple[int, int]:
    """Reads width and height from an image's header."""
    if data.startswith(_JPEG):
        return _jpeg_size(data)
    return _png_size(data)


def _png_size(data: bytes) -> tuple[int, int]:
    if not data.startswith(_PNG) or len(data) < len(_PNG) + _PNG_HEADER.size:
        raise unreadable()
    at, packed = 8, 0
    while at + _CHUNK.size <= len(data) and packed <= MOST_PACKED:
        length, kind = _CHUNK.unpack_from(data, at)
        at += length + _CHUNK_OVERHEAD
        packed += kind in _PACKED
    if packed > MOST_PACKED:
        raise RefusedError(
            413, "too_many_texts", f"A PNG has at most {MOST_PACKED} texts and profiles."
        )
    width, height, bits = _PNG_HEADER.unpack_from(data, len(_PNG))
    if bits == 16:
        raise RefusedError(
            400, "wrong_depth", "A PNG must have 8 bits per channel. Received: 16 bits"
        )
    if not (width > 0 and height > 0):
        raise unreadable()
    return width, height


def _jpeg_size(data: bytes) -> tuple[int, int]:
    if data.count(_SCAN) > MOST_SCANS:
        raise RefusedError(
            413, "too_many_scans", f"A JPEG has at most {MOST_SCANS} scans. Received: more"
        )
    try:
        # By the decoder itself: it takes milliseconds for 16 MiB of fill bytes, and cannot be
        # of another opinion than the decoder.
        height, width, channels = tf.io.extract_jpeg_shape(data).numpy().tolist()
    except tf.errors.InvalidArgumentError as error:
        raise unreadable() from error
    if channels == _CMYK and _ADOBE not in data:
        raise RefusedError(
            400, "wrong_colors", "A JPEG of CMYK must hold Adobe's note. Received: one without it"
        )
    return width, height
