"""What is written for an image."""

import json
import os
import time

import numpy as np
import pytest
from PIL import Image

import tiny_network
from c3tf.errors import UserError
from c3tf.inference.image_files import Input
from c3tf.inference.options import PSEUDO_AS, PredictionOptions
from c3tf.inference.prediction_files import FORMATS, Outputs
from c3tf.labels import IGNORE, LabelMap
from c3tf.visualization import drawing, heat
from tiny_network import LABEL_MAP

pytestmark = pytest.mark.smoke
THRESHOLDS = np.array([0.5, 0.6, 0.4, 0.7], np.float32)


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_all_formats(tmp_path):
    image = tiny_network.noise(0, 6, 9)
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(4), (6, 9)).astype(np.float32)
    class_map = probabilities.argmax(-1).astype(np.uint8)
    outputs = Outputs(tmp_path, LABEL_MAP, FORMATS, 0.25, THRESHOLDS)
    source = Input(tmp_path / "a.png", "street/a")
    source.path.write_bytes(b"")
    assert not outputs.complete(source)
    outputs.write("street/a", image, class_map, probabilities)
    assert outputs.complete(source)
    # Longer than a tick of the clock that stamps files.
    time.sleep(0.02)
    again = tmp_path / "copy.png"
    again.write_bytes(b"")
    os.utime(again, (1e9, 1e9))
    again.replace(source.path)
    assert not outputs.complete(source), "the image is another one, with the time of an older file"
    outputs.write("street/a", image, class_map, probabilities)
    assert outputs.complete(source)
    os.utime(source.path, (2e9, 2e9))
    assert not outputs.complete(source), "the image is a newer one"
    assert list(outputs.targets("street/a")) == [
        tmp_path / "train_ids/street/a.png",
        tmp_path / "label_ids/street/a.png",
        tmp_path / "color/street/a.png",
        tmp_path / "overlay/street/a.png",
        tmp_path / "probabilities/street/a.npz",
        tmp_path / "confidence/street/a.png",
        tmp_path / "uncertainty/street/a.png",
        tmp_path / "pseudo_labels/street/a.png",
    ]
    train_ids, label_ids, color, overlay, archive, *of_doubt = outputs.targets("street/a")
    np.testing.assert_array_equal(pixels(train_ids), class_map)
    np.testing.assert_array_equal(pixels(label_ids), np.array(LABEL_MAP.raw_ids)[class_map])
    np.testing.assert_array_equal(pixels(color), np.array(LABEL_MAP.colors)[class_map])
    expected = drawing.overlay(image, class_map, LABEL_MAP, 0.25)
    np.testing.assert_array_equal(pixels(overlay), expected)
    with np.load(archive, allow_pickle=False) as held:
        assert held["probabilities"].dtype == np.float16
        np.testing.assert_allclose(held["probabilities"], probabilities, atol=1e-3)
        assert held["class_names"].tolist() == list(LABEL_MAP.class_names)
    sure, unsure, pseudo = map(pixels, of_doubt)
    highest = probabilities.max(-1)
    np.testing.assert_array_equal(sure, np.rint(255 * highest))
    entropy = -(probabilities * np.log(probabilities)).sum(-1) / np.log(4)
    np.testing.assert_array_equal(unsure, heat.heat_over(image, entropy.astype("f4"), 0.25))
    reached = highest >= THRESHOLDS[class_map]
    assert 0 < reached.mean() < 1
    np.testing.assert_array_equal(pseudo, np.where(reached, class_map, IGNORE))


def test_pseudo_labels_in_the_data_sets_ids_and_for_an_editor(tmp_path):
    class_map = np.zeros((12, 12), np.uint8)
    class_map[2:8, 3:9] = 1
    probabilities = np.eye(4, dtype=np.float32)[class_map] * 0.9
    probabilities[:, 11] = 0.3
    image, source = tiny_network.noise(0, 12, 12), tmp_path / "photos/a.jpg"
    for kind in PSEUDO_AS:
        outputs = Outputs(tmp_path / kind, LABEL_MAP, ("pseudo_labels",), 0.5, THRESHOLDS, kind)
        outputs.write("street/a", image, class_map, probabilities, source)
    raw = pixels(tmp_path / "label_ids/pseudo_labels/street/a.png")
    assert (raw[:, 11] == IGNORE).all()
    np.testing.assert_array_equal(raw[:, :11], np.array(LABEL_MAP.raw_ids)[class_map[:, :11]])
    held = json.loads((tmp_path / "labelme/pseudo_labels/street/a.json").read_text())
    assert [shape["label"] for shape in held["shapes"]] == ["ground", "wall"]
    assert held["imagePath"] == "../../../photos/a.jpg"


def test_a_model_without_thresholds_makes_no_pseudo_labels(tmp_path):
    with pytest.raises(UserError, match=r"--format=pseudo_labels.*needs a model with DCRS"):
        Outputs(tmp_path, LABEL_MAP, ("pseudo_labels",))
    with pytest.raises(UserError, match=r"--pseudo_as.*needs --format=pseudo_labels"):
        PredictionOptions(pseudo_as="labelme")
    with pytest.raises(UserError, match=r"--pseudo_as=xml"):
        PredictionOptions(formats=("pseudo_labels",), pseudo_as="xml")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"formats": ()}, "--format"),
        ({"formats": ("ids",)}, "--format=ids"),
        ({"formats": ("color", "color")}, "--format"),
        ({"opacity": 1.5}, r"--opacity=1\.5"),
        ({"batch_size": 0}, "--batch_size=0"),
        ({"height": -1}, "--height=-1"),
        ({"resume": True, "overwrite": True}, "not both"),
    ],
)
def test_wrong_options_are_refused_before_anything_is_opened(options, message):
    with pytest.raises(UserError, match=message):
        PredictionOptions(**options)


def test_ids_that_are_no_bytes_are_refused_at_the_start(tmp_path):
    wide = LabelMap("wide", ("a", "b"), LABEL_MAP.colors[:2], (1, 1000))
    with pytest.raises(UserError, match=r"--format=label_ids.*1000"):
        Outputs(tmp_path, wide, ("label_ids",))
    with pytest.raises(UserError, match=r"--pseudo_as=label_ids.*1000"):
        Outputs(tmp_path, wide, ("pseudo_labels",), 0.5, np.zeros(2), "label_ids")
    Outputs(tmp_path, wide, ("train_ids",))


def test_an_input_is_never_a_target(tmp_path):
    (tmp_path / "color").mkdir()
    source = tmp_path / "color/a.png"
    source.write_bytes(b"an image")
    (tmp_path / "alias").symlink_to(tmp_path)
    outputs = Outputs(tmp_path / "alias", LABEL_MAP, ("color",))
    with pytest.raises(UserError, match="would replace an image"):
        outputs.check_inputs_are_kept([Input(source, "a")])
    outputs.check_inputs_are_kept([Input(source, "b")])
