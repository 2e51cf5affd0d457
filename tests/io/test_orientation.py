"""Rotations that metadata note: found in every kind of file, applied as Pillow does."""

import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from c3tf.io import decoding, orientation
from image_files import chunk, encode, noise, png, rows, turned

PIXELS = noise(6, 10)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@pytest.mark.parametrize("noted", range(1, 9))
def test_it_is_found_and_applied(kind, noted):
    image, header = decoding.decode(turned(PIXELS, kind, noted))
    assert orientation.of(image, header) == noted
    assert orientation.is_turned(noted) == (noted != 1)
    upright = orientation.apply(image, noted)
    np.testing.assert_array_equal(upright, ImageOps.exif_transpose(image))
    assert (upright.size == image.size) != orientation.swaps_sides(noted)


@pytest.mark.parametrize("place", ["before", "after"])
def test_it_is_found_on_both_sides_of_the_pixels(place):
    exif = Image.Exif()
    exif[0x0112] = 6
    part = chunk(b"eXIf", exif.tobytes()[6:])
    encoded = png(zlib.compress(rows(PIXELS)), PIXELS.shape[:2], **{place: part})
    image, header = decoding.decode(encoded)
    assert orientation.of(image, header) == 6


@pytest.mark.parametrize("value", [0, 9, 65535])
def test_what_means_nothing_is_upright(value):
    image, header = decoding.decode(turned(PIXELS, "JPEG", value))
    assert orientation.of(image, header) == 1


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0rubbish", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0"]
)
def test_damaged_metadata_are_no_rotation(exif):
    image, header = decoding.decode(encode(PIXELS, "JPEG", exif=exif))
    assert orientation.of(image, header) == 1
