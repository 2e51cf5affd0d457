"""The rule for image files: which bytes are one whole JPEG or PNG, read without decoding them.

Pillow passes over what the decoder that trains stumbles on (a JPEG without its end mark, a PNG
without its last chunk or its last rows). Conversion, verification and prediction ask here, so that
they agree with training, and with each other, on every file. Free of TensorFlow.
"""

from c3tf.io import jpeg_bytes, png_bytes
from c3tf.io.image_header import (
    MAX_BYTES,
    MAX_PARTS,
    MAX_PIXELS,
    EndMissingError,
    Header,
    ImageBytesError,
)

__all__ = [
    "LONGEST_BEGINNING",
    "MAX_BYTES",
    "MAX_PARTS",
    "MAX_PIXELS",
    "EndMissingError",
    "Header",
    "ImageBytesError",
    "check",
    "kind_of",
    "too_long",
    "with_end",
]

LONGEST_BEGINNING = len(png_bytes.BEGINNING)


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
    if encoded.startswith(jpeg_bytes.BEGINNING):
        return jpeg_bytes.check(encoded)
    if encoded.startswith(png_bytes.BEGINNING):
        return png_bytes.check(encoded)
    raise ImageBytesError(
        f"is no readable image ({len(encoded)} bytes): it is neither a JPEG nor a PNG"
    )


def kind_of(beginning: bytes) -> str | None:
    """Returns `"jpeg"` or `"png"` by the first `LONGEST_BEGINNING` bytes of a file, or None."""
    if beginning.startswith(jpeg_bytes.BEGINNING):
        return "jpeg"
    return "png" if beginning.startswith(png_bytes.BEGINNING) else None


def too_long(length: int) -> str:
    """Says that a file is longer than any that is read."""
    return f"is too large to decode safely: {length} bytes, more than {MAX_BYTES}"


def with_end(encoded: bytes) -> bytes:
    """Completes a file whose end is missing; the same bytes where nothing can be done."""
    if encoded.startswith(jpeg_bytes.BEGINNING):
        return encoded + jpeg_bytes.END
    return png_bytes.with_end(encoded)
