"""Small PNG masks inside of annotation files."""

import base64
import binascii
import io
import zlib

import numpy as np
from PIL import Image

from c3tf.io import image_bytes
from data_tools.annotations.shapes import AnnotationError

# A mask that compresses to nothing must not fill the memory before its size is known.
_MOST_BYTES = 64 << 20


def mask_of_base64(text: str, where: str, compressed: bool = False) -> np.ndarray:
    """Decodes a PNG in base64.

    Args:
        text: the PNG.
        where: what it belongs to, for messages.
        compressed: it is compressed once more with zlib, as Supervisely does.

    Returns:
        `(h, w)` bool: what is not 0, and of pictures with an alpha channel what is not transparent.

    Raises:
        AnnotationError: it is none.
    """
    try:
        encoded = base64.b64decode(text, validate=True)
        if compressed:
            encoded = zlib.decompressobj().decompress(encoded, _MOST_BYTES)
        image_bytes.check(encoded)
        with Image.open(io.BytesIO(encoded), formats=["PNG"]) as image:
            if image.mode in ("RGBA", "LA"):
                image = image.getchannel("A")
            pixels = np.asarray(image.convert("RGB") if image.mode == "P" else image)
    except (
        binascii.Error, zlib.error, OSError, ValueError, image_bytes.ImageBytesError,
    ) as error:  # fmt: skip
        raise AnnotationError(f"{where}: its mask cannot be read: {error}.") from error
    return pixels.any(axis=-1) if pixels.ndim == 3 else pixels > 0
