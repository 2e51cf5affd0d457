"""The conversion of a whole data set: shards, notes that let it continue, manifest last.

While it works, finished shards are noted in a folder of the output; a run that was stopped
continues behind them and ends with the bytes of an undisturbed one.
"""

import contextlib
import dataclasses
import functools
import hashlib
import itertools
import json
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import PIL

from c3tf.data import judgement
from c3tf.data import manifest as manifests
from c3tf.data.manifest import LeftOut, Manifest, SplitInfo
from c3tf.errors import DataError
from c3tf.io import files
from c3tf.labels import IGNORE, LabelMap
from data_tools.conversion import images, notes, palettes, planning, turned
from data_tools.conversion import output as outputs
from data_tools.conversion.example import (
    ConversionOptions,
    Outcome,
    Refused,
    SizeMismatchError,
    SourcePair,
    convert_example,
    source_lengths,
)
from data_tools.conversion.notes import ShardNotes
from data_tools.conversion.pairing import NO_PARTNER, SourceListing
from data_tools.conversion.runners import LocalRunner, Runner

# Raise it when the same files and options give other bytes than before.
VERSION = "3"
_SHOWN = 5


def convert(
    listing: SourceListing,
    output: str,
    options: ConversionOptions,
    converter: str,
    *,
    runner: Runner | None = None,
    shard_mb: int = 128,
    strict: bool = False,
    skip_bad: bool = False,
    say: Callable[[str], None] = lambda line: None,
) -> Manifest:
    """Converts the images a discovery found into a data set directory.

    Args:
        listing: images and labels.
        output: directory to make; must be absent, empty, or left by a stopped run of the same
            conversion, which is then continued.
        options: how to store the images.
        converter: name of the command, for the manifest.
        runner: converts the images; processes on all cores of this machine when absent.
        shard_mb: approximate size of a shard in megabytes.
        strict: refuse images without label, labels without image, and labels of another size than
            their image. Otherwise they are left out and listed in the manifest.
        skip_bad: leave unusable files out, and list them in the manifest, instead of stopping.
        say: told in a line that a stopped run continues, and where; and what was odd about images.

    Returns:
        The manifest that was written.

    Raises:
        DataError: the data or the output are not acceptable, or another run writes there.
    """
    if shard_mb < 1:
        raise ValueError(f"`shard_mb` must be 1 or more. Received: shard_mb={shard_mb}")
    if strict and skip_bad:
        raise ValueError("`strict` and `skip_bad` exclude each other. Received: both")
    if strict:
        _refuse_left_out(listing)
    convert_pair = functools.partial(
        _convert_or_leave_out, options=options, strict=strict, skip=skip_bad
    )
    with outputs.locked(output):
        if outputs.prepare(output, _request(listing, options, converter, shard_mb)):
            return manifests.load(output)
        work_dir = outputs.work_dir(output)
        with _refusing(listing, output), (runner or LocalRunner()).open(convert_pair) as session:
            plan = planning.make_plan(listing.pairs, work_dir, shard_mb, session.convert)
            done = _finished(plan, output, work_dir, strict, skip_bad)
            if done:
                say(f"continues: {len(done)} of {len(plan)} shards are finished")
            left = [shard for shard in plan if shard.name not in done]
            notes.forget(work_dir, [shard.name for shard in left])
            session.write(left, output, work_dir)
        noted = _all_notes(plan, output, work_dir)
        _say_remarks(noted, say)
        splits = _finish_splits(noted, output, listing, options.label_map)
        manifest = Manifest(
            dataset=options.dataset,
            converter=converter,
            converter_version=VERSION,
            source=listing.root,
            options=_plain_options(options)
            | {"shard_mb": shard_mb, "image_suffix": listing.image_suffix},
            label_map=options.label_map,
            splits=splits,
            data_dir=output,
            software=_software(),
        )
        judgement.refuse_undefined(manifest)
        manifests.write(output, manifest)
        outputs.clean_up(output)
    return manifest


def _convert_or_leave_out(
    pair: SourcePair, options: ConversionOptions, strict: bool, skip: bool
) -> Outcome:
    """Converts one image in a worker."""
    try:
        return _convert_in_memory(pair, options)
    except images.UnavailableError:
        # The image may be sound: another try is wanted, not a data set without it.
        raise
    except DataError as error:
        mismatch = isinstance(error, SizeMismatchError) and not strict
        if not (skip or mismatch):
            raise
        return Refused(LeftOut(pair.source, str(error)), not mismatch, source_lengths(pair))


def _convert_in_memory(pair: SourcePair, options: ConversionOptions) -> Outcome:
    """Converts one image; one that memory does not hold is refused like other bad ones."""
    try:
        return convert_example(pair, options)
    except MemoryError as error:
        raise DataError(f"{pair.image} needs more memory than there is to convert it.") from error


def _refuse_left_out(listing: SourceListing) -> None:
    """Raises if a file has no partner; files that are left out for other reasons do not matter."""
    lost = [e for entries in listing.left_out.values() for e in entries if e.reason in NO_PARTNER]
    if lost:
        shown = "; ".join(f"{entry.source}: {entry.reason}" for entry in lost[:_SHOWN])
        raise DataError(f"{len(lost)} files in {listing.root} have no use (--strict): {shown}")


def _plain_options(options: ConversionOptions) -> dict[str, Any]:
    """Returns the options that are not in the manifest elsewhere, as JSON gives them back."""
    plain = json.loads(json.dumps(dataclasses.asdict(options)))
    return {k: v for k, v in plain.items() if k not in ("dataset", "label_map")}


def _software() -> dict[str, str]:
    """Returns the versions of what decodes, resizes and encodes."""
    return {"pillow": PIL.__version__, "opencv": cv2.__version__}


def _request(
    listing: SourceListing, options: ConversionOptions, converter: str, shard_mb: int
) -> dict[str, Any]:
    """Describes a conversion, to tell whether a stopped one was the same."""
    digest = hashlib.sha256()
    for pair in listing.pairs:
        paths = [path and files.absolute(path) for path in (pair.image, pair.label)]
        line = json.dumps([pair.split, pair.name, *paths])
        digest.update(f"{line}\n".encode())
    return {
        "converter": converter,
        "converter version": VERSION,
        "dataset": options.dataset,
        "label map": options.label_map.to_json(),
        **_plain_options(options),
        "shard_mb": shard_mb,
        "software": _software(),
        "list of files": f"{len(listing.pairs)} files, sha256 {digest.hexdigest()[:16]}",
    }


def _finished(
    plan: list[planning.ShardPlan], output: str, work_dir: str, strict: bool, skip_bad: bool
) -> set[str]:
    """Returns the names of the shards an earlier run finished.

    It did so under no laxer rules than now, and from files that have not changed since.
    """
    noted = notes.read_all(output, work_dir, [shard.name for shard in plan])
    return {
        shard.name
        for shard in plan
        if (known := noted.get(shard.name))
        and (skip_bad or not known.skipped)
        and not (strict and known.left_out)
        and notes.are_of(known, shard.pairs)
    }


@contextlib.contextmanager
def _refusing(listing: SourceListing, output: str) -> Iterator[None]:
    """Ends a conversion whose data are refused: nothing that hinders the next try is left."""
    try:
        yield
    except (images.UnavailableError, outputs.OutputError):
        raise
    except images.TurnedError as error:
        outputs.forget_nothing_done(output)
        raise DataError(f"{error} {turned.survey(listing.pairs)}") from error
    except DataError:
        outputs.forget_nothing_done(output)
        raise


def _all_notes(
    plan: list[planning.ShardPlan], output: str, work_dir: str
) -> dict[str, list[ShardNotes]]:
    """Reads the notes of all shards, by split.

    Raises:
        DataError: a shard is missing, or palette masks of two shards do not go together.
    """
    noted = notes.read_all(output, work_dir, [shard.name for shard in plan])
    by_split: dict[str, list[ShardNotes]] = {}
    consistency = palettes.Consistency()
    for shard in plan:
        if shard.name not in noted:
            raise DataError(
                f"{files.join(output, shard.name)} is not there. Does another program use the "
                "directory, or (on Beam) is it none that all workers see? Run the same command "
                "again; it continues."
            )
        by_split.setdefault(shard.split, []).append(noted[shard.name])
        consistency.merge(noted[shard.name].palettes)
    return by_split


def _say_remarks(noted: dict[str, list[ShardNotes]], say: Callable[[str], None]) -> None:
    """Says how many images were odd and dealt with, and names the first."""
    summed: dict[str, tuple[int, list[str]]] = {}
    for part in itertools.chain.from_iterable(noted.values()):
        for remark, (count, names) in part.remarks.items():
            notes.add_remark(summed, remark, count, names)
    for remark, (count, names) in summed.items():
        say(f"{count} {remark}: {', '.join(names)}{', ...' if count > len(names) else ''}")


def _finish_splits(
    noted: dict[str, list[ShardNotes]], output: str, listing: SourceListing, label_map: LabelMap
) -> dict[str, SplitInfo]:
    """Collects the notes of all shards, split by split."""
    return {
        split: _finish_split(output, split, parts, listing, label_map)
        for split, parts in noted.items()
    }


def _finish_split(
    output: str, split: str, parts: list[ShardNotes], listing: SourceListing, label_map: LabelMap
) -> SplitInfo:
    """Writes the names of a split and sums up its shards."""
    names = sorted(name for part in parts for name in part.names)
    unusable = [entry for part in parts for entry in part.left_out]
    if not names:
        raise DataError(
            f"Split {split!r} is empty: none of its {len(unusable)} images could be used. "
            f"The first: {unusable[0].reason}"
        )
    left_out = [*listing.left_out.get(split, ()), *unusable]
    names_file = f"{split}.names.txt"
    files.write_text(files.join(output, names_file), "".join(f"{name}\n" for name in names))
    histogram = [sum(values) for values in zip(*(p.label_histogram for p in parts), strict=True)]
    sizes = sum((Counter(part.image_sizes) for part in parts), Counter())
    return SplitInfo(
        count=len(names),
        labeled=sum(part.labeled for part in parts),
        names_file=names_file,
        shards=tuple(part.shard for part in parts),
        class_pixels=tuple(histogram[: label_map.num_classes]),
        ignored_pixels=histogram[IGNORE],
        image_sizes=dict(sorted(sizes.items())),
        left_out=tuple(sorted(left_out, key=lambda entry: entry.source)),
    )
