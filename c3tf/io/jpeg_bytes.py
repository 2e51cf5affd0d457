"""The rule for JPEG files: which bytes are one whole JPEG, all but its coded pixels."""

import dataclasses
import re
import struct

from c3tf.io.image_header import Header, check_pixels, damaged, end_missing, parts

BEGINNING = b"\xff\xd8\xff"
END = b"\xff\xd9"
# Ends coded pixels: any marker but a stuffed zero, a fill byte, or a restart.
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_RESTART = re.compile(rb"\xff[\xd0-\xd7]")
_EOI, _SOS, _DRI, _APP1, _APP14 = 0xD9, 0xDA, 0xDD, 0xE1, 0xEE
# Kinds of coding that libjpeg decodes: baseline, extended, progressive; the last two arithmetic.
_FRAMES = (0xC0, 0xC1, 0xC2, 0xC9, 0xCA)
_PROGRESSIVE = (0xC2, 0xCA)
# What may stand between the frame and the end: tables, restart interval, applications, comments.
_SEGMENTS = (0xC4, 0xCC, 0xDB, _DRI, *range(0xE0, 0xF0), 0xFE)
_COEFFICIENTS = 64
# Channels of CMYK, and how Adobe's note of so many bytes begins, which libjpeg looks for.
_CMYK, _ADOBE, _ADOBE_BYTES = 4, b"Adobe", 12


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


def check(encoded: bytes) -> Header:
    """Checks that a file is one whole JPEG; see `image_bytes.check`."""
    try:
        return _walk(encoded)
    except (IndexError, KeyError, ValueError, struct.error) as error:
        raise damaged(encoded, "a segment of the JPEG is damaged") from error


def _walk(encoded: bytes) -> Header:
    """Walks over the segments and scans of a JPEG to its end mark."""
    place, interval, frame, scans, exif = 2, 0, None, None, None
    says_inverted = False
    for _ in parts(encoded, "JPEG has more than {} segments"):
        marker, place = _next_marker(encoded, place)
        if marker == _EOI:
            break
        (length,) = struct.unpack_from(">H", encoded, place)
        segment = encoded[place + 2 : place + length]
        if length < 2 or len(segment) != length - 2:
            raise damaged(encoded, "the JPEG is cut short")
        place += length
        if marker in _FRAMES and frame is None:
            frame = struct.unpack_from(">BHHB", segment)
            scans = _Scans(tuple(segment[6 : 6 + 3 * frame[3] : 3]), marker in _PROGRESSIVE)
            check_pixels(frame[1], frame[2])
        elif marker == _SOS and scans is not None:
            scans.add(segment)
            place = _skip_scan(encoded, place, interval)
        elif marker == _DRI:
            (interval,) = struct.unpack(">H", segment)
        elif marker == _APP1 and segment.startswith(b"Exif\0\0") and exif is None:
            exif = segment
        elif marker == _APP14 and segment.startswith(_ADOBE) and len(segment) >= _ADOBE_BYTES:
            # Behind a scan it comes too late.
            says_inverted |= scans is None or not scans.count
        elif marker not in _SEGMENTS:
            raise damaged(encoded, f"marker {marker:#04x} stands where none may be")
    if frame is None or 0 in frame[1:]:
        raise damaged(encoded, "the JPEG says no size")
    if not scans.whole():
        raise damaged(encoded, "the JPEG is cut short: not all of its scans are there")
    depth, height, width, channels = frame
    if channels == _CMYK and not says_inverted:
        # Pillow inverts all CMYK, TensorFlow only Adobe's.
        raise damaged(encoded, "nothing says if the CMYK of the JPEG is inverted; save it as RGB")
    return Header("jpeg", height, width, depth, place - 2, scans.count, exif)


def _next_marker(encoded: bytes, place: int) -> tuple[int, int]:
    """Returns the next marker, and the place behind it."""
    start = place
    while encoded[place : place + 1] == b"\xff":
        place += 1
    if place >= len(encoded):
        raise end_missing(encoded, "JPEG")
    if place == start:
        raise damaged(encoded, "the JPEG holds bytes between its segments")
    return encoded[place], place + 1


def _skip_scan(encoded: bytes, place: int, interval: int) -> int:
    """Skips coded pixels, and returns the place of the marker that ends them."""
    found = _MARKER.search(encoded, place)
    if found is None:
        raise end_missing(encoded, "JPEG")
    # Without restarts there is nothing to look for.
    if interval or _RESTART.search(encoded, place, found.start()):
        restarts = (m.group()[1] & 7 for m in _RESTART.finditer(encoded, place, found.start()))
        in_order = all(number == count % 8 for count, number in enumerate(restarts))
        if not interval or not in_order:
            raise damaged(encoded, "pixels between restart marks of the JPEG are missing")
    return found.start()
