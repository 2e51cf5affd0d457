"""Predicting files: from images to outputs, resumed, refused, and as a command."""

import dataclasses
import json
import re
import shutil
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tiny_network
from c3tf import models, predict
from c3tf.errors import UserError
from c3tf.inference import networks, predict_files, prediction
from c3tf.inference.image_files import find_images
from c3tf.inference.options import PredictionOptions
from c3tf.inference.prediction_files import Outputs
from c3tf.io import locks
from c3tf.io.predicted import RECORD_FILE
from c3tf.serving import saved_model
from tiny_network import LABEL_MAP

SIZES = {"a.png": (24, 40), "street/b.PNG": (17, 33), "street/c.jpg": (30, 20)}
SETTINGS = {"model": {"step": 3}}


@pytest.fixture(scope="module")
def network():
    return tiny_network.build()


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "saved"
    return saved_model.save(network, LABEL_MAP, path, source={"image_height": 512})


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


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_folder_of_mixed_sizes(network, saved, photos, tmp_path, batch_size):
    outputs, seen = Outputs(tmp_path / "out", LABEL_MAP), []
    served = saved_model.load(saved)
    inputs = find_images(str(photos)).inputs
    work = prediction.FilePredictor(served.predict, outputs, batch_size=batch_size)
    assert work.run(inputs, seen.append) == {}
    assert seen == sorted(seen)
    assert seen[-1] == 3
    names = ["a", "street/b", "street/c"]
    assert files_in(tmp_path / "out") == [
        f"{kind}/{n}.png" for kind in ("color", "overlay", "train_ids") for n in names
    ]
    for source, name in zip(SIZES, names, strict=True):
        ids = pixels(tmp_path / f"out/train_ids/{name}.png")
        direct = networks.class_map(network, tf.constant(pixels(photos / source)[None]))[0]
        np.testing.assert_array_equal(ids, direct)


def test_a_smaller_image_for_the_network_and_results_at_the_images_size(photos, tmp_path):
    seen = []

    def predictor(images, size):
        seen.append(tuple(images.shape))
        return constant(images, size)

    outputs = Outputs(tmp_path / "out", LABEL_MAP, ("train_ids",))
    inputs = find_images(str(photos / "a.png")).inputs
    prediction.FilePredictor(predictor, outputs, height=12).run(inputs)
    assert seen == [(1, 12, 20, 3)]
    assert pixels(tmp_path / "out/train_ids/a.png").shape == (24, 40)


def test_unreadable_images_are_named_and_the_others_predicted(photos, tmp_path):
    (photos / "cut.jpg").write_bytes((photos / "street/c.jpg").read_bytes()[:200])
    (photos / "text.png").write_text("no image")
    inputs = find_images(str(photos)).inputs
    outputs, seen = Outputs(tmp_path / "out", LABEL_MAP), []
    skipped = prediction.FilePredictor(constant, outputs, batch_size=2).run(inputs, seen.append)
    assert sorted(path.name for path in skipped) == ["cut.jpg", "text.png"]
    assert files_in(tmp_path / "out/train_ids") == ["a.png", "street/b.png", "street/c.png"]
    assert seen[-1] == 5


def test_existing_outputs_are_kept_unless_asked(photos, tmp_path):
    output = tmp_path / "out"
    (output / "color/street").mkdir(parents=True)
    (output / "color/street/b.png").write_bytes(b"mine")
    inputs = find_images(str(photos)).inputs
    outputs = Outputs(output, LABEL_MAP)
    with pytest.raises(UserError, match=r"1 of the files to write exist.*b\.png"):
        prediction.remaining(inputs, outputs, SETTINGS)
    assert files_in(output) == ["color/street/b.png"]
    assert (output / "color/street/b.png").read_bytes() == b"mine"
    assert prediction.remaining(inputs, outputs, SETTINGS, overwrite=True) == inputs
    prediction.FilePredictor(constant, outputs).run(inputs)
    assert pixels(output / "color/street/b.png").shape == (17, 33, 3)


def test_resuming_predicts_what_is_missing_and_keeps_the_rest(photos, tmp_path):
    outputs = Outputs(tmp_path / "out", LABEL_MAP)
    inputs = find_images(str(photos)).inputs
    prediction.remaining(inputs, outputs, SETTINGS)
    prediction.FilePredictor(constant, outputs).run(inputs[:2])
    (tmp_path / "out/overlay/a.png").unlink()
    before = (tmp_path / "out/train_ids/street/b.png").stat().st_mtime_ns
    left = prediction.remaining(inputs, outputs, SETTINGS, resume=True)
    assert [item.name for item in left] == ["a", "street/c"]
    prediction.FilePredictor(constant, outputs).run(left)
    assert prediction.remaining(inputs, outputs, SETTINGS, resume=True) == []
    assert (tmp_path / "out/train_ids/street/b.png").stat().st_mtime_ns == before
    with pytest.raises(UserError, match=r"Another model: .*3.* there, .*4.* now"):
        prediction.remaining(inputs, outputs, {"model": {"step": 4}}, resume=True)


def command(repository, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "c3tf.predict", *map(str, arguments)],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_the_command_works_from_a_savedmodel_and_reports_bad_images(
    network, saved, photos, tmp_path, repository
):
    (photos / "text.png").write_text("no image")
    (photos / "gone.png").symlink_to(photos / "nothing")
    output = tmp_path / "out"
    arguments = [f"--model={saved}", f"--images={photos}", f"--output={output}", "--batch_size=2"]
    arguments += ["--format=train_ids,probabilities"]
    done = command(repository, *arguments)
    assert done.returncode == predict.EXIT_SOME_SKIPPED, done.stderr
    assert re.search(r"3 of 5 images predicted to \S+, \d+\.\d\d per second\n", done.stdout)
    assert f"skipped {photos / 'text.png'}: no JPEG or PNG" in done.stderr
    assert f"skipped {photos / 'gone.png'}: a link" in done.stderr
    assert "warning: 3 of 3 images were shown to the network much smaller" in done.stderr
    assert files_in(output / "train_ids") == ["a.png", "street/b.png", "street/c.png"]
    ids = pixels(output / "train_ids/street/b.png")
    image = pixels(photos / "street/b.PNG")[None]
    np.testing.assert_array_equal(ids, networks.class_map(network, image)[0])
    with np.load(output / "probabilities/street/b.npz") as held:
        direct = networks.probabilities(network)(tf.constant(image))[0]
        np.testing.assert_allclose(held["probabilities"], direct, atol=1e-3)
    record = json.loads((output / RECORD_FILE).read_text())
    assert record["complete"]
    assert record["images"] == 3
    assert len(record["skipped"]) == 2
    assert record["settings"]["model"]["kind"] == "saved_model"
    again = command(repository, *arguments, "--resume")
    assert f"3 of 5 images predicted to {output}, 3 of them before\n" in again.stdout


def test_the_command_writes_a_video_and_names_a_broken_frame(saved, tmp_path, repository):
    source, output = tmp_path / "drive.avi", tmp_path / "out.mp4"
    writer = cv2.VideoWriter(
        str(source), cv2.CAP_FFMPEG, cv2.VideoWriter_fourcc(*"MJPG"), 10, (64, 48)
    )
    for seed in range(5):
        writer.write(tiny_network.noise(seed, 48, 64))
    writer.release()
    data = source.read_bytes()
    frames = data.index(b"movi")
    third, fourth = [frames + found.start() for found in re.finditer(b"00dc", data[frames:])][2:4]
    source.write_bytes(data[: third + 8] + bytes(fourth - third - 8) + data[fourth:])
    arguments = [f"--model={saved}", f"--video={source}", f"--output={output}", "--show=beside"]
    done = command(repository, *arguments, "--batch_size=2")
    assert done.returncode == predict.EXIT_SOME_SKIPPED, done.stderr
    assert f"{source}: frame 3 (at 0.20 s) cannot be read; it shows the one before" in done.stderr
    assert f"4 frames predicted to {output}, " in done.stdout
    assert "per second; 10 per second are shown" in done.stdout
    written = cv2.VideoCapture(str(output))
    assert written.get(cv2.CAP_PROP_FRAME_COUNT) == 5
    assert written.read()[1].shape == (48, 128, 3)


def test_the_command_complains_in_one_line(photos, tmp_path, repository):
    done = command(
        repository,
        f"--model={tmp_path / 'no'}",
        f"--images={photos}",
        f"--output={tmp_path}/out",
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.endswith(f"c3tf.predict: error: There is no model at {tmp_path / 'no'}.")
    assert not (tmp_path / "out").exists()


def test_a_prediction_goes_on_with_the_same_contents_wherever_the_model_lies(photos, tmp_path):
    first = models.open_model(saved_model.save(tiny_network.build(0), LABEL_MAP, tmp_path / "one"))
    other = models.open_model(saved_model.save(tiny_network.build(1), LABEL_MAP, tmp_path / "two"))
    moved = models.open_model(shutil.move(tmp_path / "one", tmp_path / "moved"))
    output, options = str(tmp_path / "out"), PredictionOptions(formats=("train_ids",))
    predict_files.predict_files(lambda: first, str(photos), output, options)
    resumed = dataclasses.replace(options, resume=True)
    again = predict_files.predict_files(lambda: moved, str(photos), output, resumed)
    assert (again.total, again.there) == (3, 3)
    # Another model that took the first one's place.
    replaced = dataclasses.replace(other, source={**other.source, "model": first.source["model"]})
    with pytest.raises(UserError, match="Another model"):
        predict_files.predict_files(lambda: replaced, str(photos), output, resumed)


def _write(inputs, outputs, value):
    """Predicts one class everywhere, later than a tick of the clock that stamps files."""

    def predict(images, size):
        return tf.cast(tf.fill([tf.shape(images)[0], *tf.unstack(size)], value), tf.uint8)

    time.sleep(0.02)
    prediction.FilePredictor(predict, outputs).run(inputs)


def test_what_was_made_with_something_else_does_not_count_as_done(photos, tmp_path):
    inputs, outputs = find_images(str(photos)).inputs, Outputs(tmp_path, LABEL_MAP, ("train_ids",))
    first, second = {"model": {"sha256": "1"}}, {"model": {"sha256": "2"}}
    _write(prediction.remaining(inputs, outputs, first), outputs, 1)
    prediction.finish(outputs, 3, {})
    # Stopped after its first image: the others are still by the first model.
    time.sleep(0.02)
    assert prediction.remaining(inputs, outputs, second, overwrite=True) == inputs
    _write(inputs[:1], outputs, 2)
    left = prediction.remaining(inputs, outputs, second, resume=True)
    assert left == inputs[1:]
    _write(left, outputs, 2)
    prediction.finish(outputs, 3, {})
    assert prediction.remaining(inputs, outputs, second, resume=True) == []
    # Nothing says what they are by.
    (tmp_path / RECORD_FILE).unlink()
    with pytest.raises(UserError, match=r"--resume needs .*prediction.json.*3 of the files"):
        prediction.remaining(inputs, outputs, second, resume=True)


def test_images_of_the_same_names_in_another_folder_do_not_count_as_done(photos, tmp_path):
    shutil.copytree(photos, tmp_path / "other")
    outputs = Outputs(tmp_path / "out", LABEL_MAP, ("train_ids",))
    inputs, others = (find_images(str(tmp_path / n)).inputs for n in ("photos", "other"))
    _write(prediction.remaining(inputs, outputs, SETTINGS), outputs, 1)
    with pytest.raises(UserError, match=r"--resume needs the images .*photos there, in .*other"):
        prediction.remaining(others, outputs, SETTINGS, resume=True)
    # One of them, and the same folder by another way, are the same images.
    (tmp_path / "link").symlink_to(photos)
    for pattern in (photos / "a.png", tmp_path / "link", photos / "*/*.jpg"):
        images = find_images(str(pattern)).inputs
        assert prediction.remaining(images, outputs, SETTINGS, resume=True) == []


def test_one_prediction_at_a_time_and_nothing_unfinished_stays(photos, tmp_path):
    model = models.open_model(saved_model.save(tiny_network.build(), LABEL_MAP, tmp_path / "m"))
    output, options = tmp_path / "out", PredictionOptions(formats=("train_ids",))
    (output / "train_ids").mkdir(parents=True)
    (output / "train_ids" / (".partial-" + "0" * 32 + "-a.png")).write_bytes(b"cut")
    with (
        locks.alone(output, UserError("busy"), ""),
        pytest.raises(UserError, match="Another process predicts into"),
    ):
        predict_files.predict_files(lambda: model, str(photos), str(output), options)
    predict_files.predict_files(lambda: model, str(photos), str(output), options)
    assert files_in(output / "train_ids") == ["a.png", "street/b.png", "street/c.png"]
    # What is refused leaves nothing.
    needy = dataclasses.replace(options, formats=("pseudo_labels",))
    with pytest.raises(UserError, match="needs a model with DCRS thresholds"):
        predict_files.predict_files(lambda: model, str(photos), str(tmp_path / "new"), needy)
    assert not (tmp_path / "new").exists()
