"""Endless streams of images, each a fixed function of (seed, position)."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import tensorflow as tf

from c3tf.data import tfrecord

_PARALLEL_READS = 8
_FOREVER = tf.int64.max


@dataclasses.dataclass(frozen=True)
class Positions:
    """The positions of a stream that one worker takes: a run of neighbours in every step.

    Attributes:
        start: where the stream begins.
        period: positions per step, over all workers.
        first: the worker's first position in a step.
        length: its positions in a step.
    """

    start: int
    period: int = 1
    first: int = 0
    length: int = 1

    def dataset(self) -> tf.data.Dataset:
        """Returns the positions, int64, without end."""
        if self.length == self.period:
            return tf.data.Dataset.range(self.start, _FOREVER)
        begin = self.start + self.first
        return tf.data.Dataset.range(_FOREVER).map(
            lambda n: begin + n // self.length * self.period + n % self.length
        )

    def pick(self, stream: tf.data.Dataset) -> tf.data.Dataset:
        """Returns the elements at the positions, of a stream that begins at `start`."""
        if self.length == self.period:
            return stream
        last = self.first + self.length
        return (
            stream.enumerate()
            .filter(lambda n, _: self.first <= n % self.period and n % self.period < last)
            .map(lambda _, element: element)
        )


# Maps positions to the stream of the elements there.
Source = Callable[[Positions], tf.data.Dataset]


@dataclasses.dataclass(frozen=True)
class ShardPart:
    """A TFRecord file of which some records are taken: its path and their number."""

    path: str
    count: int


def in_memory(rows: Sequence[int], seed: int) -> Source:
    """Makes a stream of row numbers that shuffles all of them anew in every epoch.

    Args:
        rows: rows of a table of images; none comes twice in an epoch.
        seed: decides the order.

    Returns:
        The source, of int64 scalars. Starting anywhere takes no time.
    """
    count = len(rows)
    table = tf.constant(rows, tf.int64)

    def row_at(position: tf.Tensor) -> tf.Tensor:
        epoch = position // count
        index = tf.random.experimental.index_shuffle(
            position % count, [tf.constant(seed, tf.int64), epoch], count - 1
        )
        return tf.gather(table, index)

    return lambda positions: positions.dataset().map(row_at)


def streamed(
    shards: Sequence[ShardPart], seed: int, buffer: int, excluded: Sequence[str] = ()
) -> Source:
    """Makes a stream that reads the shards anew in every epoch, through a shuffle buffer.

    An epoch visits groups of eight shards in an order of its own. The records of a group alternate
    between its shards and pass through the buffer; memory holds the buffer only.

    Args:
        shards: TFRecord files, and how many records each has without the excluded ones.
        seed: decides the order.
        buffer: records in the shuffle buffer.
        excluded: names to leave out.

    Returns:
        The source, of serialized records. Starting inside an epoch reads at most one group of
        shards, without decoding. A worker reads all records and drops those of the others.
    """
    paths = tf.constant([shard.path for shard in shards])
    counts = np.array([shard.count for shard in shards])
    num_groups = -(-len(shards) // _PARALLEL_READS)
    keep = _is_not_in(excluded)

    def order_of(epoch: tf.Tensor) -> tf.Tensor:
        epoch_seed = tf.stack([tf.constant(seed, tf.int64), epoch])
        return tf.random.experimental.stateless_shuffle(tf.range(len(shards)), epoch_seed)

    def group_stream(visit: tf.Tensor) -> tf.data.Dataset:
        epoch, first = visit // num_groups, visit % num_groups * _PARALLEL_READS
        chosen = tf.gather(paths, order_of(epoch)[first : first + _PARALLEL_READS])
        stream = tf.data.Dataset.from_tensor_slices(chosen).interleave(
            tf.data.TFRecordDataset,
            cycle_length=min(len(shards), _PARALLEL_READS),
            num_parallel_calls=tf.data.AUTOTUNE,
            deterministic=True,
        )
        # tf.data would mix the global seed of TensorFlow into its shuffle; this sets it for the
        # function that is traced here, and nowhere else.
        tf.random.set_seed(seed)
        number = tf.random.stateless_uniform(
            [], tf.stack([tf.constant(seed, tf.int64), visit]), None, None, tf.int64
        )
        return stream.filter(keep).shuffle(buffer, seed=number, reshuffle_each_iteration=False)

    def start_at(positions: Positions) -> tf.data.Dataset:
        epoch, place = divmod(positions.start, int(counts.sum()))
        order = order_of(tf.constant(epoch, tf.int64)).numpy()
        ends = np.cumsum(np.add.reduceat(counts[order], range(0, len(order), _PARALLEL_READS)))
        group = int(np.searchsorted(ends, place, side="right"))
        passed = int(ends[group - 1]) if group else 0
        visits = tf.data.Dataset.range(epoch * num_groups + group, _FOREVER)
        return positions.pick(visits.flat_map(group_stream).skip(place - passed))

    return start_at


def _is_not_in(excluded: Sequence[str]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the predicate on serialized records whose name is not excluded."""
    if not excluded:
        return lambda record: tf.constant(True)
    excluded_names = name_set(excluded)
    return lambda record: ~excluded_names(tfrecord.parse_name(record))


def name_set(names: Sequence[str]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the predicate, for use inside a graph, that tells whether a name is among `names`."""
    keys = tf.constant(list(names))
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(keys, tf.ones_like(keys, tf.int32)), 0
    )
    return lambda name: table.lookup(name) == 1
