"""The reader of many shards at once: all their records in memory, with their metadata."""

import collections
import dataclasses
from collections.abc import Container, Sequence

import numpy as np
import tensorflow as tf

from c3tf.data import tfrecord
from c3tf.data.record import decode_name
from c3tf.data.sources import name_set
from c3tf.errors import DataError
from c3tf.io import tensorflow_errors

_PARALLEL_READS = 8


@dataclasses.dataclass(frozen=True)
class RecordMetadata:
    """What is known about images without their pixels; one row per image.

    Attributes:
        names: what they are called.
        sizes: height and width, int64 `(N, 2)`.
        has_label: bool `(N,)`.
        shards: index of the shard each was read from, `(N,)`.
    """

    names: list[str]
    sizes: np.ndarray
    has_label: np.ndarray
    shards: np.ndarray

    def rows(self, wanted: Container[str] | None, shards: range) -> list[int]:
        """Returns the rows of the wanted names, or of all, in some shards, in order of names."""
        # Not `shard in shards` for each: a range answers NumPy's integers by counting through.
        there = np.flatnonzero((self.shards >= shards.start) & (self.shards < shards.stop))
        named = ((self.names[row], row) for row in there.tolist())
        return [row for _, row in sorted(n for n in named if wanted is None or n[0] in wanted)]


def shard_records(shards: Sequence[str]) -> tf.data.Dataset:
    """Reads shards side by side, in an order that depends on the shards alone.

    Returns:
        Per record the index of its shard, int64 scalar, and the serialized record.
    """
    paths = tf.constant(list(shards))
    return tf.data.Dataset.range(len(shards)).interleave(
        lambda index: tf.data.TFRecordDataset(paths[index]).map(lambda record: (index, record)),
        cycle_length=min(len(shards), _PARALLEL_READS),
        num_parallel_calls=tf.data.AUTOTUNE,
        deterministic=True,
    )


def read_records(
    shards: Sequence[str], count: int, wanted: Sequence[str] | None = None
) -> tuple[tf.Tensor, RecordMetadata]:
    """Reads serialized records into memory.

    Args:
        shards: paths of TFRecord files.
        count: how many will be found, at most.
        wanted: names to keep; None keeps all.

    Returns:
        The records, string `(N,)`, and their metadata.

    Raises:
        DataError: a shard is damaged or holds something else.
    """
    found = shard_records(shards).map(
        lambda index, record: (record, index, *tfrecord.parse_metadata(record))
    )
    if wanted is not None:
        is_wanted = name_set(wanted)
        found = found.filter(lambda record, index, name, *_: is_wanted(name))
    # One batch of all, for which the strings are moved and not copied; one more is asked for so
    # that every shard is read to its end.
    try:
        table = next(iter(found.batch(count + 1)), None)
    except tensorflow_errors.of_data() as error:
        for shard in shards:
            # Raises what is wrong with the first shard that cannot be read, by its name.
            collections.deque(tfrecord.read_shard(shard), maxlen=0)
        raise DataError(
            f"A TFRecord among {shards[0]} ... {shards[-1]} cannot be read: "
            f"{tensorflow_errors.reason(error)}. Convert the data set again."
        ) from error
    if table is None:
        metadata = RecordMetadata([], np.zeros((0, 2), int), np.zeros(0, bool), np.zeros(0, int))
        return tf.zeros([0], tf.string), metadata
    serialized, index, names, sizes, has_label = table
    decoded = [decode_name(name) for name in names.numpy()]
    return serialized, RecordMetadata(decoded, sizes.numpy(), has_label.numpy(), index.numpy())
