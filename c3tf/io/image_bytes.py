"""The rule for image files: which bytes are one whole JPEG or PNG, read without decoding them.

Pillow passes over what the decoder that trains stumbles on (a JPEG without its end mark, a PNG
without its last chunk or its last rows). Conversion, verification and prediction ask here, so that
they agree with training, and with each other, on every file. Free of TensorFlow.
"""

import dataclasses
import itertools
import re
import struct
import zlib
from collections.abc import Iterator

# The largest image that is read, and the bytes of one of that size with four channels.
MAX_PIXELS = 1 << 26
MAX_BYTES = 4 * MAX_PIXELS

_JPEG, _PNG = b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n"
LONGEST_BEGINNING = len(_PNG)
_END_OF_JPEG = b"\xff\xd9"
# Ends coded pixels: any marker but a stuffed zero, a fill byte, or a restart.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_SOI, _EOI, _SOS, _DRI, _APP1 = 0xD8, 0xD9, 0xDA, 0xDD, 0xE1
# Kinds of coding that libjpeg decodes: baseline, extended, progressive; the last two arithmetic.
_FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
_PROGRESSIVE = (0xC2, 0xCA)
# What may stand between the frame and the end: tables, restart interval, applications, comments.
_SEGMENTS = (0xC4, 0xCC, 0xDB, _DRI, *range(0xE0, 0xF0), 0xFE)
_COEFFICIENTS = 64
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
# Colour type of a PNG: channels, and the depths it may have.
_PNG_KINDS = {
    0: (1, (1, 2, 4, 8, 16)),
    2: (3, (8, 16)),
    3: (1, (1, 2, 4, 8)),
    4: (2, (8, 16)),
    6: (4, (8, 16)),
}
_PALETTE = 3
# First row and column, and steps, of the seven passes of an interlaced PNG.
_PASSES = (
    (0, 0, 8, 8),
    (0, 4, 8, 8),
    (4, 0, 8, 4),
    (0, 2, 4, 4),
    (2, 0, 4, 2),
    (0, 1, 2, 2),
    (1, 0, 2, 1),
)
_CHUNK_BYTES = 1 << 20
# More parts than any encoder makes of the largest image; millions of empty ones take seconds.
MAX_PARTS = 1 << 17


class ImageBytesError(Exception):
    """Bytes are no image, or no whole one; the message is a clause without the file's name."""


class EndMissingError(ImageBytesError):
    """What ends the file is missing or damaged; the pixels before it may all be there."""


@dataclasses.dataclass(frozen=True)
class Header:
    """What a whole file says of itself.

    Attributes:
        kind: `"jpeg"` or `"png"`.
        height: rows.
        width: columns.
        depth: bits per channel.
        scans: of a JPEG; a PNG has one.
        end: place of the mark that ends a JPEG, or of what follows a PNG.
        exif: the metadata of the camera, None where there is none.
    """

    kind: str
    height: int
    width: int
    depth: int
    end: int
    scans: int = 1
    exif: bytes | None = None


def check(encoded: bytes) -> Header:
    """Checks that a file is one whole JPEG or PNG, all but the coded pixels of a JPEG.

    Args:
        encoded: contents of the file; what follows the image's own end does not matter.

    Raises:
        EndMissingError: what ends it is missing.
        ImageBytesError: it is of another kind, damaged, cut short, or too large.
    """
    if len(encoded) > MAX_BYTES:
        raise ImageBytesError(too_long(len(encoded)))
    if encoded.startswith(_JPEG):
        return _check_jpeg(encoded)
    if encoded.startswith(_PNG):
        return _check_png(encoded)
    raise ImageBytesError(
        f"is no readable image ({len(encoded)} bytes): it is neither a JPEG nor a PNG"
    )


def kind_of(beginning: bytes) -> str | None:
    """Returns `"jpeg"` or `"png"` by the first `LONGEST_BEGINNING` bytes of a file, or None."""
    if beginning.startswith(_JPEG):
        return "jpeg"
    return "png" if beginning.startswith(_PNG) else None


def too_long(length: int) -> str:
    """Says that a file is longer than any that is read."""
    return f"is too large to decode safely: {length} bytes, more than {MAX_BYTES}"


def with_end(encoded: bytes) -> bytes:
    """Completes a file whose end is missing; the same bytes where nothing can be done."""
    if encoded.startswith(_JPEG):
        return encoded + _END_OF_JPEG
    end = len(_PNG)
    rows = b""
    for kind, body, place in _chunks(encoded, whole=False):
        if kind == b"IDAT":
            rows += body
        elif kind == b"IEND" or rows:
            break
        else:
            end = place + len(body) + 12
    try:
        pixels = zlib.decompressobj().decompress(rows)
    except zlib.error:
        return encoded
    return encoded[:end] + _chunk(b"IDAT", zlib.compress(pixels, 1)) + _chunk(b"IEND", b"")


def _damaged(encoded: bytes, reason: str) -> ImageBytesError:
    return ImageBytesError(f"is no readable image ({len(encoded)} bytes): {reason}")


def _check_pixels(height: int, width: int) -> None:
    if height * width > MAX_PIXELS:
        raise ImageBytesError(
            f"is too large to decode safely: {width}x{height} pixels, more than {MAX_PIXELS}"
        )


@dataclasses.dataclass
class _Scans:
    """The scans of a JPEG, and which of its coefficients they have brought down to their last bit.

    Attributes:
        components: ids of the colour components.
        progressive: the coefficients of a component may come in several scans.
    """

    components: tuple[int, ...]
    progressive: bool
    count: int = 0

    def __post_init__(self) -> None:
        self._missing = {name: set(range(_COEFFICIENTS)) for name in self.components}

    def add(self, segment: bytes) -> None:
        """Notes a scan by its header."""
        self.count += 1
        number = segment[0]
        names = segment[1 : 1 + 2 * number : 2]
        first, last, bits = segment[1 + 2 * number : 4 + 2 * number]
        if not self.progressive:
            first, last, bits = 0, _COEFFICIENTS - 1, 0
        for name in names:
            if bits & 0x0F == 0:
                self._missing[name] -= set(range(first, last + 1))

    def whole(self) -> bool:
        """Tells whether every coefficient of every component is there."""
        return not any(self._missing.values())


def _check_jpeg(encoded: bytes) -> Header:
    try:
        return _walk_jpeg(encoded)
    except (IndexError, KeyError, ValueError, struct.error) as error:
        raise _damaged(encoded, "a segment of the JPEG is damaged") from error


def _walk_jpeg(encoded: bytes) -> Header:
    """Walks over the segments and scans of a JPEG to its end mark."""
    place, interval, frame, scans, exif = 2, 0, None, None, None
    for count in itertools.count(1):
        if count > MAX_PARTS:
            raise _damaged(encoded, f"the JPEG has more than {MAX_PARTS} segments")
        marker, place = _next_marker(encoded, place)
        if marker == _EOI:
            break
        (length,) = struct.unpack_from(">H", encoded, place)
        segment = encoded[place + 2 : place + length]
        if length < 2 or len(segment) != length - 2:
            raise _damaged(encoded, "the JPEG is cut short")
        place += length
        if marker in _FRAMES and frame is None:
            frame = struct.unpack_from(">BHHB", segment)
            scans = _Scans(tuple(segment[6 : 6 + 3 * frame[3] : 3]), marker in _PROGRESSIVE)
            _check_pixels(frame[1], frame[2])
        elif marker == _SOS and scans is not None:
            scans.add(segment)
            place = _skip_scan(encoded, place, interval)
        elif marker == _DRI:
            (interval,) = struct.unpack(">H", segment)
        elif marker == _APP1 and segment.startswith(b"Exif\0\0") and exif is None:
            exif = segment
        elif marker not in _SEGMENTS:
            raise _damaged(encoded, f"marker {marker:#04x} stands where none may be")
    if frame is None or 0 in frame[1:]:
        raise _damaged(encoded, "the JPEG says no size")
    if not scans.whole():
        raise _damaged(encoded, "the JPEG is cut short: not all of its scans are there")
    depth, height, width, _ = frame
    return Header("jpeg", height, width, depth, place - 2, scans.count, exif)


def _next_marker(encoded: bytes, place: int) -> tuple[int, int]:
    """Returns the next marker, and the place behind it."""
    start = place
    while encoded[place : place + 1] == b"\xff":
        place += 1
    if place >= len(encoded):
        raise EndMissingError(_end_missing(encoded, "JPEG"))
    if place == start:
        raise _damaged(encoded, "the JPEG holds bytes between its segments")
    return encoded[place], place + 1


def _end_missing(encoded: bytes, kind: str) -> str:
    return (
        f"is no readable image ({len(encoded)} bytes): the {kind} is cut short, its end is missing"
    )


def _skip_scan(encoded: bytes, place: int, interval: int) -> int:
    """Skips coded pixels, and returns the place of the marker that ends them."""
    found = _MARKER.search(encoded, place)
    if found is None:
        raise EndMissingError(_end_missing(encoded, "JPEG"))
    # Without restarts there is nothing to look for.
    if interval or _RESTART.search(encoded, place, found.start()):
        restarts = (m.group()[1] & 7 for m in _RESTART.finditer(encoded, place, found.start()))
        in_order = all(number == count % 8 for count, number in enumerate(restarts))
        if not interval or not in_order:
            raise _damaged(encoded, "pixels between restart marks of the JPEG are missing")
    return found.start()


def _check_png(encoded: bytes) -> Header:
    chunks = _chunks(encoded)
    kind, body, _ = next(chunks)
    if kind != b"IHDR" or len(body) != 13:
        raise _damaged(encoded, "the PNG has no header")
    width, height, depth, color, compression, filters, interlaced = struct.unpack(">IIBBBBB", body)
    channels, depths = _PNG_KINDS.get(color, (0, ()))
    if depth not in depths or compression or filters or interlaced > 1 or not width * height:
        raise _damaged(encoded, "the header of the PNG is damaged")
    _check_pixels(height, width)
    rows = _Rows(_png_bytes(height, width, depth * channels, bool(interlaced)))
    seen, exif, end = [kind], None, 0
    for kind, body, place in chunks:
        end = place + len(body) + 12
        # Lower case: a chunk that a reader may pass over.
        if kind not in _CRITICAL and not kind[:1].islower():
            raise _damaged(encoded, f"the PNG has a chunk {kind!r} that nobody knows")
        if kind == b"IHDR" or (kind == b"IDAT" and b"IDAT" in seen[:-1] and seen[-1] != kind):
            raise _damaged(encoded, f"a chunk {kind!r} of the PNG is out of place")
        if kind == b"PLTE" and (len(body) % 3 or not body):
            raise _damaged(encoded, "the palette of the PNG is damaged")
        if kind == b"IDAT":
            rows.add(encoded, body)
        elif kind == b"eXIf":
            exif = b"Exif\0\0" + body
        if kind != seen[-1]:
            seen.append(kind)
    if color == _PALETTE and (b"PLTE" not in seen or seen.index(b"PLTE") > seen.index(b"IDAT")):
        raise _damaged(encoded, "the PNG has no palette")
    rows.finish(encoded)
    return Header("png", height, width, depth, end, exif=exif)


def _chunks(encoded: bytes, whole: bool = True) -> Iterator[tuple[bytes, bytes, int]]:
    """Yields the chunks of a PNG up to its last: kind, contents, place.

    Raises:
        ImageBytesError: a chunk is cut or damaged; not unless the file must be `whole`.
    """
    place, kind, count = len(_PNG), b"", 0
    while kind != b"IEND":
        count += 1
        if count > MAX_PARTS:
            raise _damaged(encoded, f"the PNG has more than {MAX_PARTS} chunks")
        header = encoded[place : place + 8]
        kind = header[4:]
        length = int.from_bytes(header[:4], "big")
        body = encoded[place + 8 : place + 8 + length]
        stated = encoded[place + 8 + length : place + 12 + length]
        if len(stated) < 4 or zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(stated, "big"):
            if not whole:
                return
            if kind == b"IEND" or not header:
                raise EndMissingError(_end_missing(encoded, "PNG"))
            reason = "cut short" if len(stated) < 4 else "damaged (a checksum is wrong)"
            raise _damaged(encoded, f"the PNG is {reason}")
        yield kind, body, place
        place += length + 12


def _chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


class _Rows:
    """Counts the bytes that the compressed rows of a PNG unpack to."""

    def __init__(self, expected: int) -> None:
        self._expected, self._count = expected, 0
        self._unpacker = zlib.decompressobj()

    def add(self, encoded: bytes, data: bytes) -> None:
        """Unpacks the next part, a little at a time."""
        while data and not self._unpacker.eof:
            try:
                self._count += len(self._unpacker.decompress(data, _CHUNK_BYTES))
            except zlib.error as error:
                raise _damaged(encoded, "the pixels of the PNG are damaged") from error
            data = self._unpacker.unconsumed_tail

    def finish(self, encoded: bytes) -> None:
        """Refuses a PNG with fewer rows than its header says, or with an open end."""
        if self._count < self._expected:
            raise _damaged(
                encoded,
                f"the PNG is cut short: {self._count} bytes of pixels instead of {self._expected}",
            )
        if not self._unpacker.eof:
            raise EndMissingError(_end_missing(encoded, "PNG"))


def _png_bytes(height: int, width: int, bits: int, interlaced: bool) -> int:
    """Returns the bytes of all rows, each with the byte that names its filter."""
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = (
        (-(-(height - top) // down), -(-(width - left) // right))
        for top, left, down, right in passes
    )
    return sum(rows * (1 + (columns * bits + 7) // 8) for rows, columns in sizes if columns > 0)
