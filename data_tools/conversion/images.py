"""Reading, resizing and storing of images and label masks, with every odd file refused clearly.

Runs in conversion workers: NumPy, OpenCV and Pillow only.
"""

import dataclasses
import io
import warnings

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from c3tf.errors import DataError
from c3tf.io import files

_BYTE_MAX = np.iinfo(np.uint8).max
_COLOR_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
# Row filter and matching that suit large areas of one value.
_PNG_OF_IDS = (
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
)
# Offset of the bit depth in a PNG file: signature (8), length and type of IHDR (8), size (8).
_PNG_DEPTH_AT = 24
# The kinds of files that may be images.
_FORMATS = ("JPEG", "PNG")
# Pillow reports damaged files with any of these.
_PILLOW_ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, TypeError, RuntimeError)
# Why a file cannot be read, ever: the file is to blame.
_NEVER_READABLE = (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError)
# `decode` refuses images that Pillow only warns of.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class UnavailableError(DataError):
    """A file cannot be read now, for a reason that is not its own: a disk or a network failed."""


class UndecodableError(Exception):
    """Bytes are no image, or no whole one; the message is a clause without the file's name."""


@dataclasses.dataclass(frozen=True)
class SourceImage:
    """A decoded source image and its file.

    Attributes:
        pixels: RGB Pillow image.
        encoded: the file's bytes.
        storable_as: `"jpeg"` or `"png"` if the file itself is an 8-bit RGB image of that format, so
            that its bytes can be kept; else None.
    """

    pixels: Image.Image
    encoded: bytes
    storable_as: str | None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.height, self.pixels.width


def read_image(path: str) -> SourceImage:
    """Reads an image as 8-bit RGB; grey, palette and alpha images are converted.

    An alpha channel is dropped. EXIF orientation is ignored, because labels are drawn on the pixels
    as stored.

    Args:
        path: the image file.

    Returns:
        The decoded image.

    Raises:
        DataError: the file is missing, empty, damaged, cut, too large, or has 16-bit pixels.
        UnavailableError: a disk or a network failed.
    """
    encoded = _read(path)
    image = _decode(path, encoded)
    if image.mode not in _COLOR_MODES or _png_depth(encoded) > 8:
        raise DataError(
            f"{path} has {_depth_name(image, encoded)} pixels; images must have 8 bits per "
            "channel. Convert it to 8 bits."
        )
    kind = image.format.lower()
    plain = image.mode == "RGB" and "transparency" not in image.info
    storable_as = kind if plain and kind in ("jpeg", "png") else None
    return SourceImage(image if plain else image.convert("RGB"), encoded, storable_as)


def read_ids(path: str, palette_masks: bool = False) -> np.ndarray:
    """Reads a mask of ids: an 8-bit grey image, or a palette image if that is expected.

    Args:
        path: the mask file.
        palette_masks: take the indices of a palette image for ids (as in PASCAL VOC). Otherwise it
            is refused, because its ids may as well be meant by its colours.

    Returns:
        uint8 `(H, W)`.

    Raises:
        DataError: the file is missing, empty, damaged, cut, too large, lossy, 16-bit, or holds
            colours instead of ids.
    """
    encoded, mask = _read_mask(path)
    if mask.mode == "P" and not palette_masks:
        raise DataError(
            f"{path} is a palette image. If the indices into its palette are the ids (as in PASCAL "
            "VOC), add --palette_masks; if its colours say the class, use data_tools.folder with "
            "--masks_are=colors."
        )
    if mask.mode not in ("1", "L", "P"):
        raise DataError(
            f"{path} holds colours (mode {mask.mode}), not ids. Use the masks with one id per "
            "pixel (Cityscapes: *_labelIds.png; BDD100K: labels/sem_seg/masks), or "
            "data_tools.folder with --masks_are=colors."
        )
    ids = np.asarray(mask, np.uint8)
    depth = _png_depth(encoded)
    if mask.mode == "L" and depth < 8:
        # Pillow stretches grey images of 2 and 4 bits to 0..255; the ids are the stored values.
        ids = ids // (_BYTE_MAX // (2**depth - 1))
    return ids


def read_colors(path: str) -> np.ndarray:
    """Reads a painted mask as uint8 `(H, W, 3)`; an alpha channel is dropped.

    Raises:
        DataError: the file is missing, empty, damaged, cut, too large, lossy, or 16-bit.
    """
    _, mask = _read_mask(path)
    return np.asarray(mask.convert("RGB"))


def _read_mask(path: str) -> tuple[bytes, Image.Image]:
    """Reads a lossless image of 8 bits per channel."""
    encoded = _read(path)
    mask = _decode(path, encoded)
    if mask.format != "PNG":
        raise DataError(f"{path} is a JPEG; its ids are blurred by compression. Use PNG masks.")
    if mask.mode not in _COLOR_MODES or _png_depth(encoded) > 8:
        raise DataError(
            f"{path} has {_depth_name(mask, encoded)} pixels; masks must hold 8-bit ids. "
            "Save it with 8 bits."
        )
    return encoded, mask


def _read(path: str) -> bytes:
    """Reads a file that must hold something."""
    try:
        encoded = files.read_bytes(path)
    except _NEVER_READABLE as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
    except OSError as error:
        raise UnavailableError(
            f"{path} cannot be read now: {error.strerror or error}. Mend the disk or the network, "
            "and run the same command again; it continues."
        ) from error
    if not encoded:
        raise DataError(f"{path} is empty (0 bytes). Copy or download it again.")
    return encoded


def _decode(path: str, encoded: bytes) -> Image.Image:
    """Decodes the contents of a file."""
    try:
        return decode(encoded)
    except UndecodableError as error:
        raise DataError(
            f"{path} {error}. If it is damaged or cut short, copy or download it again."
        ) from error


def decode(encoded: bytes) -> Image.Image:
    """Decodes all pixels of a JPEG or PNG, so that one cut short is noticed.

    Args:
        encoded: contents of the file.

    Returns:
        A Pillow image of whatever mode the file has.

    Raises:
        UndecodableError: it is of another kind, damaged, cut, or too large.
    """
    try:
        image = Image.open(io.BytesIO(encoded), formats=_FORMATS)
        if image.width * image.height > Image.MAX_IMAGE_PIXELS:
            raise UndecodableError(
                f"is too large to decode safely: {image.width}x{image.height} pixels, more than "
                f"{Image.MAX_IMAGE_PIXELS}"
            )
        image.load()
    except Image.DecompressionBombError as error:
        raise UndecodableError(f"is too large to decode safely: {error}") from error
    except UnidentifiedImageError as error:
        raise UndecodableError(
            f"is no readable image ({len(encoded)} bytes): it is neither a JPEG nor a PNG"
        ) from error
    except _PILLOW_ERRORS as error:
        raise UndecodableError(f"is no readable image ({len(encoded)} bytes): {error}") from error
    return image


def _png_depth(encoded: bytes) -> int:
    """Returns the bits per sample of a PNG, 8 for other formats.

    Pillow reads 16-bit colour PNGs as 8-bit without a word, so the header is asked.
    """
    return encoded[_PNG_DEPTH_AT] if encoded.startswith(b"\x89PNG") else 8


def _depth_name(image: Image.Image, encoded: bytes) -> str:
    """Names the pixel type of an image that is not 8-bit."""
    depth = _png_depth(encoded)
    return f"{depth}-bit" if depth > 8 else "16-bit" if "16" in image.mode else f"mode {image.mode}"


def target_size(path: str, size: tuple[int, int], height: int) -> tuple[int, int]:
    """Returns the height and width an image is stored with.

    Args:
        path: the image file, for the error.
        size: its height and width.
        height: wanted rows; 0 keeps the size.

    Raises:
        DataError: the stored image would be larger than what is safe to decode.
    """
    if height in (0, size[0]):
        return size
    width = max(1, round(size[1] * height / size[0]))
    if height * width > Image.MAX_IMAGE_PIXELS:
        raise DataError(
            f"{path} is {size[1]}x{size[0]} pixels; at --height={height} it would become "
            f"{width}x{height}, more than {Image.MAX_IMAGE_PIXELS} pixels. Lower --height."
        )
    return height, width


def resize_image(image: Image.Image, size: tuple[int, int]) -> np.ndarray:
    """Resizes an RGB image: each pixel becomes the mean of the area it covers.

    OpenCV weights fractional coverage exactly; Pillow's BOX filter gives a source pixel all or
    nothing, which is off by tens of grey levels where the sides are no multiples. Where a side
    grows, there is no area to average and Pillow's bilinear filter is used.

    Args:
        image: RGB.
        size: wanted height and width.

    Returns:
        uint8 `(height, width, 3)`.
    """
    height, width = size
    if (image.height, image.width) == size:
        return np.asarray(image)
    if height > image.height or width > image.width:
        return np.asarray(image.resize((width, height), Image.Resampling.BILINEAR))
    return cv2.resize(np.asarray(image), (width, height), interpolation=cv2.INTER_AREA)


def resize_ids(ids: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resizes a mask by taking the nearest pixel; ids are never blended.

    Args:
        ids: uint8 `(H, W)`.
        size: wanted height and width.

    Returns:
        uint8 `(height, width)`.
    """
    if ids.shape == size:
        return ids
    # In whole numbers, so that ties do not depend on rounding.
    rows, columns = (
        (2 * np.arange(target) + 1) * length // (2 * target)
        for length, target in zip(ids.shape, size, strict=True)
    )
    # Whole rows are taken faster than single pixels, so the columns are turned into rows first.
    turned = np.take(cv2.transpose(np.take(ids, rows, axis=0)), columns, axis=0)
    return cv2.transpose(turned)


def encode_ids(ids: np.ndarray) -> bytes:
    """Encodes a mask as an 8-bit grey PNG.

    A row of a mask differs from the one above it at a few edges only: differences between rows,
    stored as runs, take a third of the time of a PNG for photographs, and about as few bytes.

    Args:
        ids: uint8 `(H, W)`.

    Returns:
        The encoded bytes; the same for the same ids and the same OpenCV.

    Raises:
        ValueError: `ids` is no mask.
    """
    if ids.dtype != np.uint8 or ids.ndim != 2:
        raise ValueError(
            f"`ids` must be uint8 (H, W). Received: ids of {ids.dtype}, shape {ids.shape}"
        )
    done, encoded = cv2.imencode(".png", ids, _PNG_OF_IDS)
    if not done:
        raise RuntimeError(f"OpenCV cannot encode a mask of {ids.shape} pixels.")
    return encoded.tobytes()
