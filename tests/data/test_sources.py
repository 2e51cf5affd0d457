"""Streams of records: every epoch a permutation, every position reachable."""

import numpy as np
import pytest
import tensorflow as tf

from c3tf.data import record_reader, sources, tfrecord
from c3tf.data.sources import Positions
from c3tf.errors import DataError

SEED = 5


def serialized_record(name: str) -> bytes:
    """A record of which the streams read nothing but the name."""
    return tfrecord.serialize(tfrecord.Record(b"", "png", None, name, 1, 1, "tiny", name))


def names(count: int) -> list[str]:
    return [f"image {index:03d}" for index in range(count)]


def read(source: sources.Source, count: int, start: int = 0, **part: int) -> list[str]:
    """Names of `count` elements, which are serialized records or rows of `names`."""
    stream = source(Positions(start, **part)).take(count)
    if stream.element_spec.dtype == tf.string:
        return [n.decode() for n in stream.map(tfrecord.parse_name).as_numpy_iterator()]
    return [names(100)[row] for row in stream.as_numpy_iterator()]


@pytest.fixture
def write_shards(tmp_path):
    """Returns a function that writes named records into shards of uneven length."""

    def write(held: list[str], shards: int = 3) -> list[str]:
        paths = []
        for index, part in enumerate(np.array_split(held, shards)):
            paths.append(str(tmp_path / f"train-{index}.tfrecord"))
            with tf.io.TFRecordWriter(paths[-1]) as writer:
                for name in part:
                    writer.write(serialized_record(str(name)))
        return paths

    return write


@pytest.fixture(params=["memory", "stream", "stream of many shards"])
def source_of(request, write_shards):
    """Returns a function that makes a source of any kind; the streams' buffers are small."""

    def make(count: int, seed: int = SEED) -> sources.Source:
        if request.param == "memory":
            return sources.in_memory(range(count), seed)
        num_shards = min(3 if request.param == "stream" else 20, count)
        shards = parts(write_shards(names(count), num_shards), count)
        return sources.streamed(shards, seed, buffer=4)

    return make


def parts(shards: list[str], count: int) -> list[sources.ShardPart]:
    """Describes what `write_shards` wrote."""
    sizes = [len(part) for part in np.array_split(range(count), len(shards))]
    return list(map(sources.ShardPart, shards, sizes))


@pytest.mark.parametrize("count", [1, 10, 25])
def test_every_epoch_is_a_permutation(source_of, count):
    found = read(source_of(count), 3 * count)
    for epoch in range(3):
        assert sorted(found[epoch * count : (epoch + 1) * count]) == names(count)


def test_epochs_and_seeds_differ(source_of):
    found = read(source_of(10), 60)
    epochs = {tuple(found[start : start + 10]) for start in range(0, 60, 10)}
    assert len(epochs) == 6
    assert tuple(names(10)) not in epochs
    assert read(source_of(10), 60) == found
    assert read(source_of(10, seed=SEED + 1), 10) != found[:10]


def test_starting_anywhere_gives_the_same_continuation(source_of):
    source, count = source_of(25), 25
    expected = read(source, 2 * count)
    for start in (1, 10, 24, 25, 42):
        assert read(source, 2 * count - start, start) == expected[start:]


def test_the_global_seed_changes_nothing(source_of):
    expected = read(source_of(25), 30)
    for seed in (1, 2):
        tf.random.set_seed(seed)
        assert read(source_of(25), 30) == expected
        drawn = tf.random.uniform([]).numpy()
        # And the stream's own seed stays inside: the caller's draws are as without it.
        tf.random.set_seed(seed)
        assert tf.random.uniform([]).numpy() == drawn


@pytest.mark.parametrize("count", [2, 3])
def test_workers_take_the_whole_stream_between_them(source_of, count):
    source, period = source_of(10), 6
    everything = np.reshape(read(source, 3 * period, start=period), [3, period])
    length = period // count
    for index in range(count):
        first = index * length
        own = read(source, 3 * length, period, period=period, first=first, length=length)
        expected = everything[:, first : first + length].ravel().tolist()
        assert own == expected


def test_memory_shuffles_without_a_preferred_place():
    count, epochs = 8, 400
    found = np.array(read(sources.in_memory(range(count), SEED), count * epochs))
    found = found.reshape(epochs, count)
    counts = np.array([(found == name).sum(axis=0) for name in names(count)])
    # Binomial with mean 50 and deviation 6.6; 64 cells.
    assert counts.min() > 20
    assert counts.max() < 80


def test_stream_shuffles_well_with_a_buffer_of_a_group(write_shards):
    count, epochs = 16, 200
    shards = parts(write_shards(names(count), 16), count)
    found = np.array(read(sources.streamed(shards, SEED, buffer=8), count * epochs))
    found = found.reshape(epochs, count)
    counts = np.array([(found == name).sum(axis=0) for name in names(count)])
    # Binomial with mean 12.5 and deviation 3.4; 256 cells.
    assert counts.max() < 31
    assert counts.min() > 0


def test_stream_leaves_out_the_excluded_names(write_shards):
    held = names(10)
    excluded = [held[0], held[4], held[9]]
    kept = sorted(set(held) - set(excluded))
    shards = list(map(sources.ShardPart, write_shards(held), (3, 2, 2)))
    source = sources.streamed(shards, SEED, 4, excluded)
    found = read(source, 5 * len(kept))
    for epoch in range(5):
        assert sorted(found[epoch * len(kept) : (epoch + 1) * len(kept)]) == kept
    assert read(source, 10, start=9) == found[9:19]


def test_stream_starts_without_reading_the_groups_before(write_shards):
    shards = parts(write_shards(names(40), 20), 40)
    source = sources.streamed(shards, SEED, 4)
    expected = read(source, 40)
    # The first group of eight shards holds these; without them the rest is still found.
    for name in set(expected[:16]):
        tf.io.gfile.GFile(shards[int(name[-3:]) // 2].path, "w").close()
    assert read(source, 24, start=16) == expected[16:]


def test_records_are_read_once_with_their_outline(write_shards):
    shards = write_shards(names(9)[::-1])
    serialized, metadata = record_reader.read_records(shards, 9)
    assert [metadata.names[row] for row in metadata.rows(None, range(3))] == names(9)
    for name, record in zip(metadata.names, serialized.numpy(), strict=True):
        assert record == serialized_record(name)
    wanted = [names(9)[7], names(9)[2], "of another data set"]
    serialized, metadata = record_reader.read_records(shards, 3, wanted)
    rows = metadata.rows(frozenset(wanted), range(3))
    assert [metadata.names[row] for row in rows] == [names(9)[2], names(9)[7]]
    assert [metadata.names[row] for row in metadata.rows(None, range(2))] == [names(9)[7]]
    assert metadata.sizes.tolist() == [[1, 1], [1, 1]]
    assert not metadata.has_label.any()


def test_no_wanted_record(write_shards):
    serialized, metadata = record_reader.read_records(write_shards(names(3)), 1, ["absent"])
    assert serialized.shape == (0,)
    assert metadata.rows(None, range(3)) == []


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "missing", "no TFRecord"])
def test_unusable_shard_is_named(write_shards, damage):
    shards = write_shards(names(9))
    path = shards[1]
    with open(path, "rb") as file:
        data = bytearray(file.read())
    if damage == "cut":
        data = data[:-9]
    elif damage == "flipped":
        data[len(data) // 2] ^= 1
    elif damage == "no TFRecord":
        data = b"<html>404</html>" * 10
    with open(path, "wb") as file:
        file.write(data)
    if damage == "foreign":
        with tf.io.TFRecordWriter(path) as writer:
            writer.write(tf.train.Example().SerializeToString())
    elif damage == "missing":
        tf.io.gfile.remove(path)
    with pytest.raises(DataError, match=r"train-1\.tfrecord.*Convert it again"):
        record_reader.read_records(shards, 2, names(2))
