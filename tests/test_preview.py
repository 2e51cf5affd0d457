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
from c3tf.labels import IGNORE
from c3tf.training import preview as previews
from c3tf.visualization import drawing

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
    """Returns pictures by title, the captions of each row, and the batches they come from."""
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

    def sheet(rows, titles, captions, *_, **__):
        drawn.update(zip(titles, zip(*rows, strict=True), strict=True), captions=captions)

    monkeypatch.setattr(drawing, "sheet", sheet)
    previews.draw(batches, settings, manifest.label_map, 3, step)
    return drawn, list(batches)


def test_command_draws_the_sheet(run, tmp_path):
    path = tmp_path / "new" / "preview.png"
    done = run(f"--output={path.parent}", "--rows=3")
    assert done.returncode == 0, done.stderr
    assert f"{path}: from step 2500 on, out of 3 labeled and 3 unlabeled" in done.stdout
    with Image.open(path) as sheet:
        assert sheet.width > 9 * 256
    before = path.read_bytes()
    done = run(f"--output={path.parent}")
    assert done.returncode == 2
    assert f"{path} exists. Give another --output, or add --overwrite." in done.stderr
    assert path.read_bytes() == before


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
    assert f"`--output` cannot be written, because {tmp_path / 'file'} is no folder" in done.stderr
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
    assert [texts[0] for texts in drawn["captions"]] == [
        "step 0, labeled 0",
        "step 0, labeled 1",
        "step 1, labeled 0",
    ]
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


def test_a_mixed_image_stands_in_the_row_of_the_image_around_its_rectangle(folder, monkeypatch):
    drawn, batches = shown(folder, monkeypatch)
    batch, palette = batches[0], tiny_network.LABEL_MAP.palette()
    nothing = np.full(batch.y.shape, IGNORE)
    originals = np.concatenate([batch.x, batch.u_s])
    labels = palette[np.concatenate([batch.y, nothing])]
    names = ["labeled 0", "labeled 1", "unlabeled 0", "unlabeled 1"]
    captions = drawn.pop("captions")
    for own, name in enumerate(names):
        kind, row = name.split()
        row = int(row)
        source = captions[row][list(drawn).index(f"CutMix into {kind}")]
        other = names.index(source.removeprefix("rectangle from "))
        assert captions[row][0] == f"step 0, labeled {row}"
        for title, whole in (("", originals), (", labels", labels)):
            mixed = drawn[f"CutMix into {kind}{title}"][row]
            around = (mixed == whole[own]).all(axis=-1)
            within = (mixed == whole[other]).all(axis=-1)
            assert (around | within).all()
            assert around.mean() >= 0.4
            # Every image has a corner that its rectangle leaves free.
            assert around[[0, 0, -1, -1], [0, -1, 0, -1]].any()


def test_without_mixing_there_is_no_cutmix_column(folder, monkeypatch):
    drawn, _ = shown(folder, monkeypatch, mixing="none", student_view="weak")
    assert len(drawn["captions"][0]) == len(drawn) - 1 == 5
    assert "unlabeled, student's (weak)" in drawn
