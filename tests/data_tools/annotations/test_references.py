"""Drawn masks and decoded codes against those of the tools that the formats come from."""

import json

import cv2
import numpy as np
import pytest
from cityscapesscripts.helpers.annotation import Annotation
from cityscapesscripts.preparation.json2labelImg import createLabelImage
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pycocotools import mask as coco_mask

from data_tools.annotations import cityscapes, labelme, runs, shapes
from data_tools.annotations.shapes import AnnotationError, Polygon

masks = arrays.arrays(bool, st.tuples(st.integers(1, 40), st.integers(1, 40)))
# `labelme.utils.shape_to_mask` of labelme 6.3.1 on (10, 11) pixels.
LABELME = {
    "polygon": (
        [[1.2, 1.7], [8.4, 2.2], [6.6, 7.9], [2.5, 6.1]],
        "0:0 1:1-1 2:1-8 3:1-8 4:2-7 5:2-7 6:2-6 7:6-6",
    ),
    "circle": ([[5, 5], [7.5, 6]], "2:4-5 3:3-6 4:2-7 5:2-7 6:3-6 7:4-5"),
}
# `label_studio_sdk.converter.brush.mask2rle` of a 5 x 7 and a 6 x 9 mask, its bytes in hex.
BRUSHES = [
    (
        "0000000 0011110 0010110 0011110 0000000",
        "0000008c391bfe2300bfff6c023ff8c027ffb6017fff0f8000",
    ),
    (
        "100011111 110101011 000011101 111100110 011010100 101011010",
        "000000d8391bfc7ff6c030dffc6011ffc6011ffc6013ffdf00b7ff180613ff9c027ff9c027ff8c02"
        "3ff8c023ff9c023ff8c023ff8c027ff8c023ff8c00",
    ),
]


def rows(text, size):
    """Makes a mask of its rows' first and last pixels."""
    mask = np.zeros(size, bool)
    for row in text.split():
        at, _, ends = row.partition(":")
        first, _, last = ends.partition("-")
        if last:
            mask[int(at), int(first) : int(last) + 1] = True
    return mask


@settings(max_examples=60, deadline=None)
@given(masks)
def test_run_lengths_are_those_of_pycocotools(mask):
    code = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    counts = runs.counts_of_text(code["counts"].decode(), "a")
    np.testing.assert_array_equal(runs.pixels_of_counts(counts, *mask.shape, "a"), mask)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 39), st.floats(0, 29)), min_size=3, max_size=8))
def test_polygons_are_those_of_pycocotools_within_a_pixel_of_the_border(points):
    """They count pixels by their centres, here the border belongs to the polygon."""
    codes = coco_mask.frPyObjects([[value for point in points for value in point]], 30, 40)
    theirs = coco_mask.decode(codes)[:, :, 0].astype(bool)
    ours = Polygon("car", points).cover((30, 40))
    border = np.zeros((30, 40), bool)
    for first, second in zip(points, [*points[1:], points[0]], strict=True):
        border |= Polygon("line", [first, second]).cover((30, 40))
    assert not ((ours ^ theirs) & ~wider(border)).any()


def wider(mask):
    """Adds the pixels that touch a mask."""
    return cv2.dilate(mask.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0


@pytest.mark.parametrize("kind", LABELME)
def test_shapes_are_those_of_labelme_within_a_pixel(kind, tmp_path):
    points, text = LABELME[kind]
    path = tmp_path / "a.json"
    shape = {"label": "car", "points": points, "shape_type": kind}
    path.write_text(json.dumps({"imagePath": "a.jpg", "shapes": [shape]}))
    (drawing,) = labelme.read(str(path))
    ours, theirs = drawing.shapes[0].cover((10, 11)), rows(text, (10, 11))
    if kind == "polygon":
        np.testing.assert_array_equal(ours, theirs)
    assert not (ours & ~wider(theirs)).any()
    assert not (theirs & ~wider(ours)).any()


@pytest.mark.parametrize(("mask", "code"), BRUSHES)
def test_brushes_are_those_of_label_studio(mask, code):
    expected = np.array([[pixel == "1" for pixel in row] for row in mask.split()])
    code = list(bytes.fromhex(code))
    np.testing.assert_array_equal(runs.pixels_of_brush(code, *expected.shape, "a"), expected)
    with pytest.raises(AnnotationError, match="ends too early"):
        runs.pixels_of_brush(code[: len(code) // 2], *expected.shape, "a")
    with pytest.raises(AnnotationError, match=r"holds \d+ values, and 3 x 3 pixels have 36"):
        runs.pixels_of_brush(code, 3, 3, "a")


def test_cityscapes_masks_are_those_of_its_own_program(tmp_path):
    objects = [
        ("road", [[0, 30], [63, 28], [63, 47], [0, 47]]),
        ("parking", [[0, 28], [20, 28], [20, 36], [0, 36]]),
        ("cargroup", [[30, 20], [50, 20], [52, 35], [28, 34]]),
        ("license plate", [[33, 28], [36, 28], [36, 30], [33, 30]]),
        ("pole", [[10, 2], [11, 2], [11, 30], [10, 30]]),
        ("polegroup", [[14, 2], [16, 2], [16, 30], [14, 30]]),
    ]
    data = {"imgHeight": 48, "imgWidth": 64}
    data["objects"] = [{"label": label, "polygon": polygon} for label, polygon in objects]
    path = tmp_path / "a_gtFine_polygons.json"
    path.write_text(json.dumps(data))
    annotation = Annotation()
    annotation.fromJsonText(path.read_text())
    theirs = np.asarray(createLabelImage(annotation, "ids"))
    (drawing,) = cityscapes.read(str(path))
    ids = {"road": 7, "parking": 9, "car": 26, "pole": 17, "polegroup": 18}
    ours = shapes.draw(drawing, drawing.size, ids, 0)
    np.testing.assert_array_equal(ours, theirs)
    assert set(np.unique(theirs)) == {0, 7, 9, 26, 17, 18}
    assert drawing.image == "a_leftImg8bit.png"
