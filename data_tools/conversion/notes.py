"""Notes on finished shards, kept until the manifest is written, so that a run can continue.

Free of TensorFlow: the runners and what workers import come here.
"""

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from c3tf.data.manifest import LeftOut, Shard
from c3tf.errors import DataError
from c3tf.io import files, json_files
from data_tools.conversion.example import Outcome, Refused, SourcePair, source_lengths
from data_tools.conversion.palettes import Consistency

# Notes lie in small files, which remote file systems are slow to find.
_THREADS = 32
# Names that are kept of images of which something is said.
_NAMED = 3
# A file whose notes these are is damaged, and its shard is written again.
_OF_DAMAGE = (DataError, KeyError, TypeError)
_DAMAGED = (
    "{path} is damaged ({reason}), so the conversion cannot continue. Delete the directory of the "
    "data set, or choose another --output, and convert again."
)


@dataclasses.dataclass(frozen=True)
class ShardNotes:
    """What is known about a finished shard.

    Attributes:
        shard: file, count, length, checksum.
        names: names of its records, in order.
        labeled: records with a label.
        label_histogram: label pixels per stored value.
        image_sizes: records per size of image, `WIDTHxHEIGHT`.
        left_out: pairs that are not among the records.
        skipped: how many of these would have stopped a run without `--skip_bad`.
        sources: digest over the lengths of the local source files of its pairs, in order.
        remarks: per remark on images, their number and the first few names.
        palettes: what palette masks hold, as `palettes.Consistency` says it.
    """

    shard: Shard
    names: tuple[str, ...]
    labeled: int
    label_histogram: tuple[int, ...]
    image_sizes: dict[str, int]
    left_out: tuple[LeftOut, ...]
    skipped: int
    sources: str
    remarks: dict[str, tuple[int, list[str]]] = dataclasses.field(default_factory=dict)
    palettes: list[list[Any]] = dataclasses.field(default_factory=list)


class _Sources:
    """Sums up the lengths of source files, so that a shard whose sources changed is noticed."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()

    def add(self, lengths: tuple[int, ...]) -> None:
        """Adds the files of the next pair."""
        self._digest.update(f"{lengths}".encode())

    def digest(self) -> str:
        """Returns 16 hex digits."""
        return self._digest.hexdigest()[:16]


class Tally:
    """Counts what goes into a shard."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self._left_out: list[LeftOut] = []
        self._sizes: Counter[str] = Counter()
        self._labeled = self._skipped = 0
        self._histogram = np.zeros(np.iinfo(np.uint8).max + 1, np.int64)
        self._sources = _Sources()
        self._remarks: dict[str, tuple[int, list[str]]] = {}
        self._palettes = Consistency()

    def add(self, outcome: Outcome) -> None:
        """Counts one image.

        Raises:
            DataError: its palette mask does not go with those before.
        """
        self._sources.add(outcome.source_lengths)
        if isinstance(outcome, Refused):
            self._left_out.append(outcome.left_out)
            self._skipped += outcome.skipped
            return
        record = outcome.record
        self.names.append(record.name)
        self._sizes[f"{record.width}x{record.height}"] += 1
        self._labeled += record.label is not None
        self._histogram += outcome.label_histogram
        for remark in outcome.remarks:
            add_remark(self._remarks, remark, 1, [record.name])
        if outcome.palette is not None:
            self._palettes.add(outcome.palette)

    def notes(self, shard: Shard) -> ShardNotes:
        """Returns the counts."""
        return ShardNotes(
            shard=shard,
            names=tuple(self.names),
            labeled=self._labeled,
            label_histogram=tuple(self._histogram.tolist()),
            image_sizes=dict(self._sizes),
            left_out=tuple(self._left_out),
            skipped=self._skipped,
            sources=self._sources.digest(),
            remarks=self._remarks,
            palettes=self._palettes.to_json(),
        )


def add_remark(
    remarks: dict[str, tuple[int, list[str]]], remark: str, count: int, names: list[str]
) -> None:
    """Adds images to those of which something is said."""
    before, first = remarks.get(remark, (0, []))
    remarks[remark] = (before + count, [*first, *names][:_NAMED])


def read_json(path: str) -> dict[str, Any]:
    """Reads what a stopped run noted.

    Raises:
        DataError: it is damaged.
    """
    return json_files.read(path, error=DataError, text=_DAMAGED)


def damaged(path: str, reason: str) -> DataError:
    """Makes the complaint that a note of the whole run is damaged, for a reason in a few words."""
    return DataError(_DAMAGED.format(path=path, reason=reason))


def write(work_dir: str, notes: ShardNotes) -> None:
    """Notes that a shard is finished."""
    text = json.dumps(dataclasses.asdict(notes), ensure_ascii=False)
    files.write_text(_path(work_dir, notes.shard.file), text)


def forget(work_dir: str, names: Iterable[str]) -> None:
    """Deletes the notes of shards to be written again, so that none passes for finished."""
    noted = set(files.list_dir(work_dir))
    for name in names:
        if _path("", name) in noted:
            files.remove(_path(work_dir, name))


def read_all(data_dir: str, work_dir: str, names: Sequence[str]) -> dict[str, ShardNotes]:
    """Reads the notes of finished shards by name; none for a missing or changed shard."""
    held, noted = set(files.list_dir(data_dir)), set(files.list_dir(work_dir))
    there = [name for name in names if name in held and _path("", name) in noted]
    with ThreadPoolExecutor(_THREADS) as executor:
        found = executor.map(lambda name: _read(data_dir, work_dir, name), there)
        return {name: notes for name, notes in zip(there, found, strict=True) if notes}


def _read(data_dir: str, work_dir: str, name: str) -> ShardNotes | None:
    """Reads the notes of one shard; None where they do not fit it."""
    try:
        data = read_json(_path(work_dir, name))
        notes = ShardNotes(
            shard=Shard(**data.pop("shard")),
            names=tuple(data.pop("names")),
            label_histogram=tuple(data.pop("label_histogram")),
            left_out=tuple(LeftOut(**entry) for entry in data.pop("left_out")),
            **data,
        )
    except _OF_DAMAGE:
        return None
    return notes if files.size(files.join(data_dir, name)) == notes.shard.bytes else None


def are_of(notes: ShardNotes, pairs: Iterable[SourcePair]) -> bool:
    """Tells whether the source files of a finished shard still have the lengths they had."""
    sources = _Sources()
    for pair in pairs:
        sources.add(source_lengths(pair))
    return notes.sources == sources.digest()


def _path(work_dir: str, name: str) -> str:
    """Names the file that says a shard is finished."""
    return files.join(work_dir, f"{name}.json")
