"""The manifest `dataset.json`: what a converted data set holds.

It is written last, so a directory that has one is whole. Everything downstream learns the label
map, the names and the shards from here.
"""

import collections
import dataclasses
import hashlib
import json
import os
import re
from typing import Any

from c3tf.data.names import is_usable
from c3tf.errors import DataError
from c3tf.io import files, json_files, places, schema
from c3tf.labels import LabelMap, LabelMapError

__all__ = [
    "FILE_NAME",
    "INCOMPLETE_DIR",
    "DataError",
    "LeftOut",
    "Manifest",
    "Shard",
    "SplitInfo",
    "load",
    "shard_problem",
    "verify",
    "write",
]

FILE_NAME = "dataset.json"
# Where a converter keeps its notes until the manifest is written.
INCOMPLETE_DIR = "_incomplete"
# What helps a damaged data set.
ADVICE = "Convert the data set again."
_FORMAT = 1
# Of an image, as sizes are counted by.
_SIZE = re.compile(r"[0-9]{1,9}x[0-9]{1,9}")
# The converters, by what the name of a data set's folder begins with; any other data are one's own.
_CONVERTERS = {
    "cityscapes": "cityscapes --source=FOLDER",
    "bdd": "bdd100k --source=FOLDER",
    "camvid": "camvid --source=FOLDER",
}
_OWN_DATA = "folder --images=FOLDER --masks=FOLDER --label_map=classes.json"


@dataclasses.dataclass(frozen=True)
class Shard:
    """One TFRecord file: its name, number of records, length in bytes and SHA-256."""

    file: str
    count: int
    bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class LeftOut:
    """A source file that is not in the data set, and why."""

    source: str
    reason: str


@dataclasses.dataclass(frozen=True)
class SplitInfo:
    """What one split holds.

    Attributes:
        count: images.
        labeled: images with a label.
        names_file: text file with one name per line, sorted.
        shards: the TFRecord files.
        class_pixels: label pixels per train id, as stored.
        ignored_pixels: label pixels that belong to no class.
        left_out: files that were unusable, had no partner, or were no images, and unlabeled images
            of a name that train or val has.
        image_sizes: images per stored size, `WIDTHxHEIGHT`; empty where it was not counted.
    """

    count: int
    labeled: int
    names_file: str
    shards: tuple[Shard, ...]
    class_pixels: tuple[int, ...]
    ignored_pixels: int
    left_out: tuple[LeftOut, ...] = ()
    image_sizes: dict[str, int] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Manifest:
    """Describes one data set directory.

    Attributes:
        dataset: short name, e.g. `"cityscapes"`.
        converter: command that made it.
        converter_version: its version; equal versions, software, options and sources give equal
            bytes.
        source: where the raw data were.
        options: the converter's options.
        label_map: classes of the stored labels.
        splits: per split (`train`, `val`, `unlabeled`) what it holds.
        data_dir: where the data set lies now; not part of the file.
        software: versions of the packages that decoded and encoded the images; empty where they
            were not noted.
    """

    dataset: str
    converter: str
    converter_version: str
    source: str
    options: dict[str, Any]
    label_map: LabelMap
    splits: dict[str, SplitInfo]
    data_dir: str = ""
    software: dict[str, str] = dataclasses.field(default_factory=dict)

    def split(self, split: str) -> SplitInfo:
        """Returns what a split holds.

        Raises:
            DataError: there is no such split, or it is empty.
        """
        info = self.splits.get(split)
        if info is None or info.count == 0:
            held = ", ".join(f"{k} ({v.count} images)" for k, v in self.splits.items()) or "nothing"
            raise DataError(
                f"{self.data_dir}: split {split!r} is empty. The data set holds {held}."
            )
        return info

    def shards(self, split: str) -> list[str]:
        """Returns the paths of a split's TFRecord files, in order."""
        return [files.join(self.data_dir, shard.file) for shard in self.split(split).shards]

    def count(self, split: str) -> int:
        """Returns the number of images in a split."""
        return self.split(split).count

    def labeled_count(self, split: str) -> int:
        """Returns the number of images in a split that have a label."""
        return self.split(split).labeled

    def own_label_size(self, split: str) -> bool:
        """Tells whether labels of a split may have another size than their images."""
        return split == "val" and self.options.get("val_label_size") == "original"

    def image_height(self) -> int | None:
        """Returns the rows that most training images have; None where no height is most's."""
        rows: collections.Counter[int] = collections.Counter()
        for size, count in self.split("train").image_sizes.items():
            rows[int(size.partition("x")[2])] += count
        return next((height for height, n in rows.items() if 2 * n > rows.total()), None)

    def digest(self) -> str:
        """Returns the identity of the contents: 12 hex digits over all shards' checksums."""
        sums = [shard.sha256 for name in sorted(self.splits) for shard in self.splits[name].shards]
        return hashlib.sha256("\n".join(sums).encode()).hexdigest()[:12]

    def names(self, split: str) -> list[str]:
        """Returns the sorted names of a split's images.

        Raises:
            DataError: the names file is missing or does not fit the manifest.
        """
        info = self.split(split)
        path = files.join(self.data_dir, info.names_file)
        if not files.exists(path):
            raise DataError(f"{path} is missing. {ADVICE}")
        try:
            names = files.read_text(path).splitlines()
        except UnicodeDecodeError as error:
            raise DataError(f"{path} is damaged: {error}. {ADVICE}") from error
        if len(names) != info.count:
            raise DataError(
                f"{path} holds {len(names)} names, but {FILE_NAME} counts {info.count} images. "
                f"{ADVICE}"
            )
        if wrong := [name for name in names if not is_usable(name)]:
            raise DataError(f"{path} holds a name that cannot be used: {wrong[0]!a}. {ADVICE}")
        return names


def write(data_dir: str, manifest: Manifest) -> None:
    """Writes `dataset.json` last of all files: it declares the data set whole."""
    data = dataclasses.asdict(manifest)
    del data["data_dir"]
    data = {"format": _FORMAT, **data, "label_map": manifest.label_map.to_json()}
    text = json.dumps(data, indent=1, ensure_ascii=False)
    files.write_text(files.join(data_dir, FILE_NAME), text + "\n")


def load(data_dir: str) -> Manifest:
    """Loads the manifest of a data set directory.

    Args:
        data_dir: what `--data` names; local or `gs://...`.

    Returns:
        The manifest, with `data_dir` filled in.

    Raises:
        DataError: the directory or its manifest is missing, damaged, or of another version.
    """
    path = files.join(data_dir, FILE_NAME)
    if not files.is_dir(data_dir):
        how = _how_to_make(data_dir, data_dir)
        raise DataError(f"There is no data set directory {data_dir!r}. {how}")
    if not files.exists(path):
        if files.exists(files.join(data_dir, INCOMPLETE_DIR)):
            raise DataError(
                f"The conversion into {data_dir!r} was interrupted. Run the same command again: it "
                "continues."
            )
        # What lies there may be what is to be converted, and converters write over nothing.
        bare = data_dir.rstrip("/")
        how = _how_to_make(data_dir, f"{bare}_records" if files.list_dir(data_dir) else data_dir)
        raise DataError(f"{data_dir!r} is no converted data set: it has no {FILE_NAME}. {how}")
    text = "{path} is damaged: {reason}. Convert the data set again."
    data = json_files.read(path, error=DataError, text=text)
    if "format" not in data:
        raise DataError(text.format(path=path, reason="it lacks `format`"))
    version = data.pop("format")
    if version != _FORMAT:
        raise DataError(f"{path} has format {version!a:.40}; this program reads format {_FORMAT}.")
    try:
        _MANIFEST(data, "")
        data["label_map"] = label_map = LabelMap.from_json(data["label_map"])
        for name, split in data["splits"].items():
            _check_counts(name, split, label_map)
    except (schema.SchemaError, LabelMapError) as error:
        raise DataError(text.format(path=path, reason=str(error).rstrip("."))) from error
    data["splits"] = {name: _split_from_json(held) for name, held in data["splits"].items()}
    return Manifest(**data, data_dir=data_dir)


def _check_counts(name: str, split: dict[str, Any], label_map: LabelMap) -> None:
    """Refuses counts of a split that cannot be those of one data set."""
    if split["labeled"] > split["count"]:
        raise schema.SchemaError(f"split {name!r} has more labeled images than images")
    if len(split["class_pixels"]) != label_map.num_classes:
        raise schema.SchemaError(
            f"`class_pixels` of split {name!r} has {len(split['class_pixels'])} entries for "
            f"{label_map.num_classes} classes"
        )
    if wrong := [size for size in split.get("image_sizes", ()) if not _SIZE.fullmatch(size)]:
        raise schema.SchemaError(
            f"`image_sizes` of split {name!r} must be WIDTHxHEIGHT. Received: {wrong[0]!a:.40}"
        )


def _file(value: Any, where: str) -> None:
    """Checks the name of a file below the data set's directory."""
    schema.text(value, where)
    reason = places.problem(value)
    if reason is None and not value.isprintable():
        reason = "it is not printable"
    if reason:
        raise schema.SchemaError(f"`{where}` names no file of the data set: {reason}")


_COUNT, _TEXT = schema.integer(), schema.text
_SHARD = {"file": _file, "count": _COUNT, "bytes": _COUNT, "sha256": _TEXT}
_SPLIT = {
    **dict.fromkeys(("count", "labeled", "ignored_pixels"), _COUNT),
    "names_file": _file,
    "shards": schema.listed(schema.record(_SHARD, closed=True)),
    "class_pixels": schema.listed(_COUNT),
    "left_out": schema.listed(schema.record({"source": _TEXT, "reason": _TEXT}, closed=True)),
}
# What stands in the file beside its format.
_MANIFEST = schema.record(
    {
        **dict.fromkeys(("dataset", "converter", "converter_version", "source"), _TEXT),
        **dict.fromkeys(("options", "label_map"), schema.thing),
        "splits": schema.named(
            schema.record(_SPLIT, {"image_sizes": schema.named(_COUNT)}, closed=True)
        ),
    },
    {"software": schema.named(_TEXT)},
    closed=True,
)


def _how_to_make(data_dir: str, output: str) -> str:
    """Names the command that makes the data set of a folder's name."""
    name = os.path.basename(os.path.normpath(data_dir)).lower()
    command = next((c for known, c in _CONVERTERS.items() if name.startswith(known)), _OWN_DATA)
    return f"`python -m data_tools.{command} --output={output}` makes one."


def _split_from_json(data: dict[str, Any]) -> SplitInfo:
    """Builds a split's description from plain data."""
    nested = {
        "shards": tuple(Shard(**shard) for shard in data["shards"]),
        "class_pixels": tuple(data["class_pixels"]),
        "left_out": tuple(LeftOut(**entry) for entry in data["left_out"]),
    }
    return SplitInfo(**{**data, **nested})


def verify(data_dir: str, quick: bool = True) -> Manifest:
    """Checks that the files of a data set are those the manifest describes.

    A TFRecord cut at a record boundary reads without any error, so sizes are compared at the start
    of every training run; it takes one `stat` per shard.

    Args:
        data_dir: directory of the data set.
        quick: compare sizes only; otherwise checksums too, which reads every byte.

    Returns:
        The manifest.

    Raises:
        DataError: a file is missing, cut, or another one; all such files are named.
    """
    manifest = load(data_dir)
    problems = []
    for name, info in manifest.splits.items():
        if info.count:
            manifest.names(name)
        for shard in info.shards:
            problem = shard_problem(files.join(data_dir, shard.file), shard, quick)
            if problem:
                problems.append(problem)
        if sum(shard.count for shard in info.shards) != info.count:
            problems.append(f"the shards of split {name!r} do not add up to {info.count} images")
    if problems:
        raise DataError(
            f"{data_dir} does not fit its {FILE_NAME}: {'; '.join(problems)}. Copy these files "
            "again, or convert the data set again into a new directory."
        )
    return manifest


def shard_problem(path: str, shard: Shard, quick: bool) -> str | None:
    """Says what is wrong with a shard's file.

    Args:
        path: of the file.
        shard: what the manifest says of it.
        quick: compare the size only; otherwise the checksum too.

    Returns:
        One clause, or None.
    """
    if not files.exists(path):
        return f"{shard.file} is missing"
    length = files.size(path)
    if length != shard.bytes:
        return f"{shard.file} has {length} bytes instead of {shard.bytes}"
    if not quick and files.sha256(path) != shard.sha256:
        return f"{shard.file} has another checksum"
    return None
