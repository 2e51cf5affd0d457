"""Image files byte by byte: what encoders write, and what goes wrong with it."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

PNG = b"\x89PNG\r\n\x1a\n"
END = b"\xff\xd9"


def noise(height=48, width=64, channels=3, seed=0):
    """Draws an image that compresses to many bytes per block."""
    rng = np.random.default_rng(seed)
    return rng.integers(1, 255, (height, width, channels), np.uint8).squeeze()


def encode(pixels, kind, **options):
    """Encodes an array or a Pillow image."""
    buffer = io.BytesIO()
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def turned(pixels, kind, orientation):
    """Encodes with a note in the metadata that the image is to be turned."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return encode(pixels, kind, exif=exif)


def chunk(kind, body, checksum=None):
    """Makes a chunk of a PNG."""
    checksum = zlib.crc32(kind + body) if checksum is None else checksum
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def png(data, size, *, depth=8, color=2, interlaced=0, before=b"", after=b"", end=None):
    """Makes a PNG of any parts; `data` are its compressed rows, `size` is (height, width)."""
    header = struct.pack(">IIBBBBB", size[1], size[0], depth, color, 0, 0, interlaced)
    end = chunk(b"IEND", b"") if end is None else end
    return PNG + chunk(b"IHDR", header) + before + chunk(b"IDAT", data) + after + end


def rows(pixels, count=None):
    """Returns the rows of an image as a PNG holds them before compression, without a filter."""
    return b"".join(b"\0" + row.tobytes() for row in pixels[:count])
