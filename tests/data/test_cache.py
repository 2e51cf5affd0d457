"""Decoded images at hand: the pixels of the records, and what is refused."""

import errno
import math
import os

import numpy as np
import pytest
import tensorflow as tf

import tiny_data
from c3tf.data import cache, record_reader
from c3tf.data.pixels import open_record
from c3tf.errors import DataError, StorageError
from c3tf.io import files, leftovers, memory

# Of several sizes, so that offsets matter; the last one has no label.
SIZES = [(9, 14), (6, 5), (12, 7)]
WINDOW = tf.constant([2, 1, 4, 3])


@pytest.fixture
def manifest(tmp_path):
    pairs = {f"s{index}": tiny_data.pair(index, size) for index, size in enumerate(SIZES)}
    pairs["s2"] = (pairs["s2"][0], None)
    (tmp_path / "data").mkdir()
    return tiny_data.write_splits(tmp_path / "data", {"train": pairs}, shards=2)


@pytest.fixture(params=["memory", "disk"])
def store(request, manifest, tmp_path):
    shards = manifest.shards("train")
    if request.param == "disk":
        return cache.on_disk(shards, manifest.digest(), str(tmp_path / "cache"))
    serialized, metadata = record_reader.read_records(shards, 3)
    return cache.in_memory(serialized, metadata, range(3))


def test_every_window_is_that_of_the_record(store, manifest):
    serialized, metadata = record_reader.read_records(manifest.shards("train"), 3)
    assert store.metadata.names == metadata.names
    for row, name in enumerate(metadata.names):
        ours, theirs = store.opener()(tf.constant(row, tf.int64)), open_record(serialized[row])
        assert ours.name.numpy().decode() == name
        np.testing.assert_array_equal(ours.size, theirs.size)
        np.testing.assert_array_equal(ours.image(WINDOW), theirs.image(WINDOW))
        if metadata.has_label[row]:
            np.testing.assert_array_equal(ours.label(WINDOW), theirs.label(WINDOW))


def test_opens_inside_tf_data(store):
    opener = store.opener()
    windows = tf.data.Dataset.range(3).map(lambda row: opener(row).image(WINDOW))
    assert windows.element_spec.shape[-1] == 3
    for row, window in enumerate(windows):
        np.testing.assert_array_equal(window, opener(tf.constant(row, tf.int64)).image(WINDOW))


def test_memory_keeps_only_the_labels_that_are_needed(manifest):
    serialized, metadata = record_reader.read_records(manifest.shards("train"), 3)
    row = metadata.names.index("s1")
    store = cache.in_memory(serialized, metadata, [row])
    assert store.metadata.has_label.tolist() == [name == "s1" for name in metadata.names]
    assert store.pixels.shape[0] == sum(3 * h * w for h, w in SIZES) + math.prod(SIZES[1])


def test_memory_that_does_not_suffice_is_refused(manifest, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 100.0)
    serialized, metadata = record_reader.read_records(manifest.shards("train"), 3)
    with pytest.raises(DataError, match=r"--cache=memory would take 0\.0 GB.*--cache=disk"):
        cache.in_memory(serialized, metadata, range(3))


def test_available_memory_is_a_positive_number():
    assert memory.available() > 0
    memory.check_fits(1, "One byte", "")


def test_disk_is_filled_once_and_anew_for_other_contents(manifest, tmp_path, monkeypatch):
    folder = str(tmp_path / "cache")
    shards = manifest.shards("train")
    first = cache.on_disk(shards, "digest", folder)
    with monkeypatch.context() as patch:
        patch.setattr(cache, "_fill", None)
        again = cache.on_disk(shards, "digest", folder)
    np.testing.assert_array_equal(first.pixels, again.pixels)
    cache.on_disk(shards, "other", folder)
    assert sorted(os.listdir(folder)) == ["digest", "other"]


def test_nothing_is_left_of_a_cache_that_could_not_be_filled(manifest, tmp_path):
    with open(manifest.shards("train")[1], "r+b") as file:
        file.truncate(60)
    with pytest.raises(DataError, match="cannot be decoded for the cache"):
        cache.on_disk(manifest.shards("train"), "digest", str(tmp_path / "cache"))
    assert os.listdir(tmp_path / "cache") == []


def test_a_cache_that_cannot_be_written_names_the_flag(manifest, tmp_path, monkeypatch):
    def refuse(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files, "sync", refuse)
    with pytest.raises(
        StorageError, match=r"--cache_dir=.* cannot be written: .*No space left.*--cache"
    ):
        cache.on_disk(manifest.shards("train"), "digest", str(tmp_path / "cache"))
    assert os.listdir(tmp_path / "cache") == []


def test_what_a_killed_run_left_of_a_cache_is_deleted(manifest, tmp_path):
    folder = tmp_path / "cache"
    (folder / leftovers.partial_name("digest")).mkdir(parents=True)
    cache.on_disk(manifest.shards("train"), "digest", str(folder))
    assert os.listdir(folder) == ["digest"]


def test_two_runs_may_fill_one_cache(manifest, tmp_path, monkeypatch):
    folder, shards = str(tmp_path / "cache"), manifest.shards("train")
    sync = files.sync
    once = []

    def overtaken(path):
        if path.endswith("pixels.bin") and not once:
            once.append(path)
            cache.on_disk(shards, "digest", folder)
        sync(path)

    monkeypatch.setattr(files, "sync", overtaken)
    assert cache.on_disk(shards, "digest", folder).metadata.names
    assert os.listdir(folder) == ["digest"]


@pytest.mark.parametrize("damage", ["cut", "no index", "other format"])
def test_damaged_cache_is_named(manifest, tmp_path, damage):
    folder = str(tmp_path / "cache")
    cache.on_disk(manifest.shards("train"), "digest", folder)
    path = tmp_path / "cache" / "digest" / "index.json"
    if damage == "cut":
        os.truncate(tmp_path / "cache" / "digest" / "pixels.bin", 50)
    elif damage == "no index":
        path.unlink()
    else:
        path.write_text(path.read_text().replace('"format": 1', '"format": 0'))
    with pytest.raises(DataError, match=r"cache in .*digest is damaged.*Delete this directory"):
        cache.on_disk(manifest.shards("train"), "digest", folder)
