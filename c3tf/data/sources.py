"""Endless streams of serialized records, each a fixed function of (seed, position)."""

import collections
from collections.abc import Callable, Container, Sequence

import tensorflow as tf

from c3tf.data import records
from c3tf.data.errors import DataError

# Maps the position to start at to the stream of serialized records from there on.
Source = Callable[[int], tf.data.Dataset]

_READ_BATCH = 64
_PARALLEL_READS = 8
_FOREVER = tf.int64.max


def load_records(shards: Sequence[str], wanted: Container[str] | None = None) -> list[bytes]:
    """Reads serialized records into memory, in order of their names.

    Args:
        shards: paths of TFRecord files.
        wanted: names to keep; None keeps all.

    Returns:
        The serialized records.

    Raises:
        DataError: a shard is damaged or holds something else.
    """
    named = tf.data.TFRecordDataset(list(shards), num_parallel_reads=_PARALLEL_READS).map(
        lambda record: (records.parse_name(record), record)
    )
    found = []
    try:
        for names, batch in named.batch(_READ_BATCH).as_numpy_iterator():
            pairs = zip(names, batch, strict=True)
            found += [(n, r) for n, r in pairs if wanted is None or n.decode() in wanted]
    except tf.errors.OpError as error:
        for shard in shards:
            # Raises what is wrong with the first shard that cannot be read, by its name.
            collections.deque(records.read_shard(shard), maxlen=0)
        raise DataError(
            f"A TFRecord among {shards[0]} ... {shards[-1]} cannot be read: "
            f"{error.message.splitlines()[0]}. Convert the data set again."
        ) from error
    return [record for _, record in sorted(found)]


def in_memory(serialized: Sequence[bytes], seed: int) -> Source:
    """Makes a stream that shuffles all records anew in every epoch, from memory.

    Args:
        serialized: the records; none comes twice in an epoch.
        seed: decides the order.

    Returns:
        The source. Starting anywhere takes no time.
    """
    count = len(serialized)
    table = tf.constant(serialized)

    def record_at(position: tf.Tensor) -> tf.Tensor:
        epoch = position // count
        index = tf.random.experimental.index_shuffle(
            position % count, [tf.constant(seed, tf.int64), epoch], count - 1
        )
        return tf.gather(table, index)

    return lambda start: tf.data.Dataset.range(start, _FOREVER).map(record_at)


def streamed(
    shards: Sequence[str], count: int, seed: int, buffer: int, excluded: Sequence[str] = ()
) -> Source:
    """Makes a stream that reads the shards anew in every epoch, through a shuffle buffer.

    Shards are visited in an order of each epoch's own; memory holds the buffer only.

    Args:
        shards: paths of TFRecord files.
        count: records in them without the excluded ones.
        seed: decides the order.
        buffer: records in the shuffle buffer.
        excluded: names to leave out.

    Returns:
        The source. Starting inside an epoch reads its first records without decoding them.
    """
    paths = tf.constant(list(shards))
    keep = _is_not_in(excluded)

    def epoch_stream(epoch: tf.Tensor) -> tf.data.Dataset:
        epoch_seed = tf.stack([tf.constant(seed, tf.int64), epoch])
        order = tf.random.experimental.stateless_shuffle(paths, epoch_seed)
        stream = tf.data.Dataset.from_tensor_slices(order).interleave(
            tf.data.TFRecordDataset, cycle_length=min(len(shards), _PARALLEL_READS)
        )
        # The shuffle's seed is a hash of (seed, epoch): tf.data takes one number.
        number = tf.random.stateless_uniform([], epoch_seed, None, None, tf.int64)
        return stream.filter(keep).shuffle(buffer, seed=number, reshuffle_each_iteration=False)

    def start_at(start: int) -> tf.data.Dataset:
        epochs = tf.data.Dataset.range(start // count, _FOREVER)
        return epochs.flat_map(epoch_stream).skip(start % count)

    return start_at


def _is_not_in(excluded: Sequence[str]) -> Callable[[tf.Tensor], tf.Tensor]:
    """Returns the predicate on serialized records whose name is not excluded."""
    if not excluded:
        return lambda record: tf.constant(True)
    names = tf.constant(list(excluded))
    table = tf.lookup.StaticHashTable(
        tf.lookup.KeyValueTensorInitializer(names, tf.ones_like(names, tf.int32)), 0
    )
    return lambda record: table.lookup(records.parse_name(record)) == 0
