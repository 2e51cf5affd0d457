"""Whole image files: what is accepted is what the decoder that trains reads, and all of it."""

import io
import struct
import time
import zlib

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from c3tf.data import tfrecord
from c3tf.io import decoding, image_bytes
from c3tf.io.image_bytes import EndMissingError, ImageBytesError
from image_files import END, chunk, encode, noise, png, rows

NOISE = noise()
JPEG, PROGRESSIVE = (encode(NOISE, "JPEG", quality=90, progressive=p) for p in (False, True))
RAW = rows(NOISE)
DATA = zlib.compress(RAW)
SIZE = NOISE.shape[:2]
FRAME = JPEG.find(b"\xff\xc0") + 5
GREYS = noise(channels=1)
PALETTE = chunk(b"PLTE", bytes(range(256)) * 3)
CMYK = encode(Image.fromarray(NOISE).convert("CMYK"), "JPEG")
NOTE = CMYK[CMYK.find(b"\xff\xee") :][:16]


def animation(height, width):
    """Returns the chunks that make a PNG an animation of one frame, its image."""
    frame = struct.pack(">IIIIIHHBB", 0, width, height, 0, 0, 1, 1, 0, 0)
    return chunk(b"acTL", struct.pack(">II", 1, 0)) + chunk(b"fcTL", frame)


def deep(count):
    """Returns rows of 16 bits."""
    return zlib.compress(rows(GREYS.astype(">u2"), count))


WHOLE = {
    "jpeg": JPEG,
    "progressive": PROGRESSIVE,
    "restarts": encode(NOISE, "JPEG", restart_marker_blocks=2),
    "grey jpeg": encode(GREYS, "JPEG"),
    "cmyk": CMYK,
    "ycck": CMYK.replace(b"Adobe\0d\0\0\0\0\0", b"Adobe\0d\0\0\0\0\2"),
    "rgb jpeg": encode(NOISE, "JPEG", keep_rgb=True),
    "two images": encode(NOISE, "MPO", save_all=True, append_images=[Image.fromarray(NOISE)]),
    "garbage behind": JPEG + b"garbage" + END,
    "fill bytes": JPEG[:2] + b"\xff\xff" + JPEG[2:],
    "png": png(DATA, SIZE),
    "garbage behind png": png(DATA, SIZE) + b"garbage",
    "more rows": png(zlib.compress(RAW + RAW), SIZE),
    "unknown chunk": png(DATA, SIZE, before=chunk(b"abCd", b"x")),
    "animated": encode(NOISE, "PNG", save_all=True, append_images=[Image.fromarray(255 - NOISE)]),
    "animated image": png(DATA, SIZE, before=animation(*SIZE)),
    "gamma": png(DATA, SIZE, before=chunk(b"gAMA", struct.pack(">I", 22222))),
    "palette": png(zlib.compress(rows(GREYS)), SIZE, color=3, before=PALETTE),
    "black": encode(np.zeros_like(NOISE), "PNG"),
    "grey 128": encode(np.full_like(NOISE, 128), "JPEG"),
    "grey 128, progressive": encode(np.full_like(NOISE, 128), "JPEG", progressive=True),
}
BROKEN = {
    "jpeg without end": JPEG[:-2],
    "jpeg end zeroed": JPEG[:-2] + b"\0\0",
    "jpeg end half": JPEG[:-1],
    "progressive without end": PROGRESSIVE[:-2],
    "jpeg cut, with end": JPEG[: len(JPEG) // 2] + END,
    "progressive cut, with end": PROGRESSIVE[: len(PROGRESSIVE) // 2] + END,
    "last scan cut": PROGRESSIVE[: len(PROGRESSIVE) - 40] + END,
    "rows missing": JPEG[:FRAME] + struct.pack(">H", 64) + JPEG[FRAME + 2 :],
    "no rows": JPEG[:FRAME] + bytes(2) + JPEG[FRAME + 2 :],
    "lossless": JPEG.replace(b"\xff\xc0", b"\xff\xc3"),
    # Pillow and TensorFlow read these in two ways.
    "cmyk without a note": CMYK.replace(NOTE, b""),
    "cmyk of another's": CMYK.replace(b"Adobe", b"Abode"),
    "cmyk with half a note": CMYK.replace(NOTE, NOTE[:3] + b"\x0d" + NOTE[4:-1]),
    "cmyk with a late note": CMYK.replace(NOTE, b"")[:-2] + NOTE + END,
    "stray marker": JPEG[:-60] + b"\xff\x05" + JPEG[-60:],
    "stray restart": JPEG[:-60] + b"\xff\xd3" + JPEG[-60:],
    "png without end": png(DATA, SIZE, end=b""),
    "png end cut": png(DATA, SIZE)[:-4],
    "png end damaged": png(DATA, SIZE, end=chunk(b"IEND", b"", 7)),
    "fewer rows": png(zlib.compress(rows(NOISE, 30)), SIZE),
    "half a row": png(zlib.compress(RAW[:-50]), SIZE),
    "fewer rows, 16 bits": png(deep(30), SIZE, depth=16, color=0),
    "fewer rows, palette": png(zlib.compress(rows(GREYS, 30)), SIZE, color=3, before=PALETTE),
    "fewer rows, interlaced": png(zlib.compress(RAW), SIZE, interlaced=1),
    "no checksum of pixels": png(DATA[:-4], SIZE),
    "wrong checksum of pixels": png(DATA[:-4] + bytes(4), SIZE),
    "wrong checksum of text": png(DATA, SIZE, before=chunk(b"tEXt", b"a\0b", 7)),
    "unknown critical chunk": png(DATA, SIZE, before=chunk(b"ABCD", b"x")),
    "two headers": png(DATA, SIZE, before=png(DATA, SIZE)[8:33]),
    "small first frame": png(DATA, SIZE, before=animation(5, 5)),
    "two palettes": png(zlib.compress(rows(GREYS)), SIZE, color=3, before=2 * PALETTE),
    "no palette": png(zlib.compress(rows(GREYS)), SIZE, color=3),
    "late palette": png(zlib.compress(rows(GREYS)), SIZE, color=3, after=PALETTE),
    "palette alone": png(b"", SIZE, color=3, before=PALETTE).replace(chunk(b"IDAT", b""), b""),
    "torn pixels": png(DATA[:99], SIZE, after=chunk(b"tEXt", b"a\0b") + chunk(b"IDAT", DATA[99:])),
    "gif": encode(NOISE, "GIF"),
    "nothing": b"",
}


def trained(encoded):
    """Decodes as training does; None where it cannot."""
    try:
        return tfrecord.decode_image(tf.constant(encoded)).numpy()
    except tf.errors.OpError:
        return None


@pytest.mark.parametrize("name", WHOLE)
def test_whole_files_are_read_alike_by_all(name):
    image, header = decoding.decode(WHOLE[name])
    assert (header.height, header.width, header.depth) == (*SIZE, 8)
    np.testing.assert_array_equal(np.asarray(image.convert("RGB")), trained(WHOLE[name]))


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_not_whole_is_refused(name):
    with pytest.raises(ImageBytesError):
        decoding.decode(BROKEN[name])


@pytest.mark.parametrize("where", ["jpeg", "progressive", "png"])
@pytest.mark.parametrize("end", [b"", END, b"\0\0"])
def test_no_cut_passes(where, end):
    whole = WHOLE[where]
    for cut in range(40, len(whole) - 200, 97):
        with pytest.raises(ImageBytesError):
            decoding.decode(whole[:cut] + end)


@pytest.mark.parametrize(
    "name",
    [
        "jpeg end zeroed",
        "jpeg without end",
        "progressive without end",
        "png without end",
        "png end damaged",
        "no checksum of pixels",
    ],
)
def test_a_missing_end_can_be_mended(name):
    with pytest.raises(EndMissingError):
        image_bytes.check(BROKEN[name])
    mended = image_bytes.with_end(BROKEN[name])
    source = "png" if mended.startswith(b"\x89") else name.split()[0]
    np.testing.assert_array_equal(trained(mended), trained(WHOLE[source]))
    decoding.decode(mended)


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_what_is_accepted_is_what_training_reads(data):
    encoded = bytearray(WHOLE[data.draw(st.sampled_from(sorted(WHOLE)))])
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(encoded) - 1))
        kind = data.draw(st.sampled_from(("set", "cut", "drop", "repeat")))
        if kind == "set":
            encoded[place] = data.draw(st.integers(0, 255))
        elif kind == "cut":
            del encoded[place:]
        elif kind == "drop":
            del encoded[place : place + data.draw(st.integers(1, 30))]
        else:
            encoded[place:place] = encoded[place : place + 20]
        if not encoded:
            break
    encoded = bytes(encoded)
    try:
        header = image_bytes.check(encoded)
        decoding.decode(encoded)
    except ImageBytesError:
        return
    image = trained(encoded)
    assert image is not None, "conversion accepts what training cannot read"
    assert image.shape[:2] == (header.height, header.width)


def test_limits_are_stated(monkeypatch):
    header = struct.pack(">IIBBBBB", 9000, 9000, 1, 0, 0, 0, 0)
    with pytest.raises(ImageBytesError, match=r"9000x9000 pixels, more than 67108864"):
        image_bytes.check(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header))
    monkeypatch.setattr(image_bytes, "MAX_BYTES", 100)
    with pytest.raises(ImageBytesError, match=r"bytes, more than 100"):
        image_bytes.check(JPEG)


def test_millions_of_empty_parts_are_not_walked_over():
    many = image_bytes.MAX_PARTS
    text = chunk(b"tEXt", b"a\0b") * many
    with pytest.raises(ImageBytesError, match=f"the PNG has more than {many} chunks"):
        image_bytes.check(png(DATA, SIZE, before=text))
    # Of as many kinds, and then some that are held against all of these.
    others = (chunk(struct.pack(">I", (ord("a") << 24) + kind), b"") for kind in range(many // 2))
    before = b"".join(others) + animation(*SIZE) * (many // 2)
    began = time.process_time()
    with pytest.raises(ImageBytesError, match=f"the PNG has more than {many} chunks"):
        image_bytes.check(png(DATA, SIZE, before=before))
    assert time.process_time() - began < 5
    with pytest.raises(ImageBytesError, match=f"the JPEG has more than {many} segments"):
        image_bytes.check(JPEG[:2] + b"\xff\xe0\0\2" * many + JPEG[2:])


def test_a_file_that_is_too_long_is_not_read(tmp_path):
    with open(tmp_path / "x.jpg", "wb") as file:
        file.truncate(20 << 30)
    with pytest.raises(ImageBytesError, match="21474836480 bytes, more than"):
        decoding.read(str(tmp_path / "x.jpg"))
    with pytest.raises(ImageBytesError, match="is a device"):
        decoding.read("/dev/zero")


def test_a_thumbnail_is_not_the_image():
    exif = Image.Exif()
    exif[0x010F] = "maker"
    inner = encode(NOISE[:8, :8], "JPEG")
    whole = encode(NOISE, "JPEG", exif=exif.tobytes() + inner)
    image, header = decoding.decode(whole)
    assert image.size == (header.width, header.height) == (64, 48)
    with pytest.raises(EndMissingError):
        image_bytes.check(whole[:-2])
    assert Image.open(io.BytesIO(whole)).size == (64, 48)
