"""Streams of records: every epoch a permutation, every position reachable."""

import numpy as np
import pytest
import tensorflow as tf

from c3tf.data import records, sources
from c3tf.data.errors import DataError

SEED = 5


def serialized(name: str) -> bytes:
    """A record of which the streams read nothing but the name."""
    return records.serialize(records.Record(b"", "png", None, name, 1, 1, "tiny", name))


def names(count: int) -> list[str]:
    return [f"image {index:03d}" for index in range(count)]


def read(stream: tf.data.Dataset, count: int) -> list[str]:
    found = stream.take(count).map(records.parse_name).as_numpy_iterator()
    return [name.decode() for name in found]


@pytest.fixture
def write_shards(tmp_path):
    """Returns a function that writes named records into shards of uneven length."""

    def write(held: list[str], shards: int = 3) -> list[str]:
        paths = []
        for index, part in enumerate(np.array_split(held, shards)):
            paths.append(str(tmp_path / f"train-{index}.tfrecord"))
            with tf.io.TFRecordWriter(paths[-1]) as writer:
                for name in part:
                    writer.write(serialized(str(name)))
        return paths

    return write


@pytest.fixture(params=["memory", "stream"])
def source_of(request, write_shards):
    """Returns a function that makes a source of either kind; the stream's buffer is small."""

    def make(count: int, seed: int = SEED) -> sources.Source:
        if request.param == "memory":
            return sources.in_memory([serialized(name) for name in names(count)], seed)
        shards = write_shards(names(count), shards=min(3, count))
        return sources.streamed(shards, count, seed, buffer=4)

    return make


@pytest.mark.parametrize("count", [1, 2, 10])
def test_every_epoch_is_a_permutation(source_of, count):
    found = read(source_of(count)(0), 4 * count)
    for epoch in range(4):
        assert sorted(found[epoch * count : (epoch + 1) * count]) == names(count)


def test_epochs_and_seeds_differ(source_of):
    found = read(source_of(10)(0), 60)
    epochs = {tuple(found[start : start + 10]) for start in range(0, 60, 10)}
    assert len(epochs) == 6
    assert tuple(names(10)) not in epochs
    assert read(source_of(10)(0), 60) == found
    assert read(source_of(10, seed=SEED + 1)(0), 10) != found[:10]


def test_starting_anywhere_gives_the_same_continuation(source_of):
    source = source_of(7)
    expected = read(source(0), 40)
    for start in (1, 6, 7, 8, 13, 14, 25):
        assert read(source(start), 40 - start) == expected[start:]


def test_memory_shuffles_without_a_preferred_place():
    count, epochs = 8, 400
    source = sources.in_memory([serialized(name) for name in names(count)], SEED)
    found = np.array(read(source(0), count * epochs)).reshape(epochs, count)
    counts = np.array([(found == name).sum(axis=0) for name in names(count)])
    # Binomial with mean 50 and deviation 6.6; 64 cells.
    assert counts.min() > 20
    assert counts.max() < 80


def test_stream_leaves_out_the_excluded_names(write_shards):
    held = names(10)
    excluded = [held[0], held[4], held[9]]
    kept = sorted(set(held) - set(excluded))
    source = sources.streamed(write_shards(held), len(kept), SEED, 4, excluded)
    found = read(source(0), 5 * len(kept))
    for epoch in range(5):
        assert sorted(found[epoch * len(kept) : (epoch + 1) * len(kept)]) == kept
    assert read(source(9), 10) == found[9:19]


def test_load_records_returns_the_wanted_ones_in_order_of_name(write_shards):
    shards = write_shards(names(9)[::-1])
    assert sources.load_records(shards) == [serialized(name) for name in names(9)]
    wanted = frozenset([names(9)[7], names(9)[2], "of another data set"])
    found = sources.load_records(shards, wanted)
    assert found == [serialized(names(9)[2]), serialized(names(9)[7])]


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
        sources.load_records(shards, frozenset(names(2)))
