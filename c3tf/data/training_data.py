"""The labeled and the unlabeled images of a run, wherever they are kept."""

import dataclasses
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from c3tf.config import Config
from c3tf.data import cache, record_check, record_reader, sources
from c3tf.data.manifest import Manifest
from c3tf.data.pixels import ImageOpener, open_record
from c3tf.data.record_reader import RecordMetadata
from c3tf.data.seeds import ORDER_LABELED, ORDER_UNLABELED, stream_seed
from c3tf.data.splits import Split
from c3tf.errors import DataError
from c3tf.io import memory

_TRAIN, _UNLABELED = "train", "unlabeled"


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """The images of one kind, as an endless stream.

    Attributes:
        source: gives the stream.
        opener: opens an element of it.
        count: images in an epoch.
    """

    source: sources.Source
    opener: ImageOpener
    count: int


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """The labeled and unlabeled images of a run.

    Attributes:
        labeled: images with labels.
        unlabeled: images whose labels, if any, are not looked at; None for the supervised
            baseline.
        num_classes: C; labels hold 0 to C - 1 or `IGNORE`.
    """

    labeled: ImageSet
    unlabeled: ImageSet | None
    num_classes: int

    @property
    def num_labeled(self) -> int:
        """The number of labeled images."""
        return self.labeled.count

    @property
    def num_unlabeled(self) -> int:
        """The number of unlabeled images, 0 for the supervised baseline."""
        return self.unlabeled.count if self.unlabeled else 0


def open_training_data(manifest: Manifest, split: Split, config: Config) -> TrainingData:
    """Opens the records of a data set, divided into labeled and unlabeled ones.

    Args:
        manifest: the data set.
        split: which of its training images are labeled.
        config: where images are kept, and the seed.

    Returns:
        The streams.

    Raises:
        DataError: records cannot be read, do not fit into memory, or an image of the split has no
            label.
    """
    paths = manifest.shards(_TRAIN), _extra_shards(manifest)
    streams = config.data.unlabeled_source == "stream" and config.needs.unlabeled
    try:
        opened = (_open_stream if streams else _open_table)(manifest, split, config, *paths)
    except cache.UndecodableError as error:
        raise record_check.failure(manifest, str(error), (_TRAIN, _UNLABELED)) from error
    return TrainingData(*opened, manifest.label_map.num_classes)


def _open_table(
    manifest: Manifest, split: Split, config: Config, train: list[str], extra: list[str]
) -> tuple[ImageSet, ImageSet | None]:
    """Makes every image accessible at once; images in both sets are held once."""
    supervised = not config.needs.unlabeled
    if config.data.cache == "disk":
        # Whole, whoever asks first: the runs on a data set share the file.
        store = cache.on_disk([*train, *extra], manifest.digest(), config.data.cache_dir)
        metadata, opener = store.metadata, store.opener()
    elif supervised:
        serialized, metadata = record_reader.read_records(train, len(split.labeled), split.labeled)
    else:
        _check_memory(manifest)
        count = manifest.count(_TRAIN) + (manifest.count(_UNLABELED) if extra else 0)
        serialized, metadata = record_reader.read_records([*train, *extra], count)
    labeled = metadata.rows(frozenset(split.labeled), range(len(train)))
    _check_labels(metadata, labeled, split)
    if config.data.cache == "memory":
        opener = cache.in_memory(serialized, metadata, labeled).opener()
    elif config.data.cache == "none":
        opener = _row_opener(serialized)
    labeled_set = _shuffled(labeled, opener, config, ORDER_LABELED)
    if supervised:
        return labeled_set, None
    unlabeled = metadata.rows(frozenset(split.unlabeled), range(len(train)))
    unlabeled += metadata.rows(None, range(len(train), len(train) + len(extra)))
    return labeled_set, _shuffled(unlabeled, opener, config, ORDER_UNLABELED)


def _open_stream(
    manifest: Manifest, split: Split, config: Config, train: list[str], extra: list[str]
) -> tuple[ImageSet, ImageSet]:
    """Holds the labeled images in memory and reads the others anew in every epoch."""
    serialized, metadata = record_reader.read_records(train, len(split.labeled), split.labeled)
    labeled = metadata.rows(frozenset(split.labeled), range(len(train)))
    _check_labels(metadata, labeled, split)
    excluded = sorted(set(split.labeled) - set(split.unlabeled))
    found = np.bincount(metadata.shards, minlength=len(train)) if excluded else 0
    counts = list(np.array([shard.count for shard in manifest.split(_TRAIN).shards]) - found)
    if extra:
        counts += [shard.count for shard in manifest.split(_UNLABELED).shards]
    parts = [
        sources.ShardPart(path, int(count))
        for path, count in zip([*train, *extra], counts, strict=True)
    ]
    seed = stream_seed(config, ORDER_UNLABELED)
    source = sources.streamed(parts, seed, config.data.shuffle_buffer, excluded)
    return (
        _shuffled(labeled, _row_opener(serialized), config, ORDER_LABELED),
        ImageSet(source, open_record, sum(part.count for part in parts)),
    )


def _extra_shards(manifest: Manifest) -> list[str]:
    """Returns the shards of the split of further unlabeled images, where there is one."""
    there = _UNLABELED in manifest.splits and manifest.splits[_UNLABELED].count
    return manifest.shards(_UNLABELED) if there else []


def _check_memory(manifest: Manifest) -> None:
    held = [manifest.splits[name] for name in (_TRAIN, _UNLABELED) if name in manifest.splits]
    memory.check_fits(
        sum(shard.bytes for info in held for shard in info.shards),
        "The records of --unlabeled_source=memory",
        "Use --unlabeled_source=stream or --cache=disk.",
    )


def _row_opener(serialized: tf.Tensor) -> ImageOpener:
    """Returns the function that opens a row of a table of records."""
    return lambda row: open_record(tf.gather(serialized, row))


def _shuffled(rows: Sequence[int], opener: ImageOpener, config: Config, stream: int) -> ImageSet:
    source = sources.in_memory(rows, stream_seed(config, stream))
    return ImageSet(source, opener, len(rows))


def _check_labels(metadata: RecordMetadata, labeled: Sequence[int], split: Split) -> None:
    """Refuses a split whose images are missing or have no label."""
    if len(labeled) != len(split.labeled):
        missing = sorted(set(split.labeled) - {metadata.names[row] for row in labeled})
        raise DataError(
            f"The split names {len(split.labeled)} images, but {len(labeled)} of them are in the "
            f"training records (missing: {', '.join(missing[:3])}). Convert the data set again."
        )
    for row in labeled:
        if not metadata.has_label[row]:
            raise DataError(
                f"Image {metadata.names[row]!r} of the split has no label. Choose a split of "
                "labeled images."
            )
