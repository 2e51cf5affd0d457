"""The conversion of a whole data set: contents, determinism, refusal, continuation."""

import dataclasses
import errno
import io
import json
import os

import numpy as np
import pytest
from PIL import Image

from c3tf.data import manifest as manifests
from c3tf.data import tfrecord
from c3tf.errors import DataError
from c3tf.io import files
from c3tf.labels import CAMVID, CITYSCAPES
from data_tools import bdd100k, camvid
from data_tools.conversion import convert, planning
from data_tools.conversion.example import ConversionOptions, Converted
from data_tools.conversion.runners import LocalRunner
from raw_trees import save, write_bdd100k, write_camvid

OPTIONS = ConversionOptions("camvid", CAMVID, height=12, image_format="png")


@pytest.fixture
def source(tmp_path):
    """CamVid with 9 training and 3 validation images."""
    return write_camvid(tmp_path / "source")


def _convert(source, output, num_workers=1, progress=None, **arguments):
    arguments = {
        "options": OPTIONS,
        "runner": LocalRunner(num_workers, progress),
        **arguments,
    }
    found = camvid.discover(str(source))
    return convert.convert(found, str(output), converter="data_tools.camvid", **arguments)


def _contents(directory):
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def _records(manifest, split):
    return [record for path in manifest.shards(split) for record in tfrecord.read_shard(path)]


@pytest.fixture
def three_shards(monkeypatch):
    """Makes shards so small that 9 images fill three."""
    monkeypatch.setattr(planning, "count_shards", lambda count, *_: min(count, 3))


def test_every_image_arrives_with_its_pixels(source, tmp_path):
    manifest = _convert(source, tmp_path / "out")
    assert manifest == manifests.verify(str(tmp_path / "out"), quick=False)
    stored = _records(manifest, "train")
    assert sorted(record.name for record in stored) == manifest.names("train")
    assert [r.name for r in stored] != manifest.names("train"), "the order must be shuffled"
    for record in stored:
        raw = np.asarray(Image.open(source / "train" / f"{record.name}.png")).astype(int)
        image = np.asarray(Image.open(io.BytesIO(record.image)))
        assert np.abs(image - raw.reshape(12, 2, 16, 2, 3).mean((1, 3))).max() <= 0.5
        mask = np.asarray(Image.open(source / "trainannot" / f"{record.name}.png"))
        np.testing.assert_array_equal(Image.open(io.BytesIO(record.label)), mask[1::2, 1::2])


def test_manifest_counts_what_is_stored(source, tmp_path):
    save(source / "trainannot/train 00.png", np.full((24, 32), 11, np.uint8))
    manifest = _convert(source, tmp_path / "out")
    info = manifest.splits["train"]
    labels = np.concatenate(
        [np.asarray(Image.open(io.BytesIO(r.label))).ravel() for r in _records(manifest, "train")]
    )
    counts = np.bincount(labels, minlength=256)
    assert info.class_pixels == tuple(counts[: CAMVID.num_classes])
    assert info.ignored_pixels == counts[255] >= 12 * 16
    assert (info.count, info.labeled, manifest.count("val")) == (9, 9, 3)
    assert manifest.label_map == CAMVID
    assert manifest.options["height"] == 12


def test_bytes_do_not_depend_on_the_workers(source, tmp_path, three_shards):
    _convert(source, tmp_path / "one", num_workers=1)
    _convert(source, tmp_path / "two", num_workers=2)
    assert _contents(tmp_path / "one") == _contents(tmp_path / "two")
    assert len(list((tmp_path / "one").glob("train-0000?-of-00003.tfrecord"))) == 3


def test_shard_size_follows_the_option():
    class Sized(Converted):
        """A converted image of 3 MB."""

        def __init__(self):
            record = tfrecord.Record(bytes(3 * 10**6), "png", None, "x", 1, 1, "d", "s")
            super().__init__(record, np.zeros(256), ())

    def count(images, shard_mb):
        return planning.count_shards(images, iter([Sized()] * 3), shard_mb)

    assert (count(100, 128), count(100, 30), count(2, 1), count(1, 128)) == (3, 10, 2, 1)


def test_output_of_another_run_is_refused_and_untouched(source, tmp_path):
    _convert(source, tmp_path / "out")
    before = _contents(tmp_path / "out")
    with pytest.raises(DataError, match=r"holds a finished data set .*choose another --output"):
        _convert(source, tmp_path / "out")
    assert _contents(tmp_path / "out") == before


def test_a_folder_with_other_files_is_refused_and_untouched(source, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out/notes.txt").write_text("mine")
    with pytest.raises(DataError, match=r"holds other files \(notes\.txt\)"):
        _convert(source, tmp_path / "out")
    assert _contents(tmp_path / "out") == {"notes.txt": b"mine"}


class _StoppedError(Exception):
    pass


def _stop_after(count):
    def progress(done):
        if done > count:
            raise _StoppedError

    return lambda total: progress


@pytest.mark.parametrize("stop", [0, 1, 3, 5, 6, 9, 11])
def test_a_stopped_run_continues_to_the_same_bytes(source, tmp_path, three_shards, stop):
    _convert(source, tmp_path / "whole")
    with pytest.raises(_StoppedError):
        _convert(source, tmp_path / "out", progress=_stop_after(stop))
    with pytest.raises(DataError, match="interrupted"):
        manifests.load(str(tmp_path / "out"))
    seen, said = [], []
    _convert(source, tmp_path / "out", progress=lambda total: seen.append, say=said.append)
    assert _contents(tmp_path / "out") == _contents(tmp_path / "whole")
    finished = stop // 3 if stop < 9 else 3 + stop - 9
    assert said == [f"continues: {finished} of 6 shards are finished"][: finished > 0]
    # Train fills three shards of three images, val three of one.
    assert len(seen) == 12 - (3 * (stop // 3) if stop < 9 else stop)


def test_a_stopped_run_with_other_options_is_refused(source, tmp_path, three_shards):
    with pytest.raises(_StoppedError):
        _convert(source, tmp_path / "out", progress=_stop_after(4))
    before = _contents(tmp_path / "out")
    with pytest.raises(DataError, match="stopped conversion with other height"):
        _convert(source, tmp_path / "out", options=dataclasses.replace(OPTIONS, height=6))
    assert _contents(tmp_path / "out") == before


def test_a_run_stopped_before_cleaning_up_is_finished(source, tmp_path, monkeypatch):
    _convert(source, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(files, "remove_tree", lambda path: None)
        _convert(source, tmp_path / "out")
    assert _contents(tmp_path / "out") != _contents(tmp_path / "whole")
    _convert(source, tmp_path / "out")
    assert _contents(tmp_path / "out") == _contents(tmp_path / "whole")


@pytest.mark.parametrize("num_workers", [1, 2])
def test_a_bad_file_stops_the_run_and_is_named(source, tmp_path, num_workers):
    (source / "train/train 04.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"train 04\.png is empty"):
        _convert(source, tmp_path / "out", num_workers=num_workers)
    assert not (tmp_path / "out" / manifests.FILE_NAME).exists()


def test_bad_files_can_be_left_out_and_are_listed(source, tmp_path):
    whole = (source / "train/train 04.png").read_bytes()
    (source / "train/train 04.png").write_bytes(whole[:50])
    save(source / "valannot/val 00.png", np.full((24, 32), 99, np.uint8))
    manifest = _convert(source, tmp_path / "out", skip_bad=True)
    assert (manifest.count("train"), manifest.count("val")) == (8, 2)
    assert "train 04" not in manifest.names("train")
    assert [e.source for e in manifest.splits["train"].left_out] == ["train/train 04.png"]
    assert "99 (768 pixels)" in manifest.splits["val"].left_out[0].reason


def test_a_repaired_file_continues_a_failed_run(source, tmp_path):
    path = source / "train/train 04.png"
    whole = path.read_bytes()
    _convert(source, tmp_path / "whole")
    path.write_bytes(whole[:50])
    with pytest.raises(DataError, match="train 04"):
        _convert(source, tmp_path / "out")
    path.write_bytes(whole)
    _convert(source, tmp_path / "out")
    assert _contents(tmp_path / "out") == _contents(tmp_path / "whole")


def test_a_split_without_any_good_image_is_refused(source, tmp_path):
    for path in (source / "val").iterdir():
        path.write_bytes(b"")
    with pytest.raises(DataError, match="'val' is empty: none of its 3 images"):
        _convert(source, tmp_path / "out", skip_bad=True)
    assert not (tmp_path / "out" / manifests.FILE_NAME).exists()


def test_strict_refuses_orphans(source, tmp_path):
    (source / "trainannot/train 04.png").unlink()
    with pytest.raises(DataError, match=r"1 files .* train/train 04\.png: image without a label"):
        _convert(source, tmp_path / "out", strict=True)
    assert not (tmp_path / "out").exists()
    manifest = _convert(source, tmp_path / "out")
    assert manifest.splits["train"].left_out[0].source == "train/train 04.png"


def test_labels_of_another_size_are_left_out_and_strict_refuses_them(source, tmp_path):
    save(source / "trainannot/train 04.png", np.zeros((24, 30), np.uint8))
    with pytest.raises(DataError, match=r"trainannot/train 04\.png is 30x24 .* 32x24"):
        _convert(source, tmp_path / "strict", strict=True)
    manifest = _convert(source, tmp_path / "out")
    (entry,) = manifest.splits["train"].left_out
    assert entry.source == "train/train 04.png"
    assert "is 30x24 pixels" in entry.reason
    assert (manifest.count("train"), manifest.count("val")) == (8, 3)


def test_a_strict_run_does_not_take_over_what_a_lax_one_left_out(source, tmp_path, three_shards):
    save(source / "trainannot/train 04.png", np.zeros((24, 30), np.uint8))
    with pytest.raises(_StoppedError):
        _convert(source, tmp_path / "out", progress=_stop_after(10))
    with pytest.raises(DataError, match=r"train 04\.png is 30x24"):
        _convert(source, tmp_path / "out", strict=True)
    seen = []
    _convert(source, tmp_path / "out", progress=lambda total: seen.append)
    # Two were left, and the strict run gave up the shard of three that held the odd one.
    assert len(seen) == 5


def test_a_run_without_skip_bad_does_not_take_over_what_was_skipped(source, tmp_path, three_shards):
    (source / "train/train 04.png").write_bytes(b"")
    with pytest.raises(_StoppedError):
        _convert(source, tmp_path / "out", skip_bad=True, progress=_stop_after(10))
    with pytest.raises(DataError, match=r"train 04\.png is empty"):
        _convert(source, tmp_path / "out")
    assert _convert(source, tmp_path / "out", skip_bad=True).count("train") == 8


def test_image_sizes_are_counted(source, tmp_path):
    save(source / "train/train 04.png", np.zeros((24, 64, 3), np.uint8))
    save(source / "trainannot/train 04.png", np.zeros((24, 64), np.uint8))
    manifest = _convert(source, tmp_path / "out")
    assert manifest.splits["train"].image_sizes == {"16x12": 8, "32x12": 1}


def test_unwritable_output_is_refused(source, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match=r"file/out cannot be written"):
        _convert(source, tmp_path / "file/out")


def test_extra_images_need_no_label(tmp_path):
    root = write_bdd100k(tmp_path / "bdd")
    save(root / "images/100k/train/new.jpg", np.zeros((24, 32, 3), np.uint8))
    found = bdd100k.discover(str(root), extra=True)
    options = ConversionOptions("bdd100k", CITYSCAPES, label_ids="train")
    manifest = convert.convert(found, str(tmp_path / "out"), options, "x", runner=LocalRunner(1))
    assert (manifest.count("unlabeled"), manifest.labeled_count("unlabeled")) == (1, 0)
    (record,) = _records(manifest, "unlabeled")
    assert record.label is None
    assert record.image == (root / "images/100k/train/new.jpg").read_bytes()


def test_remote_paths_work(source, tmp_path, three_shards):
    remote = "ram://raw/camvid"
    for path in source.rglob("*.png"):
        folder = f"{remote}/{path.parent.name}"
        files.make_dirs(folder)
        files.write_bytes(f"{folder}/{path.name}", path.read_bytes())
    output = "ram://converted/camvid"
    _convert(remote, output)
    assert manifests.verify(output, quick=False).count("train") == 9
    _convert(source, tmp_path / "local")
    for path in (tmp_path / "local").glob("*.tfrecord"):
        assert files.read_bytes(f"{output}/{path.name}") == path.read_bytes()
    _stopped(remote, "ram://converted/stopped")
    _convert(remote, "ram://converted/stopped")
    assert files.list_dir("ram://converted/stopped") == files.list_dir(output)
    for name in files.list_dir(output):
        expected = files.read_bytes(f"{output}/{name}")
        assert files.read_bytes(f"ram://converted/stopped/{name}") == expected
    files.write_bytes(f"{remote}/train/train 04.png", b"")
    with pytest.raises(DataError, match=r"ram://raw/camvid/train/train 04\.png is empty"):
        _convert(remote, "ram://converted/again")


@pytest.mark.parametrize(
    "arguments", [{"shard_mb": 0}, {"num_workers": -1}, {"strict": True, "skip_bad": True}]
)
def test_bad_arguments_are_refused(source, tmp_path, arguments):
    with pytest.raises(ValueError, match=f"{next(iter(arguments))}.*Received"):
        _convert(source, tmp_path / "out", **arguments)


def _stopped(source, output, **arguments):
    """Stops a run behind its first two shards of three images."""
    with pytest.raises(_StoppedError):
        _convert(source, output, progress=_stop_after(6), **arguments)


def test_masks_of_another_folder_do_not_continue_a_stopped_run(tmp_path, three_shards):
    sources = [write_camvid(tmp_path / name) for name in ("one", "two")]
    found = [camvid.discover(str(source)) for source in sources]
    moved = dataclasses.replace(
        found[0],
        pairs=tuple(
            dataclasses.replace(item, label=other.label)
            for item, other in zip(found[0].pairs, found[1].pairs, strict=True)
        ),
    )
    _stopped(sources[0], tmp_path / "out")
    before = _contents(tmp_path / "out")
    for other in (found[1], moved):
        with pytest.raises(DataError, match="stopped conversion with other list of files"):
            convert.convert(other, str(tmp_path / "out"), OPTIONS, "data_tools.camvid")
    assert _contents(tmp_path / "out") == before


def test_a_relative_path_continues_what_an_absolute_one_began(source, tmp_path, monkeypatch):
    _convert(source, tmp_path / "whole")
    monkeypatch.setattr(planning, "count_shards", lambda count, *_: 1)
    _stopped(source, tmp_path / "out")
    monkeypatch.chdir(source.parent)
    manifest = _convert(source.name, tmp_path / "out")
    assert manifest.splits == manifests.load(str(tmp_path / "whole")).splits


@pytest.mark.parametrize("folder", ["train", "trainannot"])
def test_shards_of_changed_files_are_written_again(source, tmp_path, three_shards, folder):
    _stopped(source, tmp_path / "out")
    for path in (source / folder).iterdir():
        save(path, np.random.default_rng(0).integers(0, 11, (24, 32), np.uint8))
    _convert(source, tmp_path / "out")
    _convert(source, tmp_path / "whole")
    assert _contents(tmp_path / "out") == _contents(tmp_path / "whole")


def test_files_that_changed_places_are_noticed(source, tmp_path, three_shards):
    rng = np.random.default_rng(0)
    for height, path in enumerate(sorted((source / "train").iterdir()), start=1):
        pixels = np.zeros((24, 32, 3), np.uint8)
        pixels[:height] = rng.integers(0, 256, (height, 32, 3))
        save(path, pixels)
    _stopped(source, tmp_path / "out")
    noted = json.loads(
        (tmp_path / "out/_incomplete/train-00000-of-00003.tfrecord.json").read_text()
    )
    first, second = noted["names"][:2]
    for folder in ("train", "trainannot"):
        one, two = (source / folder / f"{name}.png" for name in (first, second))
        kept = one.read_bytes()
        one.write_bytes(two.read_bytes())
        two.write_bytes(kept)
    _convert(source, tmp_path / "out")
    _convert(source, tmp_path / "whole")
    assert _contents(tmp_path / "out") == _contents(tmp_path / "whole")


@pytest.mark.parametrize("damage", ["shorter shard", "no shard", "damaged notes", "odd notes"])
def test_a_shard_that_does_not_fit_its_notes_is_written_again(
    source, tmp_path, three_shards, damage
):
    _convert(source, tmp_path / "whole")
    _stopped(source, tmp_path / "out")
    shard = tmp_path / "out" / "train-00000-of-00003.tfrecord"
    if damage == "no shard":
        shard.unlink()
    elif damage == "shorter shard":
        shard.write_bytes(shard.read_bytes()[:-1])
    else:
        text = '{"shard": ' if damage == "damaged notes" else "5"
        (tmp_path / "out/_incomplete" / f"{shard.name}.json").write_text(text)
    _convert(source, tmp_path / "out")
    assert _contents(tmp_path / "out") == _contents(tmp_path / "whole")


@pytest.mark.parametrize("name", ["request.json", "train.plan.json"])
def test_damaged_notes_of_the_whole_run_are_named(source, tmp_path, three_shards, name):
    _stopped(source, tmp_path / "out")
    (tmp_path / "out/_incomplete" / name).write_text("")
    with pytest.raises(DataError, match=rf"{name} is damaged .*convert again"):
        _convert(source, tmp_path / "out")


def test_other_software_does_not_continue_a_stopped_run(
    source, tmp_path, monkeypatch, three_shards
):
    _stopped(source, tmp_path / "out")
    monkeypatch.setattr(convert.PIL, "__version__", "1.0")
    with pytest.raises(DataError, match="stopped conversion with other software"):
        _convert(source, tmp_path / "out")


def test_a_plan_without_shards_is_damaged(source, tmp_path, three_shards):
    for noted in ("0", "10", "null", '"x"'):
        output = tmp_path / f"out{noted.strip(chr(34))}"
        _stopped(source, output)
        (output / "_incomplete/train.plan.json").write_text(f'{{"num_shards": {noted}}}')
        with pytest.raises(DataError, match=r"train\.plan\.json is damaged"):
            _convert(source, output)


def test_a_skipped_file_that_was_repaired_is_taken(source, tmp_path, three_shards):
    _convert(source, tmp_path / "whole")
    for path in (source / "train").iterdir():
        path.with_suffix(".kept").write_bytes(path.read_bytes())
        path.write_bytes(b"")
    _stopped(source, tmp_path / "out", skip_bad=True)
    for path in (source / "train").glob("*.kept"):
        path.rename(path.with_suffix(".png"))
    _convert(source, tmp_path / "out", skip_bad=True)
    assert _contents(tmp_path / "out") == _contents(tmp_path / "whole")


def test_reasons_are_the_same_in_every_run(source, tmp_path):
    (source / "train/train 04.png").write_text("<html>404</html>")
    for name in ("one", "two"):
        _convert(source, tmp_path / name, skip_bad=True)
    assert _contents(tmp_path / "one") == _contents(tmp_path / "two")


def test_pieces_of_a_killed_run_are_removed(source, tmp_path, three_shards):
    _convert(source, tmp_path / "whole")
    _stopped(source, tmp_path / "out")
    for name in (".dataset.json.partial-17", "_incomplete/train-00001-of-00003.tfrecord.abc"):
        (tmp_path / "out" / name).write_text("piece")
    _convert(source, tmp_path / "out")
    assert _contents(tmp_path / "out") == _contents(tmp_path / "whole")


def test_a_disk_that_fails_stops_the_run_whatever_may_be_skipped(source, tmp_path, monkeypatch):
    read_bytes = files.read_bytes

    def fail(path):
        if path.endswith("train 04.png"):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read_bytes(path)

    with monkeypatch.context() as patch:
        patch.setattr(files, "read_bytes", fail)
        with pytest.raises(DataError, match=r"train 04\.png cannot be read now.*continues"):
            _convert(source, tmp_path / "out", skip_bad=True)
    assert _convert(source, tmp_path / "out", skip_bad=True).count("train") == 9


def test_images_measured_for_the_plan_are_not_converted_again(source, tmp_path, monkeypatch):
    seen = []
    convert_example = convert.convert_example
    monkeypatch.setattr(
        convert,
        "convert_example",
        lambda item, options: seen.append(item.source) or convert_example(item, options),
    )
    manifest = _convert(source, tmp_path / "out")
    assert len(seen) == len(set(seen)) == manifest.count("train") + manifest.count("val")


def test_a_shard_that_cannot_be_flushed_is_not_called_finished(source, tmp_path, monkeypatch):
    def fsync(descriptor):
        if ".tfrecord." in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(DataError, match=r"tfrecord cannot be written: .*No space left"):
        _convert(source, tmp_path / "out")
    assert not list((tmp_path / "out").glob("*.tfrecord"))
    monkeypatch.undo()
    assert _convert(source, tmp_path / "out").count("train") == 9
