"""Verification: every kind of damage is found and named."""

import dataclasses
import hashlib
import json
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from c3tf.data import manifest as manifests
from c3tf.data import tfrecord
from c3tf.errors import DataError
from c3tf.labels import CAMVID
from data_tools import camvid, verify
from data_tools.conversion import convert, planning
from data_tools.conversion.example import ConversionOptions
from data_tools.conversion.runners import LocalRunner
from raw_trees import write_camvid

SHARD = "train-00001-of-00003.tfrecord"


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    """Nine training images in three shards, three validation images with labels of full size."""
    monkeypatch.setattr(planning, "count_shards", lambda count, *_: min(count, 3))
    found = camvid.discover(str(write_camvid(tmp_path / "raw")))
    options = ConversionOptions("camvid", CAMVID, height=12, val_label_size="original")
    convert.convert(found, str(tmp_path / "out"), options, "tests", runner=LocalRunner(1))
    return tmp_path / "out"


def _rewrite(data_dir, change):
    """Changes the records of a shard, and its checksum so that only the records are odd."""
    stored = list(tfrecord.read_shard(str(data_dir / SHARD)))
    with tf.io.TFRecordWriter(str(data_dir / SHARD)) as writer:
        for record in change(stored):
            writer.write(record if isinstance(record, bytes) else tfrecord.serialize(record))
    data = (data_dir / SHARD).read_bytes()
    text = json.loads((data_dir / manifests.FILE_NAME).read_text())
    shard = text["splits"]["train"]["shards"][1]
    shard |= {"bytes": len(data), "sha256": hashlib.sha256(data).hexdigest()}
    (data_dir / manifests.FILE_NAME).write_text(json.dumps(text))


def _first(**changes):
    return lambda stored: [dataclasses.replace(stored[0], **changes), *stored[1:]]


def _verify(data_dir, **arguments):
    return verify.verify(str(data_dir), **{"num_workers": 1, **arguments})


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_whole_data_set_passes(data_dir, num_workers):
    seen = []
    manifest = _verify(data_dir, num_workers=num_workers, start_progress=lambda total: seen.append)
    assert manifest == manifests.load(str(data_dir))
    assert seen == list(range(1, 13))


@pytest.mark.parametrize("place", [5, 0.5, -3])
def test_one_changed_byte_is_found_in_its_shard(data_dir, place):
    data = bytearray((data_dir / SHARD).read_bytes())
    data[int(place * len(data)) if isinstance(place, float) else place] ^= 4
    (data_dir / SHARD).write_bytes(data)
    manifests.verify(str(data_dir))
    with pytest.raises(DataError, match=rf"{SHARD} has another checksum.*record \d cannot be read"):
        _verify(data_dir)


def test_all_damage_is_named_at_once(data_dir):
    (data_dir / "train-00000-of-00003.tfrecord").unlink()
    (data_dir / SHARD).write_bytes((data_dir / SHARD).read_bytes()[:-30])
    with pytest.raises(DataError, match="does not fit") as caught:
        _verify(data_dir)
    assert "train-00000-of-00003.tfrecord is missing" in str(caught.value)
    assert f"{SHARD} has " in str(caught.value)
    assert f"{SHARD}: record 2 cannot be read" in str(caught.value)
    assert "val" not in str(caught.value).split("does not fit")[1]


def test_a_shard_cut_between_records_is_found(data_dir):
    _rewrite(data_dir, lambda stored: stored[:-1])
    with pytest.raises(DataError, match=rf"{SHARD} gives 2 records instead of 3"):
        _verify(data_dir)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            _first(height=13),
            r"record 0 \(.*\): the image is \(16, 12\), the record says \(16, 13\)",
        ),
        (_first(image=b"\xff\xd8rubbish"), r"record 0 \(.*\): the image is no readable"),
        (_first(image_format="png"), r"the image is JPEG RGB, the record says png"),
        (_first(label=b"rubbish"), r"record 0 \(.*\): the label is no readable"),
        (
            _first(label=tfrecord.encode_png(np.full((12, 16), 11, np.uint8))),
            r"the label holds ids that are no class: 11",
        ),
        (
            _first(label=tfrecord.encode_png(np.zeros((24, 32), np.uint8))),
            r"the label is \(32, 24\), the image \(16, 12\)",
        ),
        (
            _first(label=tfrecord.encode_png(np.zeros((12, 16, 3), np.uint8))),
            "the label is PNG RGB instead of a grey PNG",
        ),
        (
            _first(label=tfrecord.encode_png(np.zeros((12, 16), np.uint8))),
            "`class_pixels` of split 'train' is",
        ),
        (
            lambda stored: [
                dataclasses.replace(stored[0], image=stored[0].image[:-2]),
                *stored[1:],
            ],
            r"record 0 \(.*\): the image is no readable image .* its end is missing",
        ),
        (_first(label=None), "`labeled` of split 'train' is 8, not 9"),
        (_first(name="stranger"), r"train\.names\.txt and the records differ in 2 names"),
        (lambda stored: [stored[1], *stored[1:]], "differ in 2 names"),
        (lambda stored: [b"foreign", *stored[1:]], "record 0 cannot be read"),
    ],
)
def test_odd_records_are_found_and_named(data_dir, change, message):
    _rewrite(data_dir, change)
    with pytest.raises(DataError, match=rf"{SHARD}.*{message}|{message}"):
        _verify(data_dir)


def test_the_command_ends_with_2(repository, data_dir):
    command = [sys.executable, "-m", "data_tools.verify", f"--data={data_dir}", "--num_workers=1"]
    (data_dir / SHARD).write_bytes((data_dir / SHARD).read_bytes()[:-30])
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert f"{SHARD}: record 2 cannot be read" in done.stderr
