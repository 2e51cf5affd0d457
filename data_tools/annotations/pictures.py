"""Small PNG masks inside of annotation files."""

import base64
import binascii
import zlib

import numpy as np

from c3tf.io import decoding
from c3tf.io.image_bytes import ImageBytesError
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
        image, header = decoding.decode(encoded)
    except (binascii.Error, zlib.error, ValueError, ImageBytesError) as error:
        raise AnnotationError(f"{where}: its mask cannot be read: {error}.") from error
    if header.kind != "png":
        raise AnnotationError(f"{where}: its mask is a JPEG, whose pixels are blurred.")
    if image.mode in ("RGBA", "LA"):
        image = image.getchannel("A")
    pixels = np.asarray(image.convert("RGB") if image.mode == "P" else image)
    return pixels.any(axis=-1) if pixels.ndim == 3 else pixels > 0
