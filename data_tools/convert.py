"""The conversion of a whole data set: shards, notes that let it continue, manifest last.

Which shard an image belongs to depends only on the names and the options, never on the number of
workers, so every run gives the same bytes. While it works, finished shards are noted in a folder
of the output; a run that was stopped continues behind them.
"""

import dataclasses
import functools
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

from c3tf.data import files
from c3tf.data import manifest as manifests
from c3tf.data.errors import DataError
from c3tf.data.manifest import LeftOut, Manifest, SplitInfo
from c3tf.labels import IGNORE, LabelMap
from data_tools import workers
from data_tools.discovery.common import Found
from data_tools.example import Converted, Item, Options, convert_example

if TYPE_CHECKING:
    from data_tools.shards import ShardNotes

# Raise it when the same files and options give other bytes than before.
VERSION = "1"
_MEGABYTE = 10**6
# Images converted ahead of time to learn how large a record is.
_SAMPLE = 8
_SHOWN = 5

Progress = Callable[[int, int], None]


@dataclasses.dataclass(frozen=True)
class _Shard:
    """A shard to write: its file name and the images that go into it."""

    split: str
    name: str
    items: tuple[Item, ...]


def convert(
    found: Found,
    output: str,
    options: Options,
    converter: str,
    *,
    num_workers: int = 0,
    shard_mb: int = 128,
    strict: bool = False,
    skip_bad: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Converts the images a discovery found into a data set directory.

    Args:
        found: images and labels.
        output: directory to make; must be absent, empty, or left by a stopped run of the same
            conversion, which is then continued.
        options: how to store the images.
        converter: name of the command, for the manifest.
        num_workers: processes; 0 uses all cores, 1 works in this process.
        shard_mb: approximate size of a shard in megabytes.
        strict: refuse images without label and labels without image.
        skip_bad: leave unusable files out, and list them in the manifest, instead of stopping.
        progress: called with the images done so far in this run and in all.

    Returns:
        The manifest that was written.

    Raises:
        DataError: the data or the output are not acceptable.
    """
    if shard_mb < 1:
        raise ValueError(f"`shard_mb` must be 1 or more. Received: shard_mb={shard_mb}")
    if strict and skip_bad:
        raise ValueError("`strict` and `skip_bad` exclude each other. Received: both")
    if strict:
        _refuse_left_out(found)
    work_dir = files.join(output, manifests.INCOMPLETE_DIR)
    if _prepare(output, work_dir, _request(found, options, converter, shard_mb)):
        return manifests.load(output)
    job = functools.partial(_convert_or_leave_out, options=options, skip_bad=skip_bad)
    with workers.pool(num_workers) as mapper:
        plan = _plan(found.items, work_dir, shard_mb, functools.partial(mapper.map, job))
        notes = _write_shards(plan, output, work_dir, mapper, job, skip_bad, progress)
    splits = {
        split: _finish_split(output, split, part, found, options.label_map)
        for split, part in notes.items()
    }
    manifest = Manifest(
        dataset=options.dataset,
        converter=converter,
        converter_version=VERSION,
        source=found.root,
        options=_plain_options(options) | {"shard_mb": shard_mb},
        label_map=options.label_map,
        splits=splits,
        data_dir=output,
    )
    manifests.write(output, manifest)
    files.remove_tree(work_dir)
    return manifest


def _convert_or_leave_out(item: Item, options: Options, skip_bad: bool) -> Converted | LeftOut:
    """Converts one image in a worker."""
    try:
        return convert_example(item, options)
    except DataError as error:
        if not skip_bad:
            raise
        return LeftOut(item.source, str(error))


def _refuse_left_out(found: Found) -> None:
    """Raises if a file has no partner; extra images that are left out have another reason."""
    lost = [e for split, entries in found.left_out.items() if split != "unlabeled" for e in entries]
    if lost:
        shown = "; ".join(f"{entry.source}: {entry.reason}" for entry in lost[:_SHOWN])
        raise DataError(f"{len(lost)} files in {found.root} have no use (--strict): {shown}")


def _plain_options(options: Options) -> dict[str, Any]:
    """Returns the options that are not in the manifest elsewhere."""
    plain = dataclasses.asdict(options)
    return {k: v for k, v in plain.items() if k not in ("dataset", "label_map")}


def _request(found: Found, options: Options, converter: str, shard_mb: int) -> dict[str, Any]:
    """Describes a conversion, to tell whether a stopped one was the same."""
    items = [(item.split, item.name, item.source, item.label is not None) for item in found.items]
    digest = hashlib.sha256(json.dumps(items).encode("utf-8")).hexdigest()
    return {
        "converter": converter,
        "converter version": VERSION,
        "dataset": options.dataset,
        "label map": options.label_map.to_json(),
        **_plain_options(options),
        "shard_mb": shard_mb,
        "list of files": f"{len(items)} files, sha256 {digest[:16]}",
    }


def _prepare(output: str, work_dir: str, request: dict[str, Any]) -> bool:
    """Makes the output directory, or finds what a stopped run left in it.

    Returns:
        True if that run had finished but for cleaning up, which is done then.
    """
    request_path = files.join(work_dir, "request.json")
    held = files.list_dir(output) if files.is_dir(output) else []
    begun = json.loads(files.read_text(request_path)) if files.exists(request_path) else None
    if begun is not None and begun != request:
        changed = [key for key in request if begun.get(key) != request[key]]
        raise DataError(
            f"{output} holds a stopped conversion with other {', '.join(changed)}. Run that one "
            "again to finish it, delete the directory, or choose another --output."
        )
    if begun is not None and manifests.FILE_NAME in held:
        files.remove_tree(work_dir)
        return True
    if begun is None and set(held) - {manifests.INCOMPLETE_DIR}:
        kind = "a finished data set" if manifests.FILE_NAME in held else "other files"
        raise DataError(
            f"{output} already holds {kind} ({', '.join(held[:_SHOWN])}). Nothing is overwritten: "
            "choose another --output, or delete the directory."
        )
    try:
        files.make_dirs(work_dir)
        files.write_text(request_path, json.dumps(request))
    except OSError as error:
        raise DataError(f"{output} cannot be written: {error}") from error
    return False


def _plan(
    items: Iterable[Item],
    work_dir: str,
    shard_mb: int,
    convert_all: Callable[[Iterable[Item]], Iterator[Converted | LeftOut]],
) -> list[_Shard]:
    """Assigns every image to a shard, in an order shuffled by the hashes of the names."""
    by_split: dict[str, list[Item]] = {}
    for item in items:
        by_split.setdefault(item.split, []).append(item)
    plan = []
    for split, part in by_split.items():
        part.sort(key=lambda item: hashlib.sha256(item.name.encode("utf-8")).digest())
        path = files.join(work_dir, f"{split}.plan.json")
        if not files.exists(path):
            count = _count_shards(len(part), convert_all(part[:_SAMPLE]), shard_mb)
            files.write_text(path, json.dumps({"num_shards": count}))
        # A stopped run keeps its plan, even if a damaged file was replaced since.
        total = json.loads(files.read_text(path))["num_shards"]
        for index in range(total):
            low, high = (len(part) * k // total for k in (index, index + 1))
            name = f"{split}-{index:05d}-of-{total:05d}.tfrecord"
            plan.append(_Shard(split, name, tuple(part[low:high])))
    return plan


def _count_shards(count: int, sample: Iterator[Converted | LeftOut], shard_mb: int) -> int:
    """Returns how many shards of about `shard_mb` the images of a split fill."""
    records = [result.record for result in sample if isinstance(result, Converted)]
    sizes = [len(record.image) + len(record.label or b"") for record in records]
    total = count * sum(sizes) / max(len(sizes), 1)
    return min(count, max(1, math.ceil(total / (shard_mb * _MEGABYTE))))


def _write_shards(
    plan: list[_Shard],
    output: str,
    work_dir: str,
    mapper: workers.Mapper,
    job: Callable[[Item], Converted | LeftOut],
    skip_bad: bool,
    progress: Progress | None,
) -> dict[str, list["ShardNotes"]]:
    """Writes the shards that are missing; returns the notes of all, per split."""
    # Imports TensorFlow. Workers import this module too and must stay small.
    from data_tools import shards

    finished = {}
    for shard in plan:
        notes = shards.read_notes(output, work_dir, shard.name)
        if notes is not None and (skip_bad or not notes.left_out):
            finished[shard.name] = notes
    todo = [item for shard in plan if shard.name not in finished for item in shard.items]
    # One stream over all shards: workers go on while the end of a shard is written.
    results = _counted(mapper.map(job, todo), len(todo), progress)
    by_split: dict[str, list[shards.ShardNotes]] = {}
    for shard in plan:
        notes = finished.get(shard.name)
        if notes is None:
            part = islice(results, len(shard.items))
            notes = shards.write_shard(output, work_dir, shard.name, part)
        by_split.setdefault(shard.split, []).append(notes)
    return by_split


def _counted(
    results: Iterator[Converted | LeftOut], total: int, progress: Progress | None
) -> Iterator[Converted | LeftOut]:
    """Passes results on and tells how many there were."""
    for done, result in enumerate(results, start=1):
        if progress is not None:
            progress(done, total)
        yield result


def _finish_split(
    output: str, split: str, notes: list["ShardNotes"], found: Found, label_map: LabelMap
) -> SplitInfo:
    """Writes the names of a split and sums up its shards."""
    names = sorted(name for part in notes for name in part.names)
    left_out = [*found.left_out.get(split, ()), *(e for part in notes for e in part.left_out)]
    if not names:
        raise DataError(
            f"Split {split!r} is empty: none of its {len(left_out)} images could be used. "
            f"The first: {left_out[0].reason}"
        )
    names_file = f"{split}.names.txt"
    files.write_text(files.join(output, names_file), "".join(f"{name}\n" for name in names))
    histogram = [sum(values) for values in zip(*(p.label_histogram for p in notes), strict=True)]
    return SplitInfo(
        count=len(names),
        labeled=sum(part.labeled for part in notes),
        names_file=names_file,
        shards=tuple(part.shard for part in notes),
        class_pixels=tuple(histogram[: label_map.num_classes]),
        ignored_pixels=histogram[IGNORE],
        left_out=tuple(sorted(left_out, key=lambda entry: entry.source)),
    )
