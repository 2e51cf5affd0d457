"""Rotations that an image's metadata note (EXIF, XMP): found without decoding, and applied.

The rule is that of `python -m c3tf.predict`, whose reader this agrees with; it is written anew for
bodies of strangers, so that metadata of any size cost one pass over the file.
"""

import re
import struct
import zlib
from collections.abc import Iterator

import numpy as np

from serve_http.limits import RefusedError

RULES = ("refuse", "apply", "ignore")
UPRIGHT = 1
# Real files have tens of them; each costs a step of Python.
MOST_SEGMENTS = 1000

_JPEG, _PNG_SIGNATURE_BYTES = b"\xff\xd8\xff", 8
_MARKER = re.compile(rb"\xff+([^\x00\xff])")
# Markers without contents: restarts, beginning of an image, and one of arithmetic coding.
_BARE = frozenset((0x01, *range(0xD0, 0xD9)))
_END, _SCAN, _APP1 = 0xD9, 0xDA, 0xE1
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
_CHUNK = struct.Struct(">I4s")
_CHUNK_OVERHEAD = 12
_XMP_TEXT, _EXIF_TEXT = b"XML:com.adobe.xmp", b"Raw profile type exif"
_NOTES, _TEXTS = (_XMP_TEXT, _EXIF_TEXT), (b"tEXt", b"zTXt", b"iTXt")
_LONGEST_KEY, _MOST_TEXT = 80, 1 << 20
_IN_XMP = re.compile(rb'tiff:Orientation(?:="|>)([0-9])')
_TAG, _SWAPPING = 0x0112, (5, 6, 7, 8)
# Integers of up to four bytes, by their type in TIFF.
_INTEGERS = {3: "H", 4: "I", 8: "h", 9: "i"}


def noted(encoded: bytes) -> int:
    """Returns the orientation that a JPEG or PNG notes, 2 to 8; 1 where it is upright.

    Raises:
        RefusedError: a JPEG has more segments than any real one.
    """
    exif, xmp = _of_jpeg(encoded) if encoded.startswith(_JPEG) else _of_png(encoded)
    try:
        value = _in_exif(exif)
    except (struct.error, IndexError):
        return UPRIGHT
    if value is None:
        found = _IN_XMP.search(xmp)
        value = int(found[1]) if found else UPRIGHT
    return value if 2 <= value <= 8 else UPRIGHT


def refusal(orientation: int) -> RefusedError:
    """Makes the refusal of an image that notes a rotation."""
    return RefusedError(
        400,
        "turned",
        f"The image notes that it is to be turned (EXIF orientation {orientation}). Send its "
        "pixels upright and without the note; or the server is started with --exif=apply or "
        "--exif=ignore.",
    )


def swaps_sides(orientation: int) -> bool:
    """Tells whether an orientation makes rows of columns."""
    return orientation in _SWAPPING


def apply(image: np.ndarray, orientation: int) -> np.ndarray:
    """Brings an image `(H, W, 3)` upright; the same where it is."""
    if orientation in _SWAPPING:
        image = image.swapaxes(0, 1)
    # Whose rows, or columns, run backwards then.
    if orientation in (3, 4, 7, 8):
        image = image[::-1]
    if orientation in (2, 3, 6, 7):
        image = image[:, ::-1]
    return image


def _of_jpeg(encoded: bytes) -> tuple[bytes, bytes]:
    """Collects EXIF and XMP from the segments before the pixels."""
    exif, xmp, at, count = b"", b"", 2, 0
    while found := _MARKER.search(encoded, at):
        marker, at = found[1][0], found.end()
        if marker in (_SCAN, _END):
            break
        count += 1
        if count > MOST_SEGMENTS:
            raise RefusedError(
                413,
                "too_many_segments",
                f"A JPEG has at most {MOST_SEGMENTS} segments before its pixels.",
            )
        if marker in _BARE:
            continue
        length = int.from_bytes(encoded[at : at + 2])
        body = encoded[at + 2 : at + length] if marker == _APP1 else b""
        at += length
        if body.startswith(_EXIF):
            # A long one goes on in the next segment.
            exif += body[len(_EXIF) :] if exif else body
        elif body.startswith(_XMP):
            xmp = body[len(_XMP) :]
    return exif, xmp


def _of_png(encoded: bytes) -> tuple[bytes, bytes]:
    """Collects EXIF and XMP from chunks on both sides of the pixels."""
    exif, text, xmp = b"", b"", b""
    for kind, start, end in _chunks(encoded):
        if kind == b"eXIf":
            exif = encoded[start:end]
        elif encoded.startswith(_NOTES, start) and kind in _TEXTS:
            key = encoded[start : start + _LONGEST_KEY].partition(b"\0")[0]
            body = encoded[start + len(key) + 1 : end]
            if key == _EXIF_TEXT:
                text = _unpacked(kind, body)
            elif key == _XMP_TEXT and kind == b"iTXt":
                xmp = _unpacked(kind, body)
    return exif or _from_hex(text), xmp


def _chunks(encoded: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yields the chunks of a PNG: kind, and where its contents begin and end."""
    at = _PNG_SIGNATURE_BYTES
    while at + _CHUNK.size <= len(encoded):
        length, kind = _CHUNK.unpack_from(encoded, at)
        yield kind, at + _CHUNK.size, at + _CHUNK.size + length
        at += length + _CHUNK_OVERHEAD


def _unpacked(kind: bytes, value: bytes) -> bytes:
    """Returns the text behind a key, up to a size."""
    if kind == b"tEXt":
        return value
    if kind == b"zTXt":
        packed, text = True, value[1:]
    else:
        # Flag and method of compression, a language and a translated key come before the text.
        packed, text = value[:1] == b"\1", [*value[2:].split(b"\0", 2), b"", b""][2]
    try:
        return zlib.decompressobj().decompress(text, _MOST_TEXT) if packed else text
    except zlib.error:
        return b""


def _from_hex(text: bytes) -> bytes:
    """Reads the form in which ImageMagick puts EXIF into texts: three lines, then hex digits."""
    try:
        return bytes.fromhex("".join(text[:_MOST_TEXT].decode("latin-1").split("\n")[3:]))
    except ValueError:
        return b""


def _in_exif(exif: bytes) -> int | None:
    """Finds the orientation in the first directory of a TIFF; None where it has none."""
    tiff = re.sub(rb"\A(Exif\0\0){1,2}", b"", exif)
    if not tiff:
        return None
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return UPRIGHT
    (at,) = struct.unpack_from(f"{order}I", tiff, 4)
    (entries,) = struct.unpack_from(f"{order}H", tiff, at)
    for place in range(at + 2, at + 2 + 12 * entries, 12):
        tag, kind, count = struct.unpack_from(f"{order}HHI", tiff, place)
        if tag == _TAG:
            if kind not in _INTEGERS or count != 1:
                return UPRIGHT
            return struct.unpack_from(f"{order}{_INTEGERS[kind]}", tiff, place + 8)[0]
    return None
