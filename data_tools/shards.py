"""Writing of TFRecord shards that are there whole or not at all.

Imports TensorFlow: only the main process of a conversion comes here.
"""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterable

import numpy as np
import tensorflow as tf

from c3tf.data import files, records
from c3tf.data.errors import DataError
from c3tf.data.manifest import LeftOut, Shard
from data_tools.example import Converted, Skipped


@dataclasses.dataclass(frozen=True)
class ShardNotes:
    """What is known about a finished shard; kept in a file until the manifest is written.

    Attributes:
        shard: file, count, length, checksum.
        names: names of its records, in order.
        labeled: records with a label.
        label_histogram: label pixels per stored value.
        image_sizes: records per size of image, `WIDTHxHEIGHT`.
        left_out: items that are not among the records.
        skipped: how many of these would have stopped a run without `--skip_bad`.
    """

    shard: Shard
    names: tuple[str, ...]
    labeled: int
    label_histogram: tuple[int, ...]
    image_sizes: dict[str, int]
    left_out: tuple[LeftOut, ...]
    skipped: int


def write_shard(
    data_dir: str,
    work_dir: str,
    name: str,
    results: Iterable[Converted | LeftOut],
    beside: str | None = None,
) -> ShardNotes:
    """Writes one shard beside its place, renames it and notes that it is finished.

    Args:
        data_dir: where the shard ends up.
        work_dir: where it is written, and where the notes are kept.
        name: file name of the shard.
        results: converted images, and those that are left out.
        beside: its file name while it is written; `name` when absent.

    Returns:
        The notes.

    Raises:
        DataError: the output cannot be written, e.g. the disk is full.
    """
    path, beside = files.join(data_dir, name), files.join(work_dir, beside or name)
    tally = _Tally()
    try:
        with tf.io.TFRecordWriter(beside) as writer:
            for result in results:
                if isinstance(result, Converted):
                    writer.write(records.serialize(result.record))
                tally.add(result)
        shard = Shard(name, len(tally.names), files.size(beside), files.sha256(beside))
        notes = tally.notes(shard)
        # The notes are flushed: what they call finished must be on the disk before them.
        files.sync(beside)
        files.rename(beside, path)
        text = json.dumps(dataclasses.asdict(notes), ensure_ascii=False)
        files.write_text(_notes_path(work_dir, name), text)
    except (OSError, tf.errors.OpError) as error:
        raise DataError(
            f"{beside} cannot be written: {error}. Make room or mend the directory, and run the "
            "same command again; it continues."
        ) from error
    return notes


class _Tally:
    """Counts what goes into a shard."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._left_out: list[LeftOut] = []
        self._sizes: Counter[str] = Counter()
        self._labeled = 0
        self._histogram = np.zeros(np.iinfo(np.uint8).max + 1, np.int64)

    def add(self, result: Converted | LeftOut) -> None:
        """Counts one image."""
        if isinstance(result, LeftOut):
            self._left_out.append(result)
            return
        record = result.record
        self.names.append(record.name)
        self._sizes[f"{record.width}x{record.height}"] += 1
        self._labeled += record.label is not None
        self._histogram += result.label_histogram

    def notes(self, shard: Shard) -> ShardNotes:
        """Returns the counts."""
        return ShardNotes(
            shard=shard,
            names=tuple(self.names),
            labeled=self._labeled,
            label_histogram=tuple(self._histogram.tolist()),
            image_sizes=dict(self._sizes),
            left_out=tuple(self._left_out),
            skipped=sum(isinstance(entry, Skipped) for entry in self._left_out),
        )


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
        image_sizes=data["image_sizes"],
        left_out=tuple(LeftOut(**entry) for entry in data["left_out"]),
        skipped=data["skipped"],
    )


def _notes_path(work_dir: str, name: str) -> str:
    """Names the file that says a shard is finished."""
    return files.join(work_dir, f"{name}.json")
