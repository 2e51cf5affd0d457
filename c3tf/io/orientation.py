"""The rule for rotations that a camera notes (EXIF): one for conversion and prediction.

Labelme and CVAT show a photograph upright, others as it is stored; a mask drawn in one does not fit
the picture that the other has. The file cannot say which was meant, so nothing is assumed: by
default such images are refused, and the user says which it is.
"""

from PIL import Image

from c3tf.io.image_bytes import Header

RULES = ("refuse", "apply", "ignore")
DEFAULT = "refuse"
HELP = (
    "What becomes of images whose metadata (EXIF) say that they are to be turned or mirrored: "
    "refuse them, apply it, or ignore it and take the pixels as they are stored."
)
_TAG = 0x0112
_UPRIGHT = 1
# What brings a picture upright, by the tag's value.
_METHODS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_SWAPPING = (5, 6, 7, 8)


def of(image: Image.Image, header: Header) -> int:
    """Returns the orientation an image notes, 2 to 8; 1 where it is upright or notes none.

    Args:
        image: the opened file.
        header: what `image_bytes.check` says of it: a PNG may note it behind its pixels.
    """
    value = _read(image.getexif)
    if value not in _METHODS and header.exif is not None:
        exif = Image.Exif()
        value = _read(lambda: exif.load(header.exif) or exif)
    return value if value in _METHODS else _UPRIGHT


def _read(open_exif) -> int | None:
    # Metadata are of no fixed form: what Pillow makes of damaged ones is one error or another.
    try:
        value = open_exif().get(_TAG)
    except Exception:
        return None
    return value if isinstance(value, int) else None


def is_turned(orientation: int) -> bool:
    """Tells whether an orientation changes a picture."""
    return orientation in _METHODS


def swaps_sides(orientation: int) -> bool:
    """Tells whether an orientation makes rows of columns."""
    return orientation in _SWAPPING


def apply(image: Image.Image, orientation: int) -> Image.Image:
    """Brings an image upright; the same where it is."""
    method = _METHODS.get(orientation)
    return image if method is None else image.transpose(method)


def refusal(orientation: int) -> str:
    """Says, as a clause, that an image is refused and what to do."""
    return (
        f"notes that it is to be turned (EXIF orientation {orientation}). Say --exif=apply if "
        "whoever drew or will see it has it upright (labelme, CVAT, most viewers), or "
        "--exif=ignore to take the pixels as they are stored"
    )
