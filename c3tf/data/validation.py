"""A labeled split for evaluation: every record once, in order, at its stored sizes."""

import tensorflow as tf

from c3tf.data import manifest, tfrecord
from c3tf.errors import DataError
from c3tf.io import files


def val_dataset(data_dir: str, split: str = "val", batch_size: int = 1) -> tf.data.Dataset:
    """Builds the data set that an evaluation walks through once.

    Args:
        data_dir: directory of a converted data set.
        split: which split; every image in it must have a label.
        batch_size: images per batch; more than 1 needs images of one size and labels of one
            size, which reading finds out. The last batch may be smaller.

    Returns:
        Batches `{"image": uint8 (B, H, W, 3), "label": uint8 (B, h, w, 1) train ids or IGNORE,
        "name": string (B,)}`; a label may be larger than its image.

    Raises:
        DataError: there is no such split, or an image in it has no label.
    """
    if batch_size < 1:
        raise ValueError(f"`batch_size` must be at least 1. Received: batch_size={batch_size}")
    described = manifest.load(data_dir)
    count, labeled = described.count(split), described.labeled_count(split)
    if labeled < count:
        raise DataError(
            f"{data_dir}: only {labeled} of the {count} images of split {split!r} have a label, "
            "so it cannot be evaluated."
        )
    dataset = tf.data.TFRecordDataset(described.shards(split))
    # Decoding runs beside the network, which takes most of the time.
    dataset = dataset.map(_decode, num_parallel_calls=2, deterministic=True)
    return dataset.batch(batch_size).prefetch(1)


def check_shards(described: manifest.Manifest, split: str) -> None:
    """Checks the shards of a split against their checksums, reading every byte of them.

    An evaluation takes far longer than this, and should not end at its last, damaged record.

    Args:
        described: the data set.
        split: which split.

    Raises:
        DataError: names the shards that are not what the manifest describes.
    """
    shards = zip(described.split(split).shards, described.shards(split), strict=True)
    damaged = [path for shard, path in shards if files.sha256(path) != shard.sha256]
    if damaged:
        raise DataError(
            f"{', '.join(damaged)} is damaged: its checksum is not that of {manifest.FILE_NAME}. "
            "Copy it again, or convert the data set again into a new directory."
        )


def _decode(serialized: tf.Tensor) -> dict[str, tf.Tensor]:
    record = tfrecord.parse(serialized)
    image = tfrecord.decode_image(record["image"])
    label = tfrecord.decode_label(record["label"])
    height, width = tf.unstack(tf.shape(image)[:2])
    tall, wide = tf.unstack(tf.shape(label)[:2])
    stated = tf.cast(tf.stack([record["height"], record["width"]]), tf.int32)
    checks = {
        "The image has not the height and width that are stated: record ": tf.reduce_all(
            stated == [height, width]
        ),
        # One of them was resized to a height of whole pixels, and a width that was rounded.
        "Image and label differ in shape: record ": tf.abs(wide * height - width * tall)
        <= tf.maximum(tall, height),
    }
    asserted = [
        tf.debugging.Assert(holds, [tf.strings.join([message, record["name"]])])
        for message, holds in checks.items()
    ]
    with tf.control_dependencies(asserted):
        return {"image": image, "label": tf.identity(label), "name": record["name"]}
