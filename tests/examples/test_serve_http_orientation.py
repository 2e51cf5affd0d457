"""The server's own reader of rotations says of every file what that of `predict` says."""

import importlib
import io
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

import image_files
from c3tf.io import image_bytes
from c3tf.io import orientation as ours

PIXELS = image_files.noise(6, 10)
XMP = b'<x:xmpmeta tiff:Orientation="%d"/>'


@pytest.fixture(scope="module")
def theirs(repository):
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(repository / "examples")
        yield importlib.import_module("serve_http.orientation")


def said_by_predict(encoded):
    with Image.open(io.BytesIO(encoded)) as image:
        return ours.of(image, image_bytes.check(encoded))


def exif(noted):
    data = Image.Exif()
    data[0x010F] = "a maker that is longer than four bytes"
    data[0x0112] = noted
    return data.tobytes()


def jpeg(*segments):
    """A JPEG with other segments in place of its own first one."""
    plain = image_files.encode(PIXELS, "JPEG")
    parts = b"".join(
        b"\xff\xe1" + (len(body) + 2).to_bytes(2) + body for body in map(bytes, segments)
    )
    return plain[:2] + parts + plain[plain.index(b"\xff\xdb") :]


def png(*chunks, after=b""):
    parts = b"".join(image_files.chunk(kind, body) for kind, body in chunks)
    packed = zlib.compress(image_files.rows(PIXELS))
    return image_files.png(packed, PIXELS.shape[:2], before=parts, after=after)


def png_text(kind, noted):
    """A PNG whose EXIF, or XMP, stands in a text."""
    held = PngImagePlugin.PngInfo()
    if kind == "xmp":
        held.add_itxt("XML:com.adobe.xmp", (XMP % noted).decode(), zip=noted % 2 == 0)
    else:
        digits = exif(noted)[6:].hex()
        text = f"\nexif\n{len(digits) // 2:8}\n{digits[:72]}\n{digits[72:]}\n"
        held.add_text("Raw profile type exif", text, zip=noted % 2 == 0)
    return image_files.encode(PIXELS, "PNG", pnginfo=held)


def files(noted):
    """The places and forms in which files note an orientation."""
    whole, xmp = exif(noted), b"http://ns.adobe.com/xap/1.0/\0" + XMP % noted
    late = image_files.chunk(b"eXIf", whole[6:])
    return {
        "jpeg": jpeg(whole),
        "long": jpeg(whole[:40], b"Exif\0\0" + whole[40:]),
        "jpeg xmp": jpeg(xmp),
        "both": jpeg(exif(1), xmp),
        "maker without orientation": jpeg(b"Exif\0\0II*\0\x08\0\0\0\0\0", xmp),
        "fill": jpeg(whole).replace(b"\xff\xe1", b"\xff\xff\xff\xe1"),
        "pillow": image_files.turned(PIXELS, "JPEG", noted),
        "png": png((b"eXIf", whole[6:])),
        "png after": png(after=late),
        "png pillow": image_files.turned(PIXELS, "PNG", noted),
        "png xmp": png_text("xmp", noted),
        "png text": png_text("text", noted),
    }


@pytest.mark.parametrize("noted", range(1, 9))
def test_it_reads_what_predict_reads(theirs, noted):
    for name, encoded in files(noted).items():
        wanted = 1 if name == "both" else noted
        assert (theirs.noted(encoded), said_by_predict(encoded)) == (wanted, wanted), name


@pytest.mark.parametrize("noted", range(1, 9))
def test_it_turns_as_predict_does(theirs, noted):
    turned = ours.apply(Image.fromarray(PIXELS), noted)
    np.testing.assert_array_equal(theirs.apply(PIXELS, noted), turned)
    assert theirs.swaps_sides(noted) == ours.swaps_sides(noted)
    assert theirs.RULES == ours.RULES
    assert theirs.RULES[0] == ours.DEFAULT


# Pillow says so of each.
@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@settings(max_examples=200, deadline=None)
@given(st.data())
def test_metadata_that_are_damaged_or_of_no_kind_are_read_alike_or_as_upright(theirs, data):
    name = data.draw(st.sampled_from(sorted(files(6))))
    whole = exif(data.draw(st.integers(0, 65535)))
    body = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 4))):
        body[data.draw(st.integers(6, len(body) - 1))] = data.draw(st.integers(0, 255))
    cut = bytes(body[: data.draw(st.integers(6, len(body)))])
    encoded = png((b"eXIf", cut[6:])) if name.startswith("png") else jpeg(cut)
    # Pillow gives up where any entry is damaged, and then nothing is noted.
    assert said_by_predict(encoded) in (theirs.noted(encoded), 1)


def test_metadata_of_any_size_cost_one_pass(theirs):
    bomb = b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + b"\x01\0\x07\0\xff\xff\xff\x00\x08\0\0\0" * 5000
    assert theirs.noted(jpeg(bomb)) == 1
    assert theirs.noted(jpeg(bomb, *[b"Exif\0\0" + bytes(60_000)] * 200)) == 1
    with pytest.raises(Exception, match="at most 1000 segments"):
        theirs.noted(jpeg(*[b""] * 1001))
