"""The preview: what stands on the sheet, and what is refused."""

import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import tiny_data
import tiny_network
from c3tf import preview
from c3tf.config import Config
from c3tf.data import manifest as manifests
from c3tf.data import pipeline, splits
from c3tf.data.training_data import open_training_data
from c3tf.evaluation import drawing
from c3tf.labels import IGNORE

SIZE = (16, 32)
FLAGS = (
    "--crop_height=16",
    "--crop_width=32",
    "--output_stride=16",
    "--global_batch_size=4",
    "--mix_group=2",
    "--labeled=3",
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    pairs = {f"s{index}": tiny_data.pair(index, (24, 40)) for index in range(6)}
    tiny_data.write_splits(root, {"train": pairs})
    return root


@pytest.fixture(scope="module")
def run(folder, repository):
    def call(*arguments):
        command = [sys.executable, "-m", "c3tf.preview", f"--data={folder}", *FLAGS, *arguments]
        return subprocess.run(command, cwd=repository, capture_output=True, text=True, timeout=300)

    return call


def shown(folder, monkeypatch, step=0, **options):
    """Returns titles, pictures by column, and the batches they were drawn from."""
    settings = Config().with_options(
        crop_height=SIZE[0],
        crop_width=SIZE[1],
        output_stride=16,
        global_batch_size=4,
        mix_group=2,
        supervised_steps=0,
        **options,
    )
    manifest = manifests.load(str(folder))
    data = open_training_data(manifest, splits.draw(manifest.names("train"), 3, 0), settings)
    batches = pipeline.semi_supervised_batches(data, settings, step).take(2).cache()
    drawn = {}

    def sheet(rows, titles, *_, **__):
        drawn.update(zip(titles, zip(*rows, strict=True), strict=True))

    monkeypatch.setattr(drawing, "sheet", sheet)
    preview.draw(batches, settings, manifest.label_map, 3, step)
    return drawn, list(batches)


def test_command_draws_the_sheet(run, tmp_path):
    path = tmp_path / "new" / "preview.png"
    done = run(f"--output={path.parent}", "--rows=3")
    assert done.returncode == 0, done.stderr
    assert f"{path}: from step 2500 on, out of 3 labeled and 3 unlabeled" in done.stdout
    with Image.open(path) as sheet:
        assert sheet.width > 9 * 256


@pytest.mark.parametrize(
    ("output", "path"),
    [
        ("", "preview.png"),
        ("a/sheet.png", "a/sheet.png"),
        ("runs/camvid", "runs/camvid/preview.png"),
        ("runs/v1.5/", "runs/v1.5/preview.png"),
    ],
)
def test_output_is_the_sheet_or_its_folder(output, path):
    assert preview.sheet_path(output) == path


def test_a_place_that_cannot_be_written_is_reported_before_the_data_are_read(run, tmp_path):
    (tmp_path / "file").write_bytes(b"")
    done = run("--data=absent", f"--output={tmp_path / 'file'}")
    assert done.returncode == 2
    place = tmp_path / "file" / "preview.png"
    assert f"`--output` must name a place that can be written to. Received: {place}" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--rows=0"], "`--rows` must be at least 1"),
        (["--at_step=25000"], "`--at_step` must be 0 to 24999"),
        (["--data=absent"], "no data set directory 'absent'"),
    ],
)
def test_mistakes_are_one_line(run, flags, named):
    done = run(*flags)
    assert done.returncode == 2
    assert named in done.stderr
    assert "Traceback" not in done.stderr


def test_columns_show_the_batch(folder, monkeypatch):
    drawn, batches = shown(folder, monkeypatch)
    first = batches[0]
    assert all(len(column) == 3 for column in drawn.values())
    for title, field in (
        ("labeled, weak view", "x"),
        ("unlabeled, teacher's (weak)", "u_w"),
        ("unlabeled, student's (strong)", "u_s"),
    ):
        np.testing.assert_array_equal(np.stack(drawn[title][:2]), getattr(first, field))
        np.testing.assert_array_equal(drawn[title][2], getattr(batches[1], field)[0])
    palette = tiny_network.LABEL_MAP.palette()
    np.testing.assert_array_equal(np.stack(drawn["its label"][:2]), palette[first.y.numpy()])
    valid = np.stack(drawn["unlabeled, not valid is black"][:2])[..., 0] > 0
    np.testing.assert_array_equal(valid, first.u_valid)


def test_cutmix_columns_hold_every_pixel_once(folder, monkeypatch):
    drawn, batches = shown(folder, monkeypatch)
    first = batches[0]
    mixed = np.stack([drawn["CutMix, one"][:2], drawn["CutMix, other"][:2]])
    originals = np.concatenate([first.x, first.u_s])
    # At every place the group's images are shown once each, in some order.
    for got, expected in zip(
        np.moveaxis(mixed.reshape(4, -1, 3), 0, 1),
        np.moveaxis(originals.reshape(4, -1, 3), 0, 1),
        strict=True,
    ):
        assert sorted(map(tuple, got.tolist())) == sorted(map(tuple, expected.tolist()))
    labels = np.stack(
        [drawn["CutMix, labels of the one"][:2], drawn["CutMix, labels of the other"][:2]]
    ).reshape(4, -1, 3)
    black = (labels == tiny_network.LABEL_MAP.palette()[IGNORE]).all(axis=-1)
    # Half of what is mixed is unlabeled, and some labels are missing by themselves.
    expected = 2 + (first.y.numpy().reshape(2, -1) == IGNORE).sum(axis=0)
    np.testing.assert_array_equal(black.sum(axis=0), expected)


def test_without_mixing_there_is_no_cutmix_column(folder, monkeypatch):
    drawn, _ = shown(folder, monkeypatch, mixing="none", student_view="weak")
    assert len(drawn) == 5
    assert "unlabeled, student's (weak)" in drawn
