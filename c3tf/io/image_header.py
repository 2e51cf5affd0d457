"""What the readers of image files share: limits, errors, and what a whole file says of itself."""

import dataclasses
from collections.abc import Iterator

# The largest image that is read, and the bytes of one of that size with four channels.
MAX_PIXELS = 1 << 26
MAX_BYTES = 4 * MAX_PIXELS
# More segments or chunks than any encoder makes of the largest image; millions of empty ones take
# seconds.
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


def damaged(encoded: bytes, reason: str) -> ImageBytesError:
    """Makes the error of a file that is no image, or no whole one, for a reason."""
    return ImageBytesError(f"is no readable image ({len(encoded)} bytes): {reason}")


def check_pixels(height: int, width: int) -> None:
    """Refuses an image that is too large."""
    if height * width > MAX_PIXELS:
        raise ImageBytesError(
            f"is too large to decode safely: {width}x{height} pixels, more than {MAX_PIXELS}"
        )


def end_missing(encoded: bytes, kind: str) -> EndMissingError:
    """Makes the error of a file whose end is missing."""
    return EndMissingError(
        f"is no readable image ({len(encoded)} bytes): the {kind} is cut short, its end is missing"
    )


def parts(encoded: bytes, whole: str) -> Iterator[None]:
    """Counts parts while they are walked over, and refuses more than `MAX_PARTS`.

    Args:
        encoded: contents of the file.
        whole: what has the parts, and their name, such as "PNG has more than {} chunks".
    """
    for _ in range(MAX_PARTS):
        yield
    raise damaged(encoded, f"the {whole.format(MAX_PARTS)}")
