"""The TFRecord schema: the one place that writes and reads serialized examples.

A record is a `tf.train.Example` with the features of `_FEATURES`. The label is simply absent for
an image without one, so unlabeled images need no mask.
"""

from collections.abc import Iterator

import tensorflow as tf

from c3tf.data.record import IMAGE_FORMATS, Record, encode_jpeg, encode_png
from c3tf.errors import DataError
from c3tf.io import tensorflow_errors

__all__ = [
    "IMAGE_FORMATS",
    "Record",
    "decode_image",
    "decode_jpeg_window",
    "decode_label",
    "encode_jpeg",
    "encode_png",
    "parse",
    "parse_metadata",
    "parse_name",
    "read_shard",
    "serialize",
]

_DCT_METHOD = "INTEGER_ACCURATE"
_JPEG_MARGIN = 2
_JPEG = b"\xff\xd8\xff"
# Where a PNG states the bits of a channel, and after them the kind of its pixels.
_PNG_DEPTH_AT, _GREY_8_BIT = 24, b"\x08\x00"
# Field of `Record` -> feature in the TFRecord.
_KEYS = {
    "image": "image/encoded",
    "image_format": "image/format",
    "label": "label/encoded",
    "name": "image/name",
    "height": "image/height",
    "width": "image/width",
    "dataset": "image/dataset",
    "source": "image/source",
}
_INTEGERS = ("height", "width")
_FEATURES = {
    key: tf.io.FixedLenFeature(
        [],
        tf.int64 if field in _INTEGERS else tf.string,
        default_value="" if field == "label" else None,
    )
    for field, key in _KEYS.items()
}


def serialize(record: Record) -> bytes:
    """Serializes a record as a `tf.train.Example`; equal records give equal bytes."""
    features = {}
    for field, key in _KEYS.items():
        value = getattr(record, field)
        if value is None:
            continue
        if field in _INTEGERS:
            features[key] = tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
        else:
            data = value.encode("utf-8") if isinstance(value, str) else value
            features[key] = tf.train.Feature(bytes_list=tf.train.BytesList(value=[data]))
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


def parse(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    """Parses one serialized example, a string scalar, inside a graph.

    Returns:
        Scalars under the names of `Record`'s fields: `image`, `image_format`, `label` (`""` when
        the image has none), `name`, `dataset`, `source` (strings), `height`, `width` (int64).
    """
    parsed = tf.io.parse_single_example(serialized, _FEATURES)
    return {field: parsed[key] for field, key in _KEYS.items()}


def parse_name(serialized: tf.Tensor) -> tf.Tensor:
    """Reads only the name, a string scalar, of a serialized example."""
    key = _KEYS["name"]
    return tf.io.parse_single_example(serialized, {key: _FEATURES[key]})[key]


def parse_metadata(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Reads what is known about a serialized example without its pixels.

    Returns:
        Its name, string scalar; its height and width, int64 `(2,)`; whether it has a label, bool
        scalar.
    """
    keys = {field: _KEYS[field] for field in ("name", "label", *_INTEGERS)}
    parsed = tf.io.parse_single_example(serialized, {k: _FEATURES[k] for k in keys.values()})
    size = tf.stack([parsed[keys["height"]], parsed[keys["width"]]])
    return parsed[keys["name"]], size, tf.strings.length(parsed[keys["label"]]) > 0


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a JPEG or PNG, a string scalar, inside a graph, to uint8 `(H, W, 3)`.

    JPEG uses the accurate inverse DCT, so that TensorFlow, Pillow and a served model see the same
    pixels; the op reads PNG as well, and would drop half of 16 bits.
    """
    # The operations are among those that `c3tf.serving` lets a SavedModel have.
    depth = tf.strings.substr(tf.strings.substr(encoded, 0, _PNG_DEPTH_AT + 1), -1, 1)
    known = tf.strings.substr(encoded, 0, len(_JPEG)) == _JPEG
    for bits in (1, 2, 4, 8):
        known |= depth == bytes([bits])
    check = tf.debugging.Assert(known, ["An image must be JPEG, or PNG of up to 8 bits a channel."])
    with tf.control_dependencies([check]):
        image = tf.io.decode_jpeg(encoded, channels=3, dct_method=_DCT_METHOD)
    return tf.ensure_shape(image, (None, None, 3))


def decode_jpeg_window(encoded: tf.Tensor, window: tf.Tensor) -> tf.Tensor:
    """Decodes a part of a JPEG, inside a graph, to the pixels that `decode_image` has there.

    Args:
        encoded: string scalar.
        window: int32 `(4,)`, top, left, height, width.

    Returns:
        uint8 `(height, width, 3)`.
    """
    width = tf.io.extract_jpeg_shape(encoded)[1]
    top, left, height, columns = tf.unstack(window)
    # Colour is interpolated between neighbours, which are missing at the sides of what is decoded.
    first = tf.maximum(left - _JPEG_MARGIN, 0)
    wider = tf.minimum(left + columns + _JPEG_MARGIN, width) - first
    image = tf.io.decode_and_crop_jpeg(
        encoded, [top, first, height, wider], channels=3, dct_method=_DCT_METHOD
    )
    return tf.ensure_shape(image[:, left - first :][:, :columns], (None, None, 3))


def decode_label(encoded: tf.Tensor) -> tf.Tensor:
    """Decodes a label PNG, inside a graph, to train ids, uint8 `(h, w, 1)`.

    In validation records a label may be larger than its image. `encoded` must not be `""`.
    """
    head = tf.strings.substr(encoded, _PNG_DEPTH_AT, len(_GREY_8_BIT))
    message = "A label must be an 8-bit grey PNG, whose values are train ids."
    # The decoder would make grey of colours.
    with tf.control_dependencies([tf.debugging.Assert(head == _GREY_8_BIT, [message])]):
        label = tf.io.decode_png(encoded, channels=1)
    return tf.ensure_shape(label, (None, None, 1))


def read_shard(path: str) -> Iterator[Record]:
    """Reads a shard record by record, in Python (for checks and inspection, not for training).

    Args:
        path: a TFRecord file.

    Yields:
        Its records in order.

    Raises:
        DataError: the file is damaged, cut inside a record, or holds something else.
    """
    index = 0
    examples = iter(tf.data.TFRecordDataset(path))
    while True:
        try:
            fields = parse(next(examples))
            record = _to_record(fields)
        except StopIteration:
            return
        except (tf.errors.OpError, ValueError) as error:
            raise DataError(
                f"{path}: record {index} cannot be read: the file is damaged, or no data set of "
                f"this project. Convert it again. ({tensorflow_errors.reason(error)})"
            ) from error
        yield record
        index += 1


def _to_record(fields: dict[str, tf.Tensor]) -> Record:
    """Turns parsed scalars into plain values."""
    values = {field: tensor.numpy() for field, tensor in fields.items()}
    for field in ("image_format", "name", "dataset", "source"):
        values[field] = values[field].decode("utf-8")
    for field in _INTEGERS:
        values[field] = int(values[field])
    values["label"] = values["label"] or None
    return Record(**values)
