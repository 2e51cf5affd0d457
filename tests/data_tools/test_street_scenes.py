"""Tests of the street scene generator: its pictures, its labels and the tree it writes."""

import collections
import hashlib
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from c3tf.labels import CITYSCAPES, IGNORE
from data_tools.street_scenes import camera as camera_lib
from data_tools.street_scenes import shadows, tree
from data_tools.street_scenes.canvas import Canvas, homography
from data_tools.street_scenes.conditions import FULL_KINDS, MILD_KINDS, draw_condition
from data_tools.street_scenes.render import FEATURES, render
from data_tools.street_scenes.tree import Plan, TreeError, write_tree

SMALL = Plan(num_labeled=3, num_unlabeled=4, num_val=2, width=128, height=64, seed=5)


@pytest.fixture(scope="module")
def scenes():
    """The labeled images and twelve unlabeled ones of one seed."""
    drawn = {"labeled": 12, "unlabeled": 12}
    return {s: [render(3, s, i, 256, 128) for i in range(n)] for s, n in drawn.items()}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A small tree written by one process."""
    return write_tree(tmp_path_factory.mktemp("scenes") / "tree", SMALL)


def _camera(**changes):
    values = {"width": 200, "height": 100, "focal": 150.0, "center": 100.0, "horizon": 40.0}
    return camera_lib.Camera(**{**values, "eye": 1.5, "yaw": 0.02, "bend": 0.001, **changes})


def _digests(root: pathlib.Path) -> dict[str, str]:
    files = sorted(p for p in root.rglob("*") if p.is_file())
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def test_scene_depends_on_seed_stream_and_index_only(scenes):
    again = render(3, "unlabeled", 4, 256, 128)
    np.testing.assert_array_equal(again.image, scenes["unlabeled"][4].image)
    np.testing.assert_array_equal(again.label, scenes["unlabeled"][4].label)
    others = (3, "val", 4), (4, "unlabeled", 4), (3, "unlabeled", 5)
    for other in others:
        assert not np.array_equal(render(*other, 256, 128).image, again.image)


def test_labels_hold_train_ids_and_some_ignore(scenes):
    seen = np.zeros(np.iinfo(np.uint8).max + 1, np.int64)
    for rendering in scenes["labeled"] + scenes["unlabeled"]:
        assert rendering.image.shape == (128, 256, 3)
        assert rendering.label.shape == (128, 256)
        assert rendering.image.dtype == rendering.label.dtype == np.uint8
        seen += np.bincount(rendering.label.ravel(), minlength=len(seen))
    valid = {*range(CITYSCAPES.num_classes), IGNORE}
    assert set(np.flatnonzero(seen).tolist()) == valid
    assert 0.002 < seen[IGNORE] / seen.sum() < 0.1


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_dozen_labeled_images_hold_every_class(seed):
    images = np.zeros(CITYSCAPES.num_classes, int)
    for index in range(12):
        label = render(seed, "labeled", index, 256, 128).label
        images += np.bincount(label[label != IGNORE], minlength=len(images)) >= 30
    missing = [CITYSCAPES.class_names[i] for i in np.flatnonzero(images == 0)]
    assert not missing


def test_class_frequencies_are_those_of_a_street(scenes):
    labels = np.stack([r.label for group in scenes.values() for r in group])
    share = np.bincount(labels.ravel(), minlength=IGNORE + 1) / labels.size
    share = dict(zip(CITYSCAPES.class_names, share[: CITYSCAPES.num_classes], strict=True))
    for name in ("road", "building", "sky", "vegetation"):
        assert share[name] > 0.04, name
    for name in ("pole", "traffic sign", "rider", "motorcycle", "bicycle", "train", "wall"):
        assert 0.0002 < share[name] < 0.06, name
    assert max(share, key=share.get) == "road"


def test_features_are_dealt_out_evenly():
    counts = collections.Counter()
    for index in range(len(FEATURES)):
        counts.update(render(1, "val", index, 64, 32).features)
    assert counts == dict.fromkeys(FEATURES, 2)


def test_label_edges_lie_on_image_edges():
    # By day, without fog, an object's outline is where the colour changes: the gradient on label
    # edges must be well above the gradient elsewhere, and more than one pixel off the edge it
    # must fall again.
    on, off = [], []
    for index in range(4):
        rendering = render(0, "labeled", index, 256, 128)
        gray = rendering.image.astype(float).mean(2)
        step = np.abs(np.diff(gray, axis=1))
        edge = np.diff(rendering.label.astype(int), axis=1) != 0
        near = edge.copy()
        for shift in (-2, -1, 1, 2):
            near |= np.roll(edge, shift, 1)
        on.append(step[edge].mean())
        off.append(step[~near].mean())
    assert np.mean(on) > 3 * np.mean(off)


def test_weather_varies_more_among_unlabeled(scenes):
    rng = np.random.default_rng(0)
    mild = [draw_condition(rng, mild=True) for _ in range(300)]
    full = [draw_condition(rng, mild=False) for _ in range(300)]
    assert np.mean([c.kind in MILD_KINDS for c in mild]) > 0.8
    assert np.mean([c.kind in MILD_KINDS for c in full]) < 0.5
    assert {c.kind for c in full} == set(FULL_KINDS)
    assert np.std([c.strength for c in full]) > 1.3 * np.std([c.strength for c in mild])
    bright = {s: np.std([r.image.mean() for r in group]) for s, group in scenes.items()}
    assert bright["unlabeled"] > 1.5 * bright["labeled"]


def test_project_agrees_with_the_pinhole_equation():
    camera = _camera()
    points = np.asarray([(1.0, 2.0, 10.0), (-3.0, 0.0, 25.0), (0.5, 1.5, 4.0)])
    s, y, z = points.T
    x = s + 0.02 * z + 0.001 * z**2
    expected = np.stack([100.0 + 150.0 * x / z, 40.0 + 150.0 * (1.5 - y) / z], 1)
    np.testing.assert_allclose(camera.project([tuple(p) for p in points]), expected)
    a, b, c = camera.ground_inverse_depth()
    column, row = camera.point(2.0, 0.0, 12.5)
    assert a + b * column + c * row == pytest.approx(1 / 12.5)


def test_polygons_are_cut_at_the_near_plane():
    quad = [(0.0, 0.0, -5.0), (0.0, 0.0, 5.0), (0.0, 2.0, 5.0), (0.0, 2.0, -5.0)]
    kept = camera_lib.cut_at_near_plane(quad)
    near = camera_lib.NEAR
    expected = [(0, 0, near), (0, 0, 5), (0, 2, 5), (0, 2, near)]
    np.testing.assert_allclose(sorted(np.round(kept, 9).tolist()), sorted(expected))
    assert _camera().project([(s, y, z - 10.0) for s, y, z in quad]) == []


def test_convex_hull_drops_inner_points():
    square = [(0.0, 0.0), (2.0, 0.0), (2.0, 2.0), (0.0, 2.0)]
    assert set(shadows.convex_hull([*square, (1.0, 1.0), (0.5, 1.5)])) == set(square)


def test_homography_takes_corners_to_texture_corners():
    corners = np.asarray([(3.0, 50.0), (60.0, 40.0), (58.0, 10.0), (5.0, 2.0)])
    a, b, c, d, e, f, g, h = homography(corners, height=20, width=30)
    for (x, y), expected in zip(corners, [(0, 20), (30, 20), (30, 0), (0, 0)], strict=True):
        w = g * x + h * y + 1
        assert ((a * x + b * y + c) / w, (d * x + e * y + f) / w) == pytest.approx(expected)


def test_canvas_paints_color_and_surface_with_one_outline():
    canvas = Canvas(_camera())
    sky = canvas.add_upright(10, 100.0)
    canvas.fill(Image.new("RGB", (200, 100)), np.full((100, 200), sky))
    near = canvas.add_upright(13, 5.0)
    canvas.polygon([(20, 20), (80, 25), (50, 70)], (1.0, 1.0, 1.0), near)
    canvas.warp(
        [(100, 90), (180, 80), (170, 20), (110, 30)], np.full((8, 8, 3), 200, np.uint8), near
    )
    buffers = canvas.buffers()
    np.testing.assert_array_equal(buffers.color.any(2), buffers.surface == near)
    assert buffers.label[near] == 13
    assert buffers.inverse_depth[near, 0] == pytest.approx(0.2)


def test_tree_has_the_shape_of_bdd100k(written):
    for split, names in (
        (
            "train",
            [f"labeled-{i:05d}" for i in range(3)] + [f"unlabeled-{i:05d}" for i in range(4)],
        ),
        ("val", [f"val-{i:05d}" for i in range(2)]),
    ):
        images = sorted((written / "images/10k" / split).iterdir())
        masks = sorted((written / "labels/sem_seg/masks" / split).iterdir())
        assert [p.name for p in images] == [f"{n}.jpg" for n in names]
        assert [p.name for p in masks] == [f"{n}.png" for n in names]
        for image, mask in zip(images, masks, strict=True):
            with Image.open(image) as picture, Image.open(mask) as label:
                assert picture.size == label.size == (128, 64)
                assert (picture.mode, label.mode) == ("RGB", "L")
    listed = (written / "splits/labeled.txt").read_text().splitlines()
    assert listed == ["labeled-00000", "labeled-00001", "labeled-00002"]
    description = json.loads((written / "scenes.json").read_text())
    assert [row["name"] for row in description["scenes"]][3] == "unlabeled-00000"
    assert {row["condition"] for row in description["scenes"]} <= set(FULL_KINDS)


def test_written_labels_equal_rendered_ones(written):
    path = written / "labels/sem_seg/masks/train/unlabeled-00002.png"
    expected = render(SMALL.seed, "unlabeled", 2, SMALL.width, SMALL.height).label
    np.testing.assert_array_equal(np.asarray(Image.open(path)), expected)


def test_bytes_do_not_depend_on_workers(written, tmp_path):
    assert _digests(write_tree(tmp_path / "b", SMALL, num_workers=2)) == _digests(written)


def test_existing_output_is_refused_and_kept(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(TreeError, match="nothing is overwritten"):
        write_tree(tmp_path, SMALL)
    assert [p.name for p in tmp_path.iterdir()] == ["mine.txt"]


def test_a_failure_leaves_nothing_behind(tmp_path, monkeypatch):
    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(tree, "render", fail)
    with pytest.raises(TreeError, match="disk full"):
        write_tree(tmp_path / "out", SMALL)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "changes", [{"num_labeled": 0}, {"num_val": -1}, {"width": 8}, {"seed": -3}]
)
def test_bad_numbers_are_refused_by_name(changes):
    (name,) = changes
    with pytest.raises(TreeError, match=f"`{name}`"):
        Plan(**changes)


def test_unknown_stream_is_refused():
    with pytest.raises(ValueError, match="`stream`"):
        render(0, "test", 0, 64, 32)


def test_command_writes_and_refuses_without_tensorflow(tmp_path):
    # Drawing must not wait for TensorFlow: block it as if it were not installed.
    code = (
        "import sys; sys.modules['tensorflow'] = None; sys.modules['keras'] = None\n"
        "import runpy; runpy.run_module('data_tools.street_scenes', run_name='__main__')"
    )
    flags = ["--num_labeled=1", "--num_unlabeled=1", "--num_val=0", "--width=64", "--height=32"]
    command = [sys.executable, "-c", code, *flags, "--num_workers=1", f"--output={tmp_path / 'o'}"]
    root = pathlib.Path(tree.__file__).parents[2]
    first = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert first.returncode == 0, first.stderr
    assert "Wrote 2 scenes" in first.stdout
    second = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert second.returncode == 2
    assert "error: `output` must not exist" in second.stderr
    assert "Traceback" not in second.stderr
