"""Writing of TFRecord shards that are there whole or not at all.

Imports TensorFlow: only the main process of a conversion comes here.
"""

import dataclasses
import json
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from c3tf.data import files, records
from c3tf.data.errors import DataError
from c3tf.data.manifest import LeftOut, Shard
from data_tools.example import Converted


@dataclasses.dataclass(frozen=True)
class ShardNotes:
    """What is known about a finished shard; kept in a file until the manifest is written.

    Attributes:
        shard: file, count, length, checksum.
        names: names of its records, in order.
        labeled: records with a label.
        label_histogram: label pixels per stored value.
        left_out: items that were skipped.
    """

    shard: Shard
    names: tuple[str, ...]
    labeled: int
    label_histogram: tuple[int, ...]
    left_out: tuple[LeftOut, ...]


def write_shard(
    data_dir: str, work_dir: str, name: str, results: Iterable[Converted | LeftOut]
) -> ShardNotes:
    """Writes one shard beside its place, renames it and notes that it is finished.

    Args:
        data_dir: where the shard ends up.
        work_dir: where it is written, and where the notes are kept.
        name: file name of the shard.
        results: converted images, and those that were skipped.

    Returns:
        The notes.

    Raises:
        DataError: the output cannot be written, e.g. the disk is full.
    """
    path, beside = files.join(data_dir, name), files.join(work_dir, name)
    names, left_out, labeled = [], [], 0
    histogram = np.zeros(np.iinfo(np.uint8).max + 1, np.int64)
    try:
        with tf.io.TFRecordWriter(beside) as writer:
            for result in results:
                if isinstance(result, LeftOut):
                    left_out.append(result)
                    continue
                writer.write(records.serialize(result.record))
                names.append(result.record.name)
                labeled += result.record.label is not None
                histogram += result.label_histogram
        shard = Shard(name, len(names), files.size(beside), files.sha256(beside))
        notes = ShardNotes(shard, tuple(names), labeled, tuple(histogram.tolist()), tuple(left_out))
        files.rename(beside, path)
        text = json.dumps(dataclasses.asdict(notes), ensure_ascii=False)
        files.write_text(_notes_path(work_dir, name), text)
    except (OSError, tf.errors.OpError) as error:
        raise DataError(f"{beside} cannot be written: {error}") from error
    return notes


def read_notes(data_dir: str, work_dir: str, name: str) -> ShardNotes | None:
    """Returns the notes of a shard that an earlier run finished, or None.

    Args:
        data_dir: where the shard would be.
        work_dir: where the notes would be.
        name: file name of the shard.
    """
    notes_path, path = _notes_path(work_dir, name), files.join(data_dir, name)
    if not (files.exists(notes_path) and files.exists(path)):
        return None
    data = json.loads(files.read_text(notes_path))
    shard = Shard(**data["shard"])
    if files.size(path) != shard.bytes:
        return None
    return ShardNotes(
        shard=shard,
        names=tuple(data["names"]),
        labeled=data["labeled"],
        label_histogram=tuple(data["label_histogram"]),
        left_out=tuple(LeftOut(**entry) for entry in data["left_out"]),
    )


def _notes_path(work_dir: str, name: str) -> str:
    """Names the file that says a shard is finished."""
    return files.join(work_dir, f"{name}.json")
