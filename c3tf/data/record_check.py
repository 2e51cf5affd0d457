"""The check of records by the decoder that trains, and the search for the one that fails."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from itertools import islice

import tensorflow as tf

from c3tf.data import tfrecord
from c3tf.data.manifest import Manifest
from c3tf.data.record import Record
from c3tf.errors import DataError
from c3tf.io import files
from c3tf.labels import IGNORE

# Records that are decoded side by side.
_PORTION, _THREADS = 16, 4
# What lists every record that is wrong.
COMMAND = "python -m data_tools.verify --data={}"


def problem(record: Record, num_classes: int, own_label_size: bool = False) -> str | None:
    """Says, as a clause, why training cannot use a record; None if it can.

    Args:
        record: to decode, as training does.
        num_classes: labels hold 0 to `num_classes` - 1 or `IGNORE`.
        own_label_size: the label may have another size than the image.
    """
    size = (record.height, record.width)
    for kind, encoded, decode in (
        ("image", record.image, tfrecord.decode_image),
        ("label", record.label, tfrecord.decode_label),
    ):
        if encoded is None:
            continue
        try:
            pixels = decode(tf.constant(encoded)).numpy()
        except tf.errors.OpError:
            return f"TensorFlow cannot decode its {kind}"
        if pixels.shape[:2] != size and not (kind == "label" and own_label_size):
            return f"its {kind} has not the height and width that are stated"
        if kind == "label" and ((pixels >= num_classes) & (pixels != IGNORE)).any():
            return "its label holds values that are no class"
    return None


def problems(
    records: Iterable[Record], num_classes: int, own_label_size: bool = False
) -> Iterable[tuple[Record, str | None]]:
    """Yields records in order, each with its problem; a few are decoded at a time."""
    records = iter(records)
    with ThreadPoolExecutor(_THREADS) as pool:
        while portion := list(islice(records, _PORTION)):
            found = pool.map(lambda record: problem(record, num_classes, own_label_size), portion)
            yield from zip(portion, found, strict=True)


def failure(manifest: Manifest, reason: str, splits: Iterable[str] | None = None) -> DataError:
    """Makes the error of a data set with a record that cannot be used, and names that record.

    Reads the data set up to that record, which is why only a run that has failed calls it.

    Args:
        manifest: of the data set.
        reason: what TensorFlow said.
        splits: where to look; everywhere when absent.
    """
    found = _first(manifest, splits or manifest.splits) or reason
    command = COMMAND.format(manifest.data_dir)
    return DataError(
        f"{manifest.data_dir}: a record cannot be used: {found}. `{command}` lists all that are "
        "wrong. Mend or leave out their files, and convert the data set again."
    )


def _first(manifest: Manifest, splits: Iterable[str]) -> str | None:
    """Describes the first record that cannot be used; None if all can."""
    classes = manifest.label_map.num_classes
    for split in (split for split in splits if split in manifest.splits):
        for shard in manifest.splits[split].shards:
            path = files.join(manifest.data_dir, shard.file)
            try:
                checked = problems(
                    tfrecord.read_shard(path), classes, manifest.own_label_size(split)
                )
                for index, (record, wrong) in enumerate(checked):
                    if wrong:
                        return f"{shard.file}, record {index}, image {record.name!r}: {wrong}"
            except DataError as error:
                return str(error).rstrip(".")
    return None
