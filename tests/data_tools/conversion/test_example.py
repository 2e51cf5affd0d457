"""The conversion of one image."""

import dataclasses
import io

import numpy as np
import pytest
from PIL import Image

from c3tf.errors import DataError
from c3tf.labels import CAMVID, CITYSCAPES, IGNORE
from data_tools.conversion import example
from data_tools.conversion.example import ConversionOptions, SourcePair, convert_example
from raw_trees import pair, save

pytestmark = pytest.mark.smoke


@pytest.fixture
def item(tmp_path):
    """One CamVid image with its mask."""
    image, mask = pair(3, (0, 4, 10, 11))
    save(tmp_path / "x.png", image)
    save(tmp_path / "x_label.png", mask)
    return SourcePair(
        "train", "x", str(tmp_path / "x.png"), str(tmp_path / "x_label.png"), "train/x.png"
    )


def _pixels(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)))


OPTIONS = ConversionOptions("camvid", CAMVID)


def test_ids_are_mapped_and_counted(item):
    converted = convert_example(item, OPTIONS)
    raw = np.asarray(Image.open(item.label))
    stored = _pixels(converted.record.label)
    np.testing.assert_array_equal(stored, np.where(raw == 11, IGNORE, raw))
    np.testing.assert_array_equal(converted.label_histogram, np.bincount(stored.ravel(), None, 256))


def test_pixels_are_counted_exactly_however_many(item, monkeypatch):
    monkeypatch.setattr(example, "_EXACT_FLOAT32", 100)
    histogram = convert_example(item, OPTIONS).label_histogram
    assert histogram.dtype == np.int64
    assert histogram.sum() == 24 * 32
    monkeypatch.undo()
    np.testing.assert_array_equal(histogram, convert_example(item, OPTIONS).label_histogram)


def test_cityscapes_raw_ids_become_train_ids(item):
    raw = np.array([[7, 33, 0, 255], [8, 26, 3, 17]], np.uint8)
    save_to = Image.fromarray(np.kron(raw, np.ones((12, 8), np.uint8)))
    save_to.save(item.label)
    record = convert_example(item, ConversionOptions("cityscapes", CITYSCAPES)).record
    expected = [[0, 18, 255, 255], [1, 13, 255, 5]]
    np.testing.assert_array_equal(_pixels(record.label)[::12, ::8], expected)


def test_record_carries_what_is_known(item):
    record = convert_example(item, dataclasses.replace(OPTIONS, height=12)).record
    assert (record.name, record.dataset, record.source) == ("x", "camvid", "train/x.png")
    assert (record.height, record.width, record.image_format) == (12, 16, "jpeg")
    assert _pixels(record.image).shape == (12, 16, 3)
    assert _pixels(record.label).shape == (12, 16)


def test_png_stores_the_area_average(item):
    record = convert_example(item, dataclasses.replace(OPTIONS, height=12, image_format="png"))
    source = np.asarray(Image.open(item.image)).astype(int)
    mean = source.reshape(12, 2, 16, 2, 3).mean((1, 3))
    assert np.abs(_pixels(record.record.image) - mean).max() <= 0.5


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize("size", ["record", "original"])
def test_only_validation_labels_keep_their_size(item, split, size):
    options = dataclasses.replace(OPTIONS, height=12, val_label_size=size)
    record = convert_example(dataclasses.replace(item, split=split), options).record
    kept = split == "val" and size == "original"
    assert _pixels(record.label).shape == ((24, 32) if kept else (12, 16))
    assert _pixels(record.image).shape == (12, 16, 3)


def test_a_jpeg_of_the_wanted_size_is_kept_byte_for_byte(item, tmp_path):
    Image.open(item.image).save(tmp_path / "x.jpg", quality=60)
    source = (tmp_path / "x.jpg").read_bytes()
    item = dataclasses.replace(item, image=str(tmp_path / "x.jpg"))
    for height in (0, 24):
        assert (
            convert_example(item, dataclasses.replace(OPTIONS, height=height)).record.image
            == source
        )
    for change in ({"height": 12}, {"image_format": "png"}):
        other = convert_example(item, dataclasses.replace(OPTIONS, **change)).record.image
        assert other != source


def test_quality_changes_the_bytes(item):
    sizes = [
        len(convert_example(item, dataclasses.replace(OPTIONS, jpeg_quality=q)).record.image)
        for q in (30, 95)
    ]
    assert sizes[0] < sizes[1]


def test_an_image_that_no_jpeg_can_hold_is_named(item, tmp_path):
    Image.new("RGB", (66_000, 20)).save(tmp_path / "wide.png")
    wide = dataclasses.replace(item, image=str(tmp_path / "wide.png"), label=None)
    with pytest.raises(DataError, match=r"wide\.png would be 66000x20 .*--image_format=png"):
        convert_example(wide, ConversionOptions("x", CAMVID))
    assert (
        convert_example(wide, ConversionOptions("x", CAMVID, image_format="png")).record.width
        == 66_000
    )


def test_an_image_needs_no_label(item):
    converted = convert_example(dataclasses.replace(item, label=None), OPTIONS)
    assert converted.record.label is None
    assert converted.label_histogram.sum() == 0


def test_grey_images_become_rgb(item):
    Image.open(item.image).convert("L").save(item.image)
    image = _pixels(convert_example(item, OPTIONS).record.image)
    assert image.shape == (24, 32, 3)


def test_an_image_of_one_pixel_converts(item):
    save_image = np.full((1, 1, 3), 9, np.uint8)
    Image.fromarray(save_image).save(item.image)
    Image.fromarray(save_image[:, :, 0]).save(item.label)
    record = convert_example(item, OPTIONS).record
    assert (record.height, record.width) == (1, 1)
    assert _pixels(record.label).tolist() == [[9]]


def test_unknown_ids_are_named_with_their_pixels(item):
    mask = np.asarray(Image.open(item.label)).copy()
    mask[0, :5], mask[1, :2] = 77, 12
    Image.fromarray(mask).save(item.label)
    with pytest.raises(DataError, match=r"x_label\.png holds 2 ids .* 12 \(2 pixels\), 77 \(5 pix"):
        convert_example(item, OPTIONS)


def test_raw_ids_read_as_train_ids_are_refused(item):
    Image.fromarray(np.full((24, 32), 26, np.uint8)).save(item.label)
    with pytest.raises(DataError, match=r"as train ids: 26 \(768 pixels\)"):
        convert_example(item, ConversionOptions("bdd100k", CITYSCAPES, label_ids="train"))


def test_a_label_of_another_size_is_refused(item):
    Image.fromarray(np.zeros((32, 24), np.uint8)).save(item.label)
    with pytest.raises(DataError, match=r"x_label\.png is 24x32 .*x\.png is 32x24"):
        convert_example(item, OPTIONS)


@pytest.mark.parametrize(
    "change",
    [
        {"height": -1},
        {"jpeg_quality": 0},
        {"jpeg_quality": 101},
        {"image_format": "gif"},
        {"val_label_size": "x"},
        {"label_ids": "x"},
    ],
)
def test_options_refuse_bad_values(change):
    with pytest.raises(ValueError, match=f"{next(iter(change))}.*Received"):
        dataclasses.replace(OPTIONS, **change)
