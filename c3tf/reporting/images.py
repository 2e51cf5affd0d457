"""Pictures inside a page, as data URLs."""

import base64
import io

import numpy as np
from PIL import Image

from c3tf.visualization import drawing

_SIDE = 480
# Of a JPEG; a PNG has none.
_QUALITY = 85


def data_url(pixels: np.ndarray, kind: str = "png", side: int = _SIDE) -> str:
    """Encodes a picture into a URL.

    Args:
        pixels: `(H, W, 3)` uint8.
        kind: `jpeg` for photographs, `png` for pictures of few colours.
        side: larger pictures are shrunk until they fit a square of it; 0 keeps every size.

    Returns:
        The URL.
    """
    picture = Image.fromarray(pixels)
    if 0 < side < max(picture.size):
        # Averaged class colours would be those of no class.
        resample = Image.Resampling.LANCZOS if kind == "jpeg" else Image.Resampling.NEAREST
        picture = picture.resize(drawing.fitted(*picture.size, side), resample)
    if kind == "png":
        picture = picture.quantize(256)
    held = io.BytesIO()
    picture.save(held, format=kind, optimize=True, quality=_QUALITY)
    return f"data:image/{kind};base64,{base64.b64encode(held.getvalue()).decode('ascii')}"
