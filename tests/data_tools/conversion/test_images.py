"""Reading and resizing of source files, against NumPy and Pillow."""

import errno
import io
import os
import struct
import zlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from c3tf.errors import DataError
from c3tf.io import files
from data_tools.conversion import images
from raw_trees import save


def _area(pixels, size):
    """Averages areas by integrals over all source pixels, in float64."""
    for axis, target in enumerate(size):
        length = pixels.shape[axis]
        edges = np.arange(target + 1) * length / target
        starts = np.arange(length)
        cover = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
        weights = np.clip(cover, 0, None) * target / length
        pixels = np.moveaxis(np.tensordot(weights, pixels.astype(float), (1, axis)), 0, axis)
    return pixels


@pytest.mark.parametrize(
    ("size", "target"),
    [
        ((36, 48), (24, 32)),
        ((72, 128), (51, 91)),
        ((64, 128), (32, 64)),
        ((9, 7), (1, 1)),
        ((10, 3), (7, 3)),
        ((50, 70), (49, 69)),
    ],
)
def test_images_are_area_averaged(size, target):
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    resized = images.resize_image(Image.fromarray(pixels), target)
    assert resized.dtype == np.uint8
    assert resized.shape == (*target, 3)
    assert np.abs(resized - _area(pixels, target)).max() <= 0.501


def test_a_constant_image_stays_constant():
    for value in (0, 255):
        pixels = np.full((720, 128, 3), value, np.uint8)
        assert (images.resize_image(Image.fromarray(pixels), (511, 91)) == value).all()


def test_enlarging_works():
    pixels = np.full((5, 6, 3), 77, np.uint8)
    resized = images.resize_image(Image.fromarray(pixels), (10, 12))
    assert resized.shape == (10, 12, 3)
    assert (resized == 77).all()


@pytest.mark.parametrize("target", [(12, 16), (17, 23), (48, 64), (1, 1)])
def test_labels_take_the_nearest_pixel(target):
    ids = np.random.default_rng(0).choice([0, 7, 255], (24, 32)).astype(np.uint8)
    rows = ((np.arange(target[0]) + 0.5) * 24 / target[0]).astype(int)
    columns = ((np.arange(target[1]) + 0.5) * 32 / target[1]).astype(int)
    np.testing.assert_array_equal(images.resize_ids(ids, target), ids[np.ix_(rows, columns)])


@pytest.mark.parametrize(
    ("size", "height", "expected"),
    [
        ((1024, 2048), 512, (512, 1024)),
        ((720, 1280), 512, (512, 910)),
        ((360, 480), 0, (360, 480)),
        ((100, 1), 10, (10, 1)),
        ((1, 1), 5, (5, 5)),
    ],
)
def test_target_size_keeps_the_aspect_ratio(size, height, expected):
    assert images.target_size("x.png", size, height) == expected


def test_a_height_that_makes_a_huge_image_is_refused():
    with pytest.raises(DataError, match=r"x\.png is 64x2 pixels; at --height=5000 .* 160000x5000"):
        images.target_size("x.png", (2, 64), 5000)


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "1", "CMYK"])
def test_other_color_modes_become_rgb(tmp_path, mode):
    source = Image.fromarray(np.full((4, 6, 3), 255, np.uint8)).convert(mode)
    path = tmp_path / ("x.jpg" if mode == "CMYK" else "x.png")
    save(path, source)
    read = images.read_image(str(path))
    assert read.pixels.mode == "RGB"
    assert read.size == (4, 6)
    assert read.storable_as is None
    assert (np.asarray(read.pixels) >= 254).all()


@pytest.mark.parametrize(("suffix", "kind"), [("jpg", "jpeg"), ("png", "png")])
def test_only_plain_files_can_be_kept(tmp_path, suffix, kind):
    for channels, kept in ((3, kind), (1, None)):
        path = tmp_path / f"x{channels}.{suffix}"
        save(path, np.zeros((4, 4, channels), np.uint8).squeeze())
        assert images.read_image(str(path)).storable_as == kept


@pytest.mark.parametrize("kind", ["BMP", "GIF", "TIFF", "WEBP", "PPM", "AVIF"])
def test_other_formats_are_refused_whatever_their_name(tmp_path, kind):
    path = tmp_path / "x.png"
    Image.fromarray(np.zeros((16, 16, 3), np.uint8)).save(path, kind)
    for read in (images.read_image, images.read_mask, images.read_colors):
        with pytest.raises(DataError, match=r"x\.png is no readable image.*neither"):
            read(str(path))


@pytest.mark.parametrize("read", [images.read_image, images.read_mask])
def test_a_disk_that_fails_is_not_the_files_fault(tmp_path, monkeypatch, read):
    path = tmp_path / "x.png"
    save(path, np.zeros((4, 4, 3), np.uint8))
    for number, kind in ((errno.EIO, images.UnavailableError), (errno.ENOENT, DataError)):

        def fail(path, number=number):
            raise OSError(number, os.strerror(number), path)

        monkeypatch.setattr(files, "read_bytes", fail)
        with pytest.raises(DataError, match=r"x\.png cannot be read") as caught:
            read(str(path))
        assert type(caught.value) is kind


def _png(depth, color_type, rows, width, height=None):
    """Encodes a PNG by hand, for depths Pillow does not write."""

    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height or len(rows), depth, color_type, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    body = chunk(b"IHDR", header) + chunk(b"IDAT", data) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_16_bit_images_are_refused(tmp_path):
    path = tmp_path / "deep.png"
    save(path, np.full((2, 2), 1000, np.uint16))
    for read in (images.read_image, images.read_mask):
        with pytest.raises(DataError, match=r"deep\.png has 16-bit"):
            read(str(path))
    path.write_bytes(_png(16, 2, [bytes(12)] * 2, 2))
    assert Image.open(path).mode == "RGB"
    for read in (images.read_image, images.read_mask):
        with pytest.raises(DataError, match=r"deep\.png has 16-bit"):
            read(str(path))


@pytest.mark.parametrize("read", [images.read_image, images.read_mask])
@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_damaged_files_are_named(tmp_path, read, suffix):
    path = tmp_path / f"bad file.{suffix}"
    save(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    whole = path.read_bytes()
    for cut in (20, len(whole) // 2, len(whole) - 40):
        path.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"bad file\..* no readable image"):
            read(str(path))
    path.write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        read(str(path))
    path.write_bytes(b"<html>404</html>")
    with pytest.raises(DataError, match="no readable image"):
        read(str(path))
    path.unlink()
    with pytest.raises(DataError, match="cannot be read"):
        read(str(path))


def test_a_flipped_byte_in_a_png_is_noticed(tmp_path):
    path = tmp_path / "x.png"
    save(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match="no readable image"):
        images.read_image(str(path))


@pytest.mark.parametrize("side", [10_000, 60_000])
def test_a_decompression_bomb_is_refused(tmp_path, side):
    path = tmp_path / "bomb.png"
    path.write_bytes(_png(1, 0, [bytes(side // 8)], side, height=side))
    with pytest.raises(DataError, match=r"bomb\.png is too large"):
        images.read_image(str(path))


def test_palette_masks_hold_indices(tmp_path):
    ids = np.arange(12, dtype=np.uint8).reshape(3, 4)
    mask = Image.fromarray(ids).convert("P")
    mask.putdata(ids.ravel().tolist())
    mask.putpalette([200, 10, 30] * 256)
    save(tmp_path / "x.png", mask)
    assert Image.open(tmp_path / "x.png").mode == "P"
    np.testing.assert_array_equal(
        images.read_mask(str(tmp_path / "x.png"), palette_masks=True).ids, ids
    )
    with pytest.raises(DataError, match=r"x\.png is a palette image.*--palette_masks"):
        images.read_mask(str(tmp_path / "x.png"))


@pytest.mark.parametrize(("depth", "row"), [(1, 0b01000000), (2, 0b00011011), (4, 0x0F)])
def test_masks_of_few_bits_hold_the_stored_values(tmp_path, depth, row):
    width = 8 // depth
    (tmp_path / "x.png").write_bytes(_png(depth, 0, [bytes([row])], width))
    expected = [(row >> (8 - depth * (i + 1))) & (2**depth - 1) for i in range(width)]
    assert images.read_mask(str(tmp_path / "x.png")).ids[0].tolist() == expected


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA"])
def test_color_masks_are_refused(tmp_path, mode):
    save(tmp_path / "x_color.png", Image.new(mode, (4, 4)))
    with pytest.raises(DataError, match=rf"x_color\.png holds colours \(mode {mode}\), not ids"):
        images.read_mask(str(tmp_path / "x_color.png"))


def test_jpeg_masks_are_refused(tmp_path):
    buffer = io.BytesIO()
    Image.new("L", (8, 8)).save(buffer, "JPEG")
    (tmp_path / "x.png").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match="is a JPEG"):
        images.read_mask(str(tmp_path / "x.png"))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (37, 51)])
def test_encoded_ids_are_read_by_other_programs(size):
    rng = np.random.default_rng(0)
    for ids in (
        rng.integers(0, 256, size),
        np.full(size, 255),
        np.repeat(rng.integers(0, 3, size[:1]), size[1]).reshape(size),
    ):
        encoded = images.encode_ids(ids.astype(np.uint8))
        decoded = Image.open(io.BytesIO(encoded))
        assert (decoded.format, decoded.mode) == ("PNG", "L")
        np.testing.assert_array_equal(decoded, ids)
        np.testing.assert_array_equal(tf.io.decode_png(encoded)[..., 0], ids)


@pytest.mark.parametrize("view", ["transposed", "every second column"])
def test_ids_need_not_lie_in_order(view):
    ids = np.random.default_rng(0).integers(0, 256, (8, 12), np.uint8)
    ids = ids.T if view == "transposed" else ids[:, ::2]
    np.testing.assert_array_equal(Image.open(io.BytesIO(images.encode_ids(ids))), ids)


def test_colours_are_no_ids():
    for wrong in (np.zeros((4, 4, 3), np.uint8), np.zeros((4, 4), np.int32)):
        with pytest.raises(ValueError, match="uint8"):
            images.encode_ids(wrong)
