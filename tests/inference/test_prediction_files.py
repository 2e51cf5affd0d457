"""What is written for an image."""

import os

import numpy as np
import pytest
from PIL import Image

import tiny_network
from c3tf.errors import UserError
from c3tf.inference.image_files import Input
from c3tf.inference.prediction_files import FORMATS, Outputs
from c3tf.labels import LabelMap
from c3tf.visualization import drawing
from tiny_network import LABEL_MAP

pytestmark = pytest.mark.smoke


def pixels(path):
    with Image.open(path) as image:
        return np.asarray(image)


def test_all_formats(tmp_path):
    image = tiny_network.noise(0, 6, 9)
    rng = np.random.default_rng(1)
    probabilities = rng.dirichlet(np.ones(4), (6, 9)).astype(np.float32)
    class_map = probabilities.argmax(-1).astype(np.uint8)
    outputs = Outputs(tmp_path, LABEL_MAP, FORMATS, opacity=0.25)
    source = Input(tmp_path / "a.png", "street/a")
    source.path.write_bytes(b"")
    assert not outputs.complete(source)
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
    ]
    train_ids, label_ids, color, overlay, archive = outputs.targets("street/a")
    np.testing.assert_array_equal(pixels(train_ids), class_map)
    np.testing.assert_array_equal(pixels(label_ids), np.array(LABEL_MAP.raw_ids)[class_map])
    np.testing.assert_array_equal(pixels(color), np.array(LABEL_MAP.colors)[class_map])
    expected = drawing.overlay(image, class_map, LABEL_MAP, 0.25)
    np.testing.assert_array_equal(pixels(overlay), expected)
    with np.load(archive, allow_pickle=False) as held:
        assert held["probabilities"].dtype == np.float16
        np.testing.assert_allclose(held["probabilities"], probabilities, atol=1e-3)
        assert held["class_names"].tolist() == list(LABEL_MAP.class_names)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"formats": ()}, "--format"),
        ({"formats": ("ids",)}, "--format=ids"),
        ({"formats": ("color", "color")}, "--format"),
        ({"opacity": 1.5}, r"--opacity=1\.5"),
    ],
)
def test_refuses_wrong_options(tmp_path, options, message):
    with pytest.raises(UserError, match=message):
        Outputs(tmp_path, LABEL_MAP, **options)


def test_ids_that_are_no_bytes_are_refused_at_the_start(tmp_path):
    wide = LabelMap("wide", ("a", "b"), LABEL_MAP.colors[:2], (1, 1000))
    with pytest.raises(UserError, match=r"--format=label_ids.*1000"):
        Outputs(tmp_path, wide, ("label_ids",))
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
