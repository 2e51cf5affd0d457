"""The manifest: written last, read back equal, and compared with the files it describes."""

import dataclasses
import hashlib
import json

import pytest

from c3tf.data import manifest as manifests
from c3tf.errors import DataError
from c3tf.labels import CAMVID

pytestmark = pytest.mark.smoke


@pytest.fixture
def data_dir(tmp_path):
    """A small directory with a manifest that fits it."""
    shards = []
    for index, content in enumerate((b"first shard", b"second")):
        name = f"train-0000{index}-of-00002.tfrecord"
        (tmp_path / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        shards.append(manifests.Shard(name, 1, len(content), digest))
    (tmp_path / "train.names.txt").write_text("a\nb ö\n", encoding="utf-8")
    train = manifests.SplitInfo(
        count=2,
        labeled=1,
        names_file="train.names.txt",
        shards=tuple(shards),
        class_pixels=tuple(range(CAMVID.num_classes)),
        ignored_pixels=7,
        left_out=(manifests.LeftOut("train/c.png", "is empty"),),
    )
    manifest = manifests.Manifest(
        "camvid", "data_tools.camvid", "1", "raw", {"height": 240}, CAMVID, {"train": train}
    )
    manifests.write(str(tmp_path), manifest)
    return tmp_path


def test_load_gives_back_what_was_written(data_dir):
    loaded = manifests.load(str(data_dir))
    assert loaded.label_map == CAMVID
    assert loaded.data_dir == str(data_dir)
    assert loaded.options == {"height": 240}
    assert loaded.names("train") == ["a", "b ö"]
    assert (loaded.count("train"), loaded.labeled_count("train")) == (2, 1)
    assert [p.rsplit("/", 1)[1] for p in loaded.shards("train")] == [
        "train-00000-of-00002.tfrecord",
        "train-00001-of-00002.tfrecord",
    ]
    assert loaded.splits["train"].left_out[0].reason == "is empty"
    manifests.write(str(data_dir), loaded)
    assert manifests.load(str(data_dir)) == loaded


@pytest.mark.parametrize(
    ("sizes", "height"),
    [
        ({"32x24": 3, "16x12": 2}, 24),
        ({"32x24": 2, "48x24": 1, "16x12": 2}, 24),
        ({"32x24": 2, "16x12": 2}, None),
        ({}, None),
    ],
)
def test_the_height_of_most_images(data_dir, sizes, height):
    manifest = manifests.load(str(data_dir))
    train = dataclasses.replace(manifest.splits["train"], image_sizes=sizes)
    assert dataclasses.replace(manifest, splits={"train": train}).image_height() == height


@pytest.mark.parametrize("size", ["24", "x24", "32x", "32x24x3", "axb", "-1x2", "32x²"])
def test_sizes_that_are_none_are_refused(data_dir, size):
    described = json.loads((data_dir / "dataset.json").read_text())
    described["splits"]["train"]["image_sizes"] = {size: 2}
    (data_dir / "dataset.json").write_text(json.dumps(described))
    with pytest.raises(manifests.DataError, match="`image_sizes` of split 'train' must be"):
        manifests.load(str(data_dir))


def test_verify_accepts_a_whole_data_set(data_dir):
    assert manifests.verify(str(data_dir), quick=True) == manifests.load(str(data_dir))
    manifests.verify(str(data_dir), quick=False)


def test_missing_directory_names_the_command(tmp_path):
    with pytest.raises(DataError, match=r"nowhere.*python -m data_tools\.folder"):
        manifests.load(str(tmp_path / "nowhere"))


def test_directory_without_manifest_is_no_data_set(tmp_path):
    (tmp_path / "train-00000-of-00001.tfrecord").write_bytes(b"x")
    with pytest.raises(DataError, match=r"has no dataset\.json"):
        manifests.load(str(tmp_path))


def test_stopped_conversion_is_named_as_such(tmp_path):
    (tmp_path / manifests.INCOMPLETE_DIR).mkdir()
    with pytest.raises(DataError, match="interrupted"):
        manifests.load(str(tmp_path))


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"format": 1, "splits": {}}', "\xff"])
def test_damaged_manifest_is_refused(data_dir, text):
    (data_dir / "dataset.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(DataError, match=r"dataset\.json is damaged"):
        manifests.load(str(data_dir))


def test_manifest_of_another_format_is_refused(data_dir):
    path = data_dir / "dataset.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 99}))
    with pytest.raises(DataError, match="format 99"):
        manifests.load(str(data_dir))


@pytest.mark.parametrize("split", ["val", "unlabeled"])
def test_absent_split_says_what_there_is(data_dir, split):
    with pytest.raises(DataError, match=rf"'{split}' is empty.*train \(2 images\)"):
        manifests.load(str(data_dir)).count(split)


def test_empty_split_is_refused(data_dir):
    loaded = manifests.load(str(data_dir))
    empty = dataclasses.replace(loaded.splits["train"], count=0)
    with pytest.raises(DataError, match="'train' is empty"):
        dataclasses.replace(loaded, splits={"train": empty}).names("train")


@pytest.mark.parametrize("content", [b"first shar", b"first shard!", b""])
def test_quick_check_notices_another_length(data_dir, content):
    (data_dir / "train-00000-of-00002.tfrecord").write_bytes(content)
    with pytest.raises(DataError, match=rf"00000.*has {len(content)} bytes instead of 11"):
        manifests.verify(str(data_dir))


def test_full_check_notices_one_changed_byte(data_dir):
    (data_dir / "train-00001-of-00002.tfrecord").write_bytes(b"secomd")
    manifests.verify(str(data_dir), quick=True)
    with pytest.raises(DataError, match=r"00001.*another checksum"):
        manifests.verify(str(data_dir), quick=False)


def test_all_missing_shards_are_named(data_dir):
    for path in data_dir.glob("*.tfrecord"):
        path.unlink()
    with pytest.raises(DataError, match=r"00000.* is missing.*00001.* is missing"):
        manifests.verify(str(data_dir))


def test_names_that_do_not_fit_the_count_are_refused(data_dir):
    (data_dir / "train.names.txt").write_text("a\n")
    with pytest.raises(DataError, match=r"1 names.*counts 2"):
        manifests.verify(str(data_dir))
    (data_dir / "train.names.txt").unlink()
    with pytest.raises(DataError, match=r"names\.txt is missing"):
        manifests.verify(str(data_dir))
