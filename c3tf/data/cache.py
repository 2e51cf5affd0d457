"""The cache of decoded images, in memory or in a file, so that no epoch decodes them again.

All pixels lie behind each other in one array of bytes: an image's rows, then its label's. A view
copies the rows of its window out of it. On disk the array is a file that is mapped into memory, so
the system's page cache holds what fits, and two runs on one machine share it.
"""

import dataclasses
import json
import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import tensorflow as tf
from absl import logging

from c3tf.data import record_reader, tfrecord
from c3tf.data.pixels import ImageOpener, ImageReader, open_record
from c3tf.data.record import decode_name
from c3tf.data.record_reader import RecordMetadata
from c3tf.errors import DataError, StorageError
from c3tf.io import files, json_files, leftovers, memory, schema, tensorflow_errors

_FORMAT = 1
_PIXELS, _INDEX = "pixels.bin", "index.json"
_CHANNELS = 3
# TensorFlow takes over an array without copying it only where it is aligned to this many bytes.
_ALIGNMENT = 64


# Images of more pixels than this on a side are none of ours.
_SIDE = schema.integer(1, 2**20)
_STATED = schema.record(
    {
        "format": schema.integer(),
        "names": schema.listed(schema.text),
        "sizes": schema.listed(schema.listed(_SIDE, 2, 2)),
        "has_label": schema.listed(schema.flag),
        "shards": schema.listed(schema.integer()),
    },
    closed=True,
)


class UndecodableError(DataError):
    """A record cannot be decoded."""


@dataclasses.dataclass(frozen=True)
class Store:
    """Decoded images; one row per image.

    Attributes:
        metadata: what they are; `has_label` says whose label is kept.
        pixels: uint8 `(bytes,)`.
    """

    metadata: RecordMetadata
    pixels: tf.Tensor

    def opener(self) -> ImageOpener:
        """Returns the function that opens a row, int64 scalar, inside a graph."""
        names = tf.constant(self.metadata.names)
        sizes = tf.constant(self.metadata.sizes, tf.int64)
        offsets = tf.constant(_offsets(self.metadata), tf.int64)

        def open_row(row: tf.Tensor) -> ImageReader:
            size, offset = sizes[row], offsets[row]

            def rows(start: tf.Tensor, channels: int, window: tf.Tensor) -> tf.Tensor:
                top, left, height, width = tf.unstack(tf.cast(window, tf.int64))
                line = size[1] * channels
                flat = tf.slice(self.pixels, [start + top * line], [height * line])
                lines = tf.reshape(flat, tf.stack([height, size[1], channels]))
                return tf.ensure_shape(lines[:, left : left + width], [None, None, channels])

            label_offset = offset + _CHANNELS * size[0] * size[1]
            return ImageReader(
                name=names[row],
                size=tf.cast(size, tf.int32),
                image=lambda window: rows(offset, _CHANNELS, window),
                label=lambda window: rows(label_offset, 1, window),
            )

        return open_row


def in_memory(serialized: tf.Tensor, metadata: RecordMetadata, labeled: Sequence[int]) -> Store:
    """Decodes images into memory.

    Args:
        serialized: records, string `(N,)`.
        metadata: what they are.
        labeled: the rows whose labels are kept.

    Returns:
        The images, rows as given.

    Raises:
        DataError: they do not fit into memory.
        UndecodableError: one cannot be decoded.
    """
    kept = np.zeros(len(metadata.names), bool)
    kept[list(labeled)] = True
    metadata = dataclasses.replace(metadata, has_label=metadata.has_label & kept)
    total = int(_offsets(metadata)[-1])
    advice = "Use --cache=disk, or --cache=none."
    memory.check_fits(total, f"The {len(kept)} decoded images of --cache=memory", advice)
    raw = np.empty(total + _ALIGNMENT, np.uint8)
    first = -raw.ctypes.data % _ALIGNMENT
    pixels, end = raw[first : first + total], 0
    dataset = tf.data.Dataset.from_tensor_slices((serialized, metadata.has_label, metadata.shards))
    for part, *_ in _decoded(dataset):
        pixels[end : end + part.size] = part
        end += part.size
    return Store(metadata, _as_tensor(pixels))


def on_disk(shards: Sequence[str], digest: str, cache_dir: str) -> Store:
    """Opens decoded images in a file; they are decoded first where it is not there yet.

    Args:
        shards: paths of all TFRecord files to be decoded.
        digest: identity of the data set's contents; its cache is the directory of this name, so a
            data set that was converted anew is decoded anew.
        cache_dir: local directory for the caches of any number of data sets.

    Returns:
        The images, with every label there is, in the order of the shards.

    Raises:
        DataError: the cache is damaged.
        UndecodableError: an image cannot be decoded.
        StorageError: the cache cannot be written, e.g. the disk is full.
    """
    folder = os.path.join(cache_dir, digest)
    if not os.path.exists(folder):
        try:
            # A piece that a killed run left is as large as the data set.
            leftovers.clear(folder)
            _fill(shards, folder)
        except OSError as error:
            raise StorageError(
                f"The cache in --cache_dir={cache_dir} cannot be written: {error}. Make room, or "
                "choose another --cache_dir or --cache."
            ) from error
    try:
        index = json_files.read(os.path.join(folder, _INDEX), check=_STATED)
        if index.pop("format") != _FORMAT:
            raise ValueError("another format")
        if len({len(column) for column in index.values()}) > 1:
            raise ValueError("its columns differ in length")
        columns = {key: np.array(values) for key, values in index.items() if key != "names"}
        metadata = RecordMetadata(names=index["names"], **columns)
        # Copy on write, because TensorFlow takes no array that is read-only; nothing is written.
        pixels = np.memmap(os.path.join(folder, _PIXELS), np.uint8, "c")
        if pixels.size != _offsets(metadata)[-1]:
            raise ValueError(f"{pixels.size} bytes instead of {_offsets(metadata)[-1]}")
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"The cache in {folder} is damaged or of another version ({error}). Delete this "
            "directory; it is then made anew."
        ) from error
    return Store(metadata, _as_tensor(pixels))


def _fill(shards: Sequence[str], folder: str) -> None:
    """Decodes shards into a directory that appears when it is whole."""
    index: dict[str, Any] = {
        "format": _FORMAT,
        "names": [],
        "sizes": [],
        "has_label": [],
        "shards": [],
    }
    logging.info("Decoding %d shards into %s.", len(shards), folder)
    records = record_reader.shard_records(shards).map(lambda shard, record: (record, True, shard))
    try:
        with files.new_folder(folder) as beside:
            with open(os.path.join(beside, _PIXELS), "wb") as file:
                for part, name, size, has_label, shard in _decoded(records):
                    file.write(part)
                    index["names"].append(decode_name(name))
                    index["sizes"].append(size.tolist())
                    index["has_label"].append(bool(has_label))
                    index["shards"].append(int(shard))
            files.write_text(os.path.join(beside, _INDEX), json.dumps(index))
    except FileExistsError:
        # Another run may have been faster.
        if not os.path.isdir(folder):
            raise


def _decoded(dataset: tf.data.Dataset) -> Iterator[tuple]:
    """Decodes a data set of records, each with whether to keep its label, and its shard.

    Yields:
        The pixels of the image and of the label that is kept, uint8 `(bytes,)`; the image's name;
        its height and width; whether a label is kept; the shard.
    """

    def decode(record: tf.Tensor, keep: tf.Tensor, shard: tf.Tensor) -> tuple[tf.Tensor, ...]:
        name, size, has_label = tfrecord.parse_metadata(record)
        reader, keep = open_record(record), keep & has_label
        whole = tf.concat([[0, 0], reader.size], axis=0)
        none = tf.zeros([0], tf.uint8)
        label = tf.cond(keep, lambda: tf.reshape(reader.label(whole), [-1]), lambda: none)
        image = tf.reshape(reader.image(whole), [-1])
        return tf.concat([image, label], axis=0), name, size, keep, shard

    decoded = dataset.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    try:
        yield from decoded.prefetch(tf.data.AUTOTUNE).as_numpy_iterator()
    except tensorflow_errors.of_data() as error:
        reason = tensorflow_errors.reason(error)
        raise UndecodableError(
            f"A record cannot be decoded for the cache: {reason}. Convert the data set again."
        ) from error


def _offsets(metadata: RecordMetadata) -> np.ndarray:
    """Returns where each image begins among all pixels, and the end of the last, int64."""
    sizes = metadata.sizes.astype(np.int64)
    lengths = sizes[:, 0] * sizes[:, 1] * (_CHANNELS + metadata.has_label)
    return np.concatenate([[0], np.cumsum(lengths)])


def _as_tensor(pixels: np.ndarray) -> tf.Tensor:
    """Wraps an array, uint8, in a tensor without a copy; the tensor keeps it alive."""
    return tf.experimental.dlpack.from_dlpack(pixels.__dlpack__())
