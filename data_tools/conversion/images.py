"""Reading, resizing and storing of images and label masks, with every odd file refused clearly.

Runs in conversion workers: NumPy, OpenCV and Pillow only.
"""

import dataclasses
import errno
import warnings

import cv2
import numpy as np
from PIL import Image

from c3tf.errors import DataError
from c3tf.io import decoding, image_bytes, orientation
from c3tf.io.image_bytes import EndMissingError, ImageBytesError

_BYTE_MAX = np.iinfo(np.uint8).max
_COLOR_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA", "RGBX", "CMYK", "YCbCr")
# Of masks with the id in their red channel; grey is red, too.
_RED_MODES = ("1", "L", "LA", "RGB", "RGBA")
# Row filter and matching that suit large areas of one value.
_PNG_OF_IDS = (
    *(cv2.IMWRITE_PNG_FILTER, cv2.IMWRITE_PNG_FILTER_UP),
    *(cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE),
)
# Why a file cannot be read, ever: the file is to blame.
_NEVER_READABLE = (errno.ENOENT, errno.EACCES, errno.EPERM, errno.EISDIR, errno.ENOTDIR)
_NEVER_READABLE += (errno.ELOOP, errno.ENAMETOOLONG, errno.ENXIO, errno.ENODEV, errno.EINVAL)
# `decode` refuses images that Pillow only warns of.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class UnavailableError(DataError):
    """A file cannot be read now, for a reason that is not its own: a disk or a network failed."""


class TurnedError(DataError):
    """An image or mask notes a rotation, and nobody has said what that means."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """How odd files are read.

    Attributes:
        exif: what becomes of rotations that a camera notes, one of `orientation.RULES`.
        mend: read files that lack nothing but their end; otherwise they are refused.
    """

    exif: str = orientation.DEFAULT
    mend: bool = False


_PLAIN = Reading()


@dataclasses.dataclass(frozen=True)
class SourceImage:
    """A decoded source image and its file.

    Attributes:
        pixels: RGB Pillow image.
        encoded: the file's bytes.
        storable_as: `"jpeg"` or `"png"` if the file itself is an 8-bit RGB image of that format, so
            that its bytes can be kept; else None.
        is_turned: a rotation that its metadata note was applied.
        is_mended: the file lacked its end.
        noted: the orientation that its metadata note; 1 is upright.
    """

    pixels: Image.Image
    encoded: bytes
    storable_as: str | None
    is_turned: bool = False
    is_mended: bool = False
    noted: int = 1

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.height, self.pixels.width


@dataclasses.dataclass(frozen=True)
class Mask:
    """A decoded mask of ids.

    Attributes:
        ids: uint8 `(H, W)`.
        palette: of a palette mask, the colours of its indices, uint8 `(count, 3)`; else None.
    """

    ids: np.ndarray
    palette: np.ndarray | None


def read_image(path: str, reading: Reading = _PLAIN) -> SourceImage:
    """Reads an image as 8-bit RGB; grey and palette are converted, an alpha channel is dropped.

    Raises:
        TurnedError: its metadata note a rotation, and `reading` refuses these.
        DataError: the file is missing, empty, damaged, cut, too large, or has 16-bit pixels.
        UnavailableError: a disk or a network failed.
    """
    encoded = _read(path)
    image, header, is_mended = _decode(path, encoded, reading)
    if image.mode not in _COLOR_MODES or header.depth > 8:
        raise DataError(
            f"{path} has {_depth_name(image, header)} pixels; images must have 8 bits per "
            "channel. Convert it to 8 bits."
        )
    noted = orientation.of(image, header)
    upright = _upright(path, image, noted, reading)
    plain = image.mode == "RGB" and "transparency" not in image.info
    kept = plain and upright is image and image.format.lower() == header.kind and not is_mended
    return SourceImage(
        upright if plain else upright.convert("RGB"),
        encoded,
        header.kind if kept else None,
        is_turned=upright is not image,
        is_mended=is_mended,
        noted=noted,
    )


def read_mask(
    path: str, palette_masks: bool = False, red_masks: bool = False, reading: Reading = _PLAIN
) -> Mask:
    """Reads a mask of ids: an 8-bit grey image, or another kind if that is expected.

    Args:
        path: the mask file.
        palette_masks: take the indices of a palette image for ids (as in PASCAL VOC). Otherwise it
            is refused, because its ids may as well be meant by its colours.
        red_masks: take the red channel for ids (CARLA; masks with R = G = B; grey with alpha).
        reading: how odd files are read.

    Raises:
        TurnedError: its metadata note a rotation, and `reading` refuses these.
        DataError: the file is missing, empty, damaged, cut, too large, lossy, 16-bit, or holds
            colours instead of ids.
    """
    mask, depth = _read_lossless(path, reading)
    if mask.mode == "P" and not palette_masks:
        raise DataError(
            f"{path} is a palette image. If the indices into its palette are the ids (as in PASCAL "
            "VOC), add --palette_masks; if its colours say the class, use `python -m "
            "data_tools.folder` with --masks_are=colors."
        )
    if red_masks and mask.mode in _RED_MODES:
        return Mask(_red(path, mask, depth), None)
    if mask.mode not in ("1", "L", "P"):
        raise DataError(
            f"{path} holds colours (mode {mask.mode}), not ids. Use the masks with one id per "
            "pixel (Cityscapes: *_labelIds.png; BDD100K: labels/sem_seg/masks), or "
            "`python -m data_tools.folder` with --masks_are=colors, or with --masks_are=red if the "
            "red channel holds the ids (CARLA; R = G = B; grey with alpha)."
        )
    palette = None
    if mask.mode == "P":
        palette = np.asarray(mask.getpalette("RGB"), np.uint8).reshape(-1, 3)
    return Mask(_grey_ids(np.asarray(mask, np.uint8), mask.mode, depth), palette)


def _grey_ids(ids: np.ndarray, mode: str, depth: int) -> np.ndarray:
    """Undoes that Pillow stretches grey images of 2 and 4 bits to 0..255; ids are as stored."""
    return ids // (_BYTE_MAX // (2**depth - 1)) if mode == "L" and depth < 8 else ids


def _red(path: str, mask: Image.Image, depth: int) -> np.ndarray:
    """Returns the red, or grey, channel."""
    channels = np.asarray(mask, np.uint8)
    if channels.ndim == 2:
        return _grey_ids(channels, mask.mode, depth)
    alpha = channels[..., -1]
    if mask.mode in ("LA", "RGBA") and (alpha != alpha[0, 0]).any():
        raise DataError(
            f"{path} is transparent in some places and not in others, so its red channel does not "
            "say all. Save it without transparency, with an id of its own for what is transparent."
        )
    return np.ascontiguousarray(channels[..., 0])


def read_colors(path: str, reading: Reading = _PLAIN) -> tuple[np.ndarray, np.ndarray | None]:
    """Reads the colours of a painted mask, uint8 `(H, W, 3)`; and where it is not opaque.

    The latter is bool `(H, W)`, and None where it does not differ from place to place.

    Raises:
        DataError: the file is missing, empty, damaged, cut, too large, lossy, or 16-bit.
    """
    mask, _ = _read_lossless(path, reading)
    faint = None
    if mask.has_transparency_data:
        alpha = np.asarray(mask.convert("RGBA"))[..., -1]
        faint = alpha < _BYTE_MAX if (alpha != alpha[0, 0]).any() else None
    return np.asarray(mask.convert("RGB")), faint


def _read_lossless(path: str, reading: Reading) -> tuple[Image.Image, int]:
    """Reads a mask, a lossless image of 8 bits per channel at most; returns its depth too."""
    mask, header, _ = _decode(path, _read(path), reading)
    if header.kind != "png":
        raise DataError(f"{path} is a JPEG; its ids are blurred by compression. Use PNG masks.")
    if mask.mode not in _COLOR_MODES or header.depth > 8:
        raise DataError(
            f"{path} has {_depth_name(mask, header)} pixels; masks must hold 8-bit ids. "
            "Save it with 8 bits."
        )
    return _upright(path, mask, orientation.of(mask, header), reading), header.depth


def _upright(path: str, image: Image.Image, noted: int, reading: Reading) -> Image.Image:
    """Deals with a rotation that metadata note; the image itself where there is none."""
    if not orientation.is_turned(noted) or reading.exif == "ignore":
        return image
    if reading.exif == "refuse":
        raise TurnedError(f"{path} {orientation.refusal(noted)}.")
    return orientation.apply(image, noted)


def _read(path: str) -> bytes:
    """Reads a file that must hold something."""
    try:
        return decoding.read(path)
    except ImageBytesError as error:
        raise DataError(f"{path} {error}. Copy or download it again, or leave it out.") from error
    except OSError as error:
        if error.errno in _NEVER_READABLE:
            raise DataError(f"{path} cannot be read: {error.strerror or error}") from error
        raise UnavailableError(
            f"{path} cannot be read now: {error.strerror or error}. Mend the disk or the network, "
            "and run the same command again; it continues."
        ) from error


def _decode(
    path: str, encoded: bytes, reading: Reading
) -> tuple[Image.Image, image_bytes.Header, bool]:
    """Decodes the contents of a file; also tells whether it lacked its end."""
    try:
        return *decoding.decode(encoded), False
    except EndMissingError as error:
        if not reading.mend:
            raise DataError(
                f"{path} {error}. Copy or download it again; or say --reencode, if all its pixels "
                "are there."
            ) from error
        return *_decode(path, image_bytes.with_end(encoded), _PLAIN)[:2], True
    except ImageBytesError as error:
        raise DataError(
            f"{path} {error}. If it is damaged or cut short, copy or download it again."
        ) from error


def _depth_name(image: Image.Image, header: image_bytes.Header) -> str:
    """Names the pixel type of an image that is not 8-bit."""
    return f"{header.depth}-bit" if header.depth > 8 else f"mode {image.mode}"


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
    if height * width > image_bytes.MAX_PIXELS:
        raise DataError(
            f"{path} is {size[1]}x{size[0]} pixels; at --height={height} it would become "
            f"{width}x{height}, more than {image_bytes.MAX_PIXELS} pixels. Lower --height."
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
    """Resizes a mask, uint8 `(H, W)`, by taking the nearest pixel; ids are never blended."""
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
