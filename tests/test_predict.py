"""Predicting folders: what is found, what is written, what is refused."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tiny_network
from c3tf import inference, predict, serving
from c3tf.errors import UserError
from c3tf.evaluation import drawing
from c3tf.predict import Input, Style, find_images, predict_files
from tiny_network import LABEL_MAP

STYLE = Style(LABEL_MAP)
SIZES = {"a.png": (24, 40), "street/b.PNG": (17, 33), "street/c.jpg": (30, 20)}


@pytest.fixture(scope="module")
def network():
    return tiny_network.build()


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    return serving.save(network, LABEL_MAP, tmp_path_factory.mktemp("export") / "saved")


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    for seed, (name, size) in enumerate(SIZES.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(tiny_network.noise(seed, *size)).save(folder / name)
    return folder


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def files_in(folder):
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def constant(images, size):
    """Predicts class 2 everywhere."""
    return tf.fill([tf.shape(images)[0], *tf.unstack(size)], tf.constant(2, tf.uint8))


def test_a_folder_of_mixed_sizes(network, saved, photos, tmp_path):
    output, seen = tmp_path / "out", []
    served = serving.load(saved)
    inputs = find_images(str(photos), output)
    skipped = predict_files(served.predict, inputs, output, STYLE, progress=seen.append)
    assert skipped == {}
    assert seen == [1, 2, 3]
    names = ["a", "street/b", "street/c"]
    assert files_in(output) == [f"{kind}/{n}.png" for kind in sorted(predict.KINDS) for n in names]
    for source, name in zip(SIZES, names, strict=True):
        image = pixels(photos / source)
        ids = pixels(output / f"ids/{name}.png")
        direct = inference.class_map(network, tf.constant(image[None]))[0].numpy()
        np.testing.assert_array_equal(ids, direct)
        np.testing.assert_array_equal(
            pixels(output / f"color/{name}.png"), np.array(LABEL_MAP.colors, np.uint8)[ids]
        )
        np.testing.assert_array_equal(
            pixels(output / f"overlay/{name}.png"), drawing.overlay(image, ids, LABEL_MAP)
        )


def test_raw_ids_and_chosen_kinds(photos, tmp_path):
    style = Style(LABEL_MAP, kinds=("ids",), raw_ids=True)
    inputs = find_images(str(photos / "a.png"), tmp_path / "out")
    predict_files(constant, inputs, tmp_path / "out", style)
    assert files_in(tmp_path / "out") == ["ids/a.png"]
    assert (pixels(tmp_path / "out/ids/a.png") == LABEL_MAP.raw_ids[2]).all()


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("", ["a", "street/b", "street/c"]),
        ("/street", ["b", "c"]),
        ("/a.png", ["a"]),
        ("/*", ["a"]),
        ("/street/*.jpg", ["c"]),
        ("/**/*.[jp][pn]g", ["a", "street/c"]),
    ],
)
def test_folders_files_and_patterns(photos, tmp_path, pattern, names):
    inputs = find_images(f"{photos}{pattern}", tmp_path / "out")
    assert [item.name for item in inputs] == names


def test_patterns_and_files_relative_to_the_working_directory(photos, tmp_path, monkeypatch):
    monkeypatch.chdir(photos)
    assert [item.name for item in find_images("a.png", tmp_path)] == ["a"]
    assert [item.name for item in find_images("*.png", tmp_path)] == ["a"]
    assert [item.name for item in find_images(".", tmp_path)] == ["a", "street/b", "street/c"]


def test_hidden_files_and_earlier_outputs_are_no_input(photos):
    (photos / "._a.png").write_bytes(b"resource fork")
    (photos / "notes.txt").write_text("no image")
    before = find_images(str(photos), photos)
    predict_files(constant, before, photos, STYLE)
    assert find_images(str(photos), photos) == before
    assert len(before) == 3


@pytest.mark.parametrize("pattern", ["nothing-here", "empty", "*.bmp"])
def test_nothing_found_is_an_error(tmp_path, pattern):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="No image found"):
        find_images(str(tmp_path / pattern), tmp_path / "out")


def test_outputs_that_would_collide_are_refused(photos):
    Image.fromarray(tiny_network.noise(1, 8, 8)).save(photos / "a.jpg")
    with pytest.raises(UserError, match=r"a\.jpg and .*a\.png would both"):
        find_images(str(photos), photos / "out")


def test_existing_outputs_are_kept_unless_asked(photos, tmp_path):
    output = tmp_path / "out"
    (output / "color/street").mkdir(parents=True)
    (output / "color/street/b.png").write_bytes(b"mine")
    inputs = find_images(str(photos), output)
    with pytest.raises(UserError, match=r"1 of the files to write exist.*b\.png"):
        predict_files(constant, inputs, output, STYLE)
    assert files_in(output) == ["color/street/b.png"]
    assert (output / "color/street/b.png").read_bytes() == b"mine"
    predict_files(constant, inputs, output, STYLE, overwrite=True)
    assert pixels(output / "color/street/b.png").shape == (17, 33, 3)


def test_unreadable_images_are_named_and_skipped(photos, tmp_path):
    (photos / "cut.jpg").write_bytes((photos / "street/c.jpg").read_bytes()[:200])
    (photos / "text.png").write_text("no image")
    (photos / "zero.jpg").write_bytes(b"")
    inputs = [*find_images(str(photos), tmp_path), Input(photos / "gone.png", "gone")]
    skipped = predict_files(constant, inputs, tmp_path / "out", STYLE)
    assert sorted(path.name for path in skipped) == ["cut.jpg", "gone.png", "text.png", "zero.jpg"]
    assert all(reason and "\n" not in reason for reason in skipped.values())
    assert files_in(tmp_path / "out/ids") == ["a.png", "street/b.png", "street/c.png"]


def command(*arguments):
    root = Path(predict.__file__).parents[1]
    return subprocess.run(
        [sys.executable, "-m", "c3tf.predict", *arguments],
        cwd=root,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_command_works_from_a_savedmodel_and_reports_bad_images(saved, photos, tmp_path):
    (photos / "text.png").write_text("no image")
    output = tmp_path / "out"
    done = command(f"--model={saved}", f"--images={photos}", f"--output={output}")
    assert done.returncode == predict.EXIT_SOME_SKIPPED, done.stderr
    assert "3 of 4 images predicted" in done.stdout
    assert f"skipped {photos / 'text.png'}: " in done.stderr
    assert files_in(output / "ids") == ["a.png", "street/b.png", "street/c.png"]


def test_the_command_complains_in_one_line(photos, tmp_path):
    done = command(f"--model={tmp_path / 'no'}", f"--images={photos}", f"--output={tmp_path}/out")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith(f"c3tf.predict: error: There is no model at {tmp_path / 'no'}.")
    assert not (tmp_path / "out").exists()
