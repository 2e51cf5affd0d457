"""One image with its label, as it travels from a converter to a TFRecord and back.

Free of TensorFlow, so that conversion workers start fast and stay small.
"""

import dataclasses
import io

import numpy as np
from PIL import Image

from c3tf.data import names
from c3tf.errors import DataError

IMAGE_FORMATS = ("jpeg", "png")


@dataclasses.dataclass(frozen=True)
class Record:
    """An encoded image and what is known about it.

    Attributes:
        image: encoded 8-bit RGB image.
        image_format: `"jpeg"` or `"png"`.
        label: train ids as an 8-bit grey PNG, or None for an image without a label. In validation
            records it may be larger than the image (its original size).
        name: unique in its split; what split lists and predictions are named by.
        height: rows of the image.
        width: columns of the image.
        dataset: short name of the data set the image comes from.
        source: path of the source image below the data set's root.
    """

    image: bytes
    image_format: str
    label: bytes | None
    name: str
    height: int
    width: int
    dataset: str
    source: str

    def __post_init__(self) -> None:
        if self.image_format not in IMAGE_FORMATS:
            raise ValueError(
                f"`image_format` must be one of {IMAGE_FORMATS}. "
                f"Received: image_format={self.image_format!r}"
            )
        if self.height < 1 or self.width < 1:
            raise ValueError(
                "`height` and `width` must be positive. "
                f"Received: height={self.height}, width={self.width}"
            )
        if not self.name or self.name != self.name.strip() or not names.is_usable(self.name):
            raise ValueError(
                "`name` must be text on one line, not empty and without spaces at its ends. "
                f"Received: name={self.name!r}"
            )


def decode_name(stored: bytes) -> str:
    """Returns the name that a record holds as bytes.

    Raises:
        DataError: it is no text.
    """
    try:
        return stored.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(f"A record's name is no text: {stored!r:.300}") from error


def encode_jpeg(image: np.ndarray, quality: int = 95) -> bytes:
    """Encodes an RGB image, uint8 `(H, W, 3)`, as a baseline JPEG of quality 1 to 100.

    Equal pixels give equal bytes from the same Pillow.
    """
    _check_pixels(image, channels=3)
    if not 1 <= quality <= 100:
        raise ValueError(f"`quality` must be 1 to 100. Received: quality={quality}")
    return _save(image, "JPEG", quality=quality)


def encode_png(image: np.ndarray, compress_level: int = 6) -> bytes:
    """Encodes colours, uint8 `(H, W, 3)`, or ids, uint8 `(H, W)` stored as 8-bit grey, as PNG."""
    _check_pixels(image, channels=3 if image.ndim == 3 else None)
    return _save(image, "PNG", compress_level=compress_level)


def _check_pixels(image: np.ndarray, channels: int | None) -> None:
    """Refuses arrays that are no 8-bit image."""
    expected = () if channels is None else (channels,)
    if image.dtype != np.uint8 or image.ndim < 2 or image.shape[2:] != expected:
        raise ValueError(
            "`image` must be uint8 (H, W, 3), or (H, W) for a label. "
            f"Received: image of {image.dtype}, shape {image.shape}"
        )


def _save(image: np.ndarray, kind: str, **options: int) -> bytes:
    """Encodes with Pillow into memory."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, kind, **options)
    return buffer.getvalue()
