"""Polygons of class maps: drawn as LabelMe draws them they give the class map back."""

import json

import numpy as np
import pytest
from PIL import Image, ImageDraw

from c3tf.inference import labelme
from c3tf.labels import IGNORE
from tiny_network import LABEL_MAP

pytestmark = pytest.mark.smoke


def rasterised(document):
    """Draws the shapes in their order, with Pillow, outline included, as LabelMe does."""
    size = document["imageWidth"], document["imageHeight"]
    canvas = Image.new("L", size, IGNORE)
    ids = {**{name: i for i, name in enumerate(LABEL_MAP.class_names)}, labelme.IGNORED: IGNORE}
    for shape in document["shapes"]:
        points = [tuple(point) for point in shape["points"]]
        assert len(points) >= 3
        value = ids[shape["label"]]
        ImageDraw.Draw(canvas).polygon(points, fill=value, outline=value)
    return np.asarray(canvas)


def near_border(class_map, pixels):
    """Marks what lies within some pixels of another value."""
    found = np.zeros(class_map.shape, bool)
    padded = np.pad(class_map, pixels, mode="edge")
    height, width = class_map.shape
    for dy in range(2 * pixels + 1):
        for dx in range(2 * pixels + 1):
            found |= padded[dy : dy + height, dx : dx + width] != class_map
    return found


def test_regions_within_regions():
    class_map = np.full((60, 80), IGNORE, np.uint8)
    class_map[5:55, 5:75] = 0
    class_map[10:50, 10:70] = 1
    class_map[15:45, 15:35] = IGNORE  # a hole without a class
    class_map[20:40, 20:30] = 0  # and a class in it again
    class_map[15:45, 40:65] = 2
    document = labelme.document(class_map, LABEL_MAP, "a.png")
    drawn = [shape["label"] for shape in document["shapes"]]
    assert drawn == ["ground", "wall", "plant", labelme.IGNORED, "ground"]
    np.testing.assert_array_equal(rasterised(document), class_map)
    assert all(len(shape["points"]) == 4 for shape in document["shapes"])


def test_any_map_comes_back_but_for_its_borders():
    rng = np.random.default_rng(3)
    coarse = np.asarray(
        Image.fromarray(rng.integers(0, 256, (9, 12)).astype(np.uint8)).resize((144, 108))
    )
    class_map = np.select([coarse < 90, coarse < 120, coarse < 150], [0, 1, 3], IGNORE)
    class_map = class_map.astype(np.uint8)
    assert len(np.unique(class_map)) == 4
    drawn = rasterised(labelme.document(class_map, LABEL_MAP, "a.png"))
    wrong = (drawn != class_map) & ~near_border(class_map, 3)
    assert not wrong.any()
    assert (drawn == class_map).mean() > 0.9, "the map is mostly borders"


def test_what_nobody_would_draw_is_left_out():
    class_map = np.zeros((40, 40), np.uint8)
    class_map[3:5, 3:5] = 1
    class_map[20, 5:35] = 2  # a line has no inside
    document = labelme.document(class_map, LABEL_MAP, "a.png")
    assert [shape["label"] for shape in document["shapes"]] == ["ground"]
    assert labelme.polygons(np.full((30, 30), IGNORE, np.uint8)) == []


def test_the_file_is_what_labelme_reads(tmp_path):
    class_map = np.zeros((12, 20), np.uint8)
    path = tmp_path / "out/pseudo_labels/a.json"
    labelme.write(path, class_map, LABEL_MAP, tmp_path / "photos/a.png")
    held = json.loads(path.read_text())
    assert {key: held[key] for key in ("imagePath", "imageHeight", "imageWidth", "imageData")} == {
        "imagePath": "../../photos/a.png",
        "imageHeight": 12,
        "imageWidth": 20,
        "imageData": None,
    }
    (shape,) = held["shapes"]
    assert shape["shape_type"] == "polygon"
    assert sorted(map(tuple, shape["points"])) == [(0, 0), (0, 11), (19, 0), (19, 11)]
