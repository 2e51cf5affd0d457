"""The rule for PNG files: which bytes are one whole PNG; and how one gets its missing end."""

import struct
import zlib
from collections.abc import Iterator

from c3tf.io.image_header import Header, check_pixels, damaged, end_missing, parts

BEGINNING = b"\x89PNG\r\n\x1a\n"
_CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
# Of these a PNG has one; the pixels may be divided into consecutive chunks.
_ONCE = (b"IHDR", b"PLTE", b"IDAT")
# Colour type of a PNG: channels, and the depths it may have.
_KINDS = {
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


def check(encoded: bytes) -> Header:
    """Checks that a file is one whole PNG; see `image_bytes.check`."""
    chunks = _chunks(encoded)
    kind, body, _ = next(chunks)
    if kind != b"IHDR" or len(body) != 13:
        raise damaged(encoded, "the PNG has no header")
    width, height, depth, color, compression, filters, interlaced = struct.unpack(">IIBBBBB", body)
    channels, depths = _KINDS.get(color, (0, ()))
    if depth not in depths or compression or filters or interlaced > 1 or not width * height:
        raise damaged(encoded, "the header of the PNG is damaged")
    check_pixels(height, width)
    rows = _Rows(_png_bytes(height, width, depth * channels, bool(interlaced)))
    # Size and place of the frame of an animation that is the image as well.
    whole_frame = struct.pack(">IIII", width, height, 0, 0)
    seen, last, exif, end = {kind}, kind, None, 0
    for kind, body, place in chunks:
        end = place + len(body) + 12
        # Lower case: a chunk that a reader may pass over.
        if kind not in _CRITICAL and not kind[:1].islower():
            raise damaged(encoded, f"the PNG has a chunk {kind!r} that nobody knows")
        if kind in _ONCE and kind in seen and (kind != b"IDAT" or last != kind):
            raise damaged(encoded, f"a chunk {kind!r} of the PNG is out of place")
        if kind == b"PLTE" and (len(body) % 3 or not body):
            raise damaged(encoded, "the palette of the PNG is damaged")
        if color == _PALETTE and kind == b"IDAT" and b"PLTE" not in seen:
            raise damaged(encoded, "the PNG has no palette")
        if kind == b"fcTL" and b"IDAT" not in seen and body[4:20] != whole_frame:
            raise damaged(encoded, "the first frame of the PNG is not as large as its header says")
        if kind == b"IDAT":
            rows.add(encoded, body)
        elif kind == b"eXIf":
            exif = b"Exif\0\0" + body
        seen.add(kind)
        last = kind
    rows.finish(encoded)
    return Header("png", height, width, depth, end, exif=exif)


def with_end(encoded: bytes) -> bytes:
    """Completes a file whose end is missing; see `image_bytes.with_end`."""
    end = len(BEGINNING)
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


def _chunks(encoded: bytes, whole: bool = True) -> Iterator[tuple[bytes, bytes, int]]:
    """Yields the chunks of a PNG up to its last: kind, contents, place.

    Raises:
        ImageBytesError: a chunk is cut or damaged; not unless the file must be `whole`.
    """
    place = len(BEGINNING)
    for _ in parts(encoded, "PNG has more than {} chunks"):
        header = encoded[place : place + 8]
        kind = header[4:]
        length = int.from_bytes(header[:4], "big")
        body = encoded[place + 8 : place + 8 + length]
        stated = encoded[place + 8 + length : place + 12 + length]
        if len(stated) < 4 or zlib.crc32(body, zlib.crc32(kind)) != int.from_bytes(stated, "big"):
            if not whole:
                return
            if kind == b"IEND" or not header:
                raise end_missing(encoded, "PNG")
            reason = "cut short" if len(stated) < 4 else "damaged (a checksum is wrong)"
            raise damaged(encoded, f"the PNG is {reason}")
        yield kind, body, place
        if kind == b"IEND":
            return
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
                raise damaged(encoded, "the pixels of the PNG are damaged") from error
            data = self._unpacker.unconsumed_tail

    def finish(self, encoded: bytes) -> None:
        """Refuses a PNG with fewer rows than its header says, or with an open end."""
        if self._count < self._expected:
            raise damaged(
                encoded,
                f"the PNG is cut short: {self._count} bytes of pixels instead of {self._expected}",
            )
        if not self._unpacker.eof:
            raise end_missing(encoded, "PNG")


def _png_bytes(height: int, width: int, bits: int, interlaced: bool) -> int:
    """Returns the bytes of all rows, each with the byte that names its filter."""
    passes = _PASSES if interlaced else ((0, 0, 1, 1),)
    sizes = (
        (-(-(height - top) // down), -(-(width - left) // right))
        for top, left, down, right in passes
    )
    return sum(rows * (1 + (columns * bits + 7) // 8) for rows, columns in sizes if columns > 0)
