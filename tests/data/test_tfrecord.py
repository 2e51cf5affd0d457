"""The TFRecord schema: what is written is read again, by every reader."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from c3tf.data import tfrecord
from c3tf.errors import DataError

pytestmark = pytest.mark.smoke


def _pixels(height=24, width=40):
    ramp = np.linspace(0, 255, height * width * 3).reshape(height, width, 3)
    return ramp.astype(np.uint8)


def _record(name="köln 01", label=True, image_format="jpeg"):
    image = _pixels()
    encode = tfrecord.encode_jpeg if image_format == "jpeg" else tfrecord.encode_png
    mask = np.arange(48 * 80, dtype=np.uint8).reshape(48, 80)
    return tfrecord.Record(
        image=encode(image),
        image_format=image_format,
        label=tfrecord.encode_png(mask) if label else None,
        name=name,
        height=24,
        width=40,
        dataset="camvid",
        source="train/köln 01.png",
    )


def _write(path, items):
    with tf.io.TFRecordWriter(str(path)) as writer:
        for item in items:
            writer.write(item)


@pytest.mark.parametrize("label", [True, False])
def test_parse_in_a_graph_gives_back_every_field(label):
    record = _record(label=label)
    dataset = tf.data.Dataset.from_tensors(tfrecord.serialize(record)).map(tfrecord.parse)
    fields = next(dataset.as_numpy_iterator())
    assert fields["image"] == record.image
    assert fields["label"] == (record.label or b"")
    assert fields["name"].decode() == record.name
    assert fields["source"].decode() == record.source
    assert fields["image_format"] == b"jpeg"
    assert fields["dataset"] == b"camvid"
    assert (fields["height"], fields["width"]) == (24, 40)


def test_parse_name_agrees_with_parse():
    serialized = tfrecord.serialize(_record())
    assert tfrecord.parse_name(serialized).numpy() == tfrecord.parse(serialized)["name"].numpy()


def test_serialized_bytes_are_reproducible():
    assert tfrecord.serialize(_record()) == tfrecord.serialize(_record())
    assert tfrecord.serialize(_record()) != tfrecord.serialize(_record(name="other"))


@pytest.mark.parametrize("image_format", ["jpeg", "png"])
def test_decode_image_agrees_with_pillow(image_format):
    encoded = _record(image_format=image_format).image
    decoded = tf.function(tfrecord.decode_image)(tf.constant(encoded)).numpy()
    expected = np.asarray(Image.open(io.BytesIO(encoded)).convert("RGB"))
    assert decoded.dtype == np.uint8
    np.testing.assert_array_equal(decoded, expected)


def test_png_is_lossless_and_jpeg_is_close():
    pixels = _pixels()
    np.testing.assert_array_equal(tfrecord.decode_image(tfrecord.encode_png(pixels)), pixels)
    lossy = tfrecord.decode_image(tfrecord.encode_jpeg(pixels, quality=95)).numpy()
    assert 0 < np.abs(lossy.astype(int) - pixels).max() < 16


def test_label_keeps_every_byte_value_and_its_own_size():
    label = np.arange(256, dtype=np.uint8).reshape(8, 32)
    decoded = tf.function(tfrecord.decode_label)(tf.constant(tfrecord.encode_png(label))).numpy()
    np.testing.assert_array_equal(decoded[:, :, 0], label)


def _png(pixels, **options):
    held = io.BytesIO()
    image = Image.fromarray(pixels)
    image = image.convert(options.pop("mode")) if options else image
    image.save(held, "png")
    return held.getvalue()


@pytest.mark.parametrize(
    ("decode", "encoded", "message"),
    [
        ("image", _png(np.full((4, 4), 4095, np.uint16)), "up to 8 bits a channel"),
        ("label", _png(np.full((4, 4), 300, np.uint16)), "8-bit grey PNG"),
        ("label", _png(np.ones((4, 4, 3), np.uint8)), "8-bit grey PNG"),
        ("label", _png(np.ones((4, 4), np.uint8), mode="P"), "8-bit grey PNG"),
        ("label", _png(np.ones((4, 4), np.uint8), mode="LA"), "8-bit grey PNG"),
        ("label", _png(np.ones((4, 4), np.uint8), mode="1"), "8-bit grey PNG"),
        ("label", tfrecord.encode_jpeg(_pixels()), "8-bit grey PNG"),
        ("label", b"", "out of range"),
    ],
)
def test_pixels_that_a_decoder_would_make_other_ones_of_are_refused(decode, encoded, message):
    function = {"image": tfrecord.decode_image, "label": tfrecord.decode_label}[decode]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        tf.function(function)(tf.constant(encoded))


@pytest.mark.parametrize(
    "image",
    [np.zeros((4, 4, 3), np.float32), np.zeros((4, 4, 4), np.uint8), np.zeros(4, np.uint8)],
)
def test_encoders_refuse_what_is_no_image(image):
    for encode in (tfrecord.encode_png, tfrecord.encode_jpeg):
        with pytest.raises(ValueError, match="Received"):
            encode(image)


@pytest.mark.parametrize(
    "change", [{"name": ""}, {"name": "a\nb"}, {"height": 0}, {"image_format": "gif"}]
)
def test_records_that_cannot_be_used_are_refused(change):
    fields = {**vars(_record()), **change}
    with pytest.raises(ValueError, match=next(iter(change))):
        tfrecord.Record(**fields)


def test_read_shard_gives_the_records_in_order(tmp_path):
    written = [_record("b"), _record("a", label=False)]
    _write(tmp_path / "x.tfrecord", map(tfrecord.serialize, written))
    assert list(tfrecord.read_shard(str(tmp_path / "x.tfrecord"))) == written


def test_read_shard_refuses_a_cut_shard(tmp_path):
    path = tmp_path / "x.tfrecord"
    _write(path, [tfrecord.serialize(_record("a")), tfrecord.serialize(_record("b"))])
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(DataError, match=r"x\.tfrecord: record 1 cannot be read"):
        list(tfrecord.read_shard(str(path)))


@pytest.mark.parametrize("foreign", [b"no example", tf.train.Example().SerializeToString()])
def test_read_shard_refuses_foreign_records(tmp_path, foreign):
    _write(tmp_path / "x.tfrecord", [foreign])
    with pytest.raises(DataError, match=r"x\.tfrecord: record 0 .* no data set of this project"):
        list(tfrecord.read_shard(str(tmp_path / "x.tfrecord")))


def test_read_shard_refuses_a_file_that_is_no_tfrecord(tmp_path):
    (tmp_path / "x.tfrecord").write_bytes(b"hello" * 100)
    with pytest.raises(DataError, match="record 0"):
        list(tfrecord.read_shard(str(tmp_path / "x.tfrecord")))
