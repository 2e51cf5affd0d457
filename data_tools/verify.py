"""Reads a converted data set again: checksums, every record, labels, counts.

python -m data_tools.verify --data=data/cityscapes

What workers run needs NumPy, OpenCV and Pillow only.
"""

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterator

import numpy as np
from absl import flags
from PIL import Image

from c3tf import cli
from c3tf.data import manifest as manifests
from c3tf.data.manifest import Manifest, Shard, SplitInfo
from c3tf.data.record import Record
from c3tf.errors import DataError
from c3tf.io import decoding, files
from c3tf.io.image_bytes import ImageBytesError
from c3tf.labels import IGNORE
from c3tf.progress import Progress
from data_tools.conversion import workers
from data_tools.conversion.runners import StartProgress

FLAGS = flags.FLAGS
_SHOWN = 20
_SHOWN_IDS = 8


@dataclasses.dataclass(frozen=True)
class RecordCheck:
    """What a record holds, and what is wrong with it.

    Attributes:
        name: of the record.
        size: of its image, `WIDTHxHEIGHT`.
        label_histogram: label pixels per value, `(256,)`; None without a label.
        problems: what is wrong with it.
    """

    name: str
    size: str
    label_histogram: np.ndarray | None
    problems: tuple[str, ...]


def verify(
    data_dir: str, num_workers: int = 0, start_progress: StartProgress | None = None
) -> Manifest:
    """Compares every byte, record and count of a data set with its manifest.

    Args:
        data_dir: directory of the data set.
        num_workers: processes that decode; 0 uses all cores, 1 works in this process.
        start_progress: given the number of images, returns what is told how many are read.

    Returns:
        The manifest.

    Raises:
        DataError: something differs; names every damaged shard and record, up to a limit.
    """
    manifest = manifests.load(data_dir)
    total = sum(info.count for info in manifest.splits.values())
    progress = start_progress(total) if start_progress and total else lambda done: None
    done = 0
    problems: list[str] = []
    with workers.pool(num_workers) as mapper:
        for split, info in manifest.splits.items():
            tally, before = _SplitCounts(), len(problems)
            check = functools.partial(
                check_record,
                num_classes=manifest.label_map.num_classes,
                own_label_size=manifest.own_label_size(split),
            )
            for shard in info.shards:
                records = _records(manifest, split, shard, problems)
                for checked in mapper.map(check, records):
                    tally.add(shard, checked)
                    done += 1
                    progress(done)
                tally.end_shard(shard)
            problems += tally.problems
            # What is counted in damaged shards differs because of them.
            if len(problems) == before:
                problems += _split_problems(manifest, split, info, tally)
    if problems:
        more = f"; and {len(problems) - _SHOWN} more problems" if len(problems) > _SHOWN else ""
        raise DataError(
            f"{data_dir} does not fit its {manifests.FILE_NAME}: {'; '.join(problems[:_SHOWN])}"
            f"{more}. Copy these files again, or convert the data set again into a new directory."
        )
    return manifest


def _records(
    manifest: Manifest, split: str, shard: Shard, problems: list[str]
) -> Iterator[tuple[Record, str | None]]:
    """Yields the records of a shard as far as it can be read, and notes what is wrong with it.

    Each comes with what the decoder that trains cannot use of it.
    """
    # Imports TensorFlow. Workers import this module too and must stay small.
    from c3tf.data import record_check, tfrecord

    path = files.join(manifest.data_dir, shard.file)
    problem = manifests.shard_problem(path, shard, quick=False)
    if problem:
        problems.append(problem)
    if not files.exists(path):
        return
    classes, own_size = manifest.label_map.num_classes, manifest.own_label_size(split)
    try:
        yield from record_check.problems(tfrecord.read_shard(path), classes, own_size)
    except DataError as error:
        problems.append(str(error))


def check_record(
    read: tuple[Record, str | None], num_classes: int, own_label_size: bool
) -> RecordCheck:
    """Decodes a record and checks that it is what training reads.

    Args:
        read: the record, and what training cannot use of it.
        num_classes: classes of the data set.
        own_label_size: the label may have another size than the image.

    Returns:
        What it holds and what is wrong with it.
    """
    record, unusable = read
    problems: list[str] = []
    size = (record.width, record.height)
    image = _decode(record.image, "image", problems)
    if image is not None:
        if image.size != size:
            problems.append(f"the image is {image.size}, the record says {size}")
        if image.mode != "RGB" or image.format.lower() != record.image_format:
            problems.append(
                f"the image is {image.format} {image.mode}, the record says {record.image_format}"
            )
    label = _decode(record.label, "label", problems) if record.label is not None else None
    histogram = None
    if label is not None and (label.mode, label.format) != ("L", "PNG"):
        problems.append(f"the label is {label.format} {label.mode} instead of a grey PNG")
    elif label is not None:
        histogram = np.bincount(np.asarray(label).ravel(), minlength=np.iinfo(np.uint8).max + 1)
        if label.size != size and not own_label_size:
            problems.append(f"the label is {label.size}, the image {size}")
        unknown = [int(i) for i in np.flatnonzero(histogram) if num_classes <= i != IGNORE]
        if unknown:
            shown = ", ".join(map(str, unknown[:_SHOWN_IDS]))
            problems.append(f"the label holds ids that are no class: {shown}")
    if unusable and not problems:
        problems.append(unusable)
    return RecordCheck(record.name, f"{size[0]}x{size[1]}", histogram, tuple(problems))


def _decode(encoded: bytes, kind: str, problems: list[str]) -> Image.Image | None:
    """Decodes all pixels."""
    try:
        return decoding.decode(encoded)[0]
    except ImageBytesError as error:
        problems.append(f"the {kind} {error}")
        return None


class _SplitCounts:
    """Counts what the shards of a split hold."""

    def __init__(self) -> None:
        self.names: list[str] = []
        self.sizes: Counter[str] = Counter()
        self.labeled = 0
        self.histogram = np.zeros(np.iinfo(np.uint8).max + 1, np.int64)
        self.problems: list[str] = []
        self._in_shard = 0

    def add(self, shard: Shard, checked: RecordCheck) -> None:
        """Counts one record."""
        where = f"{shard.file}: record {self._in_shard} ({checked.name})"
        self.problems += [f"{where}: {problem}" for problem in checked.problems]
        self._in_shard += 1
        self.names.append(checked.name)
        self.sizes[checked.size] += 1
        if checked.label_histogram is not None:
            self.labeled += 1
            self.histogram += checked.label_histogram

    def end_shard(self, shard: Shard) -> None:
        """Compares the number of records."""
        if self._in_shard != shard.count:
            self.problems.append(
                f"{shard.file} gives {self._in_shard} records instead of {shard.count}"
            )
        self._in_shard = 0


def _split_problems(
    manifest: Manifest, split: str, info: SplitInfo, tally: _SplitCounts
) -> list[str]:
    """Compares the counts of a split."""
    try:
        expected = manifest.names(split) if info.count else []
    except (DataError, OSError) as error:
        # The advice that follows is the same for all problems.
        return [str(error).removesuffix(f" {manifests.ADVICE}").rstrip(".")]
    problems = []
    found = sorted(tally.names)
    if found != expected:
        odd = sorted((Counter(found) - Counter(expected)) + (Counter(expected) - Counter(found)))
        problems.append(
            f"{info.names_file} and the records differ in {len(odd)} names, such as {odd[0]!r}"
            if odd
            else f"{info.names_file} is not sorted"
        )
    num_classes = manifest.label_map.num_classes
    histogram = tally.histogram.tolist()
    for what, counted, stated in (
        ("labeled", tally.labeled, info.labeled),
        ("class_pixels", tuple(histogram[:num_classes]), info.class_pixels),
        ("ignored_pixels", histogram[IGNORE], info.ignored_pixels),
        ("image_sizes", dict(tally.sizes), info.image_sizes or dict(tally.sizes)),
    ):
        if counted != stated:
            problems.append(f"`{what}` of split {split!r} is {counted}, not {stated}")
    return problems


def report(data_dir: str, num_workers: int) -> None:
    """Verifies a data set, showing progress, and prints that it is sound.

    Raises:
        DataError: it is not; names every damaged shard.
    """
    manifest = verify(data_dir, num_workers, functools.partial(Progress, unit="images"))
    count = sum(info.count for info in manifest.splits.values())
    print(f"verified: all {count} images of {data_dir} are as {manifests.FILE_NAME} says")


def main() -> None:
    """Verifies the data set the flags name."""
    report(FLAGS.data, FLAGS.num_workers)


if __name__ == "__main__":
    flags.DEFINE_string("data", None, "Directory of the converted data set.", required=True)
    flags.DEFINE_integer("num_workers", 0, "Processes; 0 uses all cores.", lower_bound=0)
    cli.run(main)
