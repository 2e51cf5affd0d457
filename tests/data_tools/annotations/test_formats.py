"""What each format's reader makes of its files, and what it refuses."""

import base64
import json
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import image_files
from annotated_shapes import (
    BITMAP,
    COVERED,
    FLAT,
    SQUARE,
    cityscapes,
    coco,
    cvat,
    label_studio,
    labelme,
    png,
    polygonlabels,
    read,
    supervisely,
)
from c3tf.errors import UserError
from data_tools.annotations import formats
from data_tools.annotations.shapes import Bitmap, Polygon

# A square and what comes after it, by format.
SAME = {
    "coco": coco({"segmentation": [FLAT]}, {"category_id": 2, "segmentation": [FLAT, FLAT]}),
    "labelme": labelme({}, {"label": "tree"}, {"label": "tree", "shape_type": None}),
    "cvat": cvat(
        '<polygon label="tree" points="1,1;4,1;4,3;1,3" z_order="1"/>',
        '<polygon label="car" points="1.00,1.00;4,1;4,3;1,3" z_order="0"></polygon>',
        '<box label="tree" xtl="1" ytl="1" xbr="4" ybr="3" z_order="1"/>',
    ),
    "label_studio": label_studio(
        polygonlabels(SQUARE),
        polygonlabels(SQUARE, "tree"),
        {
            "type": "rectanglelabels",
            "value": {
                "x": 12.5, "y": 100 / 6, "width": 37.5, "height": 100 / 3,
                "rectanglelabels": ["tree"],
            },
        },
        # A choice about a region repeats its points.
        {"type": "choices", "value": {"points": SQUARE, "choices": ["day"]}},
    ),
    "supervisely": supervisely(
        {"geometryType": "polygon", "points": {"exterior": SQUARE, "interior": []}},
        *[
            {
                "classTitle": "tree", "geometryType": "rectangle",
                "points": {"exterior": [[1, 1], [4, 3]], "interior": []},
            }
        ] * 2,
    ),
    "cityscapes": cityscapes(
        {"label": "gone", "polygon": SQUARE, "deleted": 1},
        {"label": "cargroup", "polygon": SQUARE},
        {"label": "tree", "polygon": SQUARE},
        {"label": "tree", "polygon": SQUARE, "deleted": 0},
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", SAME)
def test_the_same_square_is_read_from_every_format_in_drawing_order(tmp_path, kind):
    (drawing,) = read(tmp_path, kind, SAME[kind])
    assert drawing.size == (6, 8)
    assert drawing.image == ("a_leftImg8bit.png" if kind == "cityscapes" else "a.jpg")
    assert [shape.label for shape in drawing.shapes] == ["car", "tree", "tree"]
    for shape in drawing.shapes:
        np.testing.assert_array_equal(shape.cover((6, 8)), COVERED)


def test_every_format_has_a_case():
    assert set(SAME) == set(formats.FORMATS)


BRUSH = [0, 0, 0, 216, 57, 27, 252, 127, 246, 192, 48, 223]


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("coco", coco({"segmentation": {"size": [6, 8], "counts": [8, 2, 5, 1, 32]}})),
        ("coco", coco({"segmentation": {"size": [6, 8], "counts": "825Ok0"}, "iscrowd": 1})),
        ("cvat", cvat('<mask label="car" rle="0,1,1,2" left="1" top="2" width="2" height="2"/>')),
        (
            "labelme",
            labelme(
                {
                    "shape_type": "mask", "points": [[1, 2], [2, 3]],
                    "mask": base64.b64encode(png(BITMAP)).decode(),
                }
            ),
        ),
        (
            "supervisely",
            supervisely(
                {
                    "geometryType": "bitmap",
                    "bitmap": {
                        "data": base64.b64encode(zlib.compress(png(BITMAP, "RGBA"))).decode(),
                        "origin": [1, 2],
                    },
                }
            ),
        ),
    ],
)  # fmt: skip
def test_pixels_are_read(tmp_path, kind, data):
    (drawing,) = read(tmp_path, kind, data)
    expected = np.zeros((6, 8), bool)
    expected[2:4, 1:3] = BITMAP
    np.testing.assert_array_equal(drawing.shapes[0].cover((6, 8)), expected)


def test_holes_are_cut_out_and_ends_cut_off(tmp_path):
    holed = {"exterior": [[0, 0], [7, 0], [7, 5], [0, 5]], "interior": [[[2, 2], [3, 2], [3, 3]]]}
    data = supervisely({"geometryType": "polygon", "points": holed})
    (drawing,) = read(tmp_path, "supervisely", data)
    covered = drawing.shapes[0].cover((6, 8))
    assert not covered[2, 2:4].any()
    assert covered.sum() == 48 - 3
    assert Bitmap("car", np.ones((4, 4), bool), -2, -2).cover((6, 8)).sum() == 4
    assert Bitmap("car", np.ones((4, 4), bool), 9, 0).cover((6, 8)).sum() == 0
    # A line of two corners is what it runs over.
    assert Polygon("car", [(1, 1), (4, 1)]).cover((6, 8)).sum() == 4


def test_two_names_of_one_id_are_refused_and_one_name_of_two_is_not(tmp_path):
    data = coco({"segmentation": [FLAT]}, {"category_id": 2, "segmentation": [FLAT]})
    data["categories"][1]["name"] = "car"
    (drawing,) = read(tmp_path, "coco", data)
    assert [shape.label for shape in drawing.shapes] == ["car", "car"]
    for part, name in (("categories", "tree"), ("images", "b.jpg")):
        twice = json.loads(json.dumps(data))
        called = "name" if part == "categories" else "file_name"
        twice[part].append({**twice[part][0], "id": str(twice[part][0]["id"]), called: name})
        with pytest.raises(UserError, match=f"'{name}' have one id, "):
            read(tmp_path, "coco", twice)


@pytest.mark.parametrize(
    ("kind", "data", "counted"),
    [
        ("coco", coco({"bbox": [1, 1, 2, 2]}), {"box without a segmentation": 1}),
        ("labelme", labelme({"shape_type": "linestrip"}, {"shape_type": "point"}),
         {"linestrip": 1, "point": 1}),
        ("cvat", cvat('<points label="car" points="1,1"/>'), {"points": 1}),
        ("label_studio", label_studio({"type": "keypointlabels", "value": {}}),
         {"keypointlabels": 1}),
        ("supervisely", supervisely({"geometryType": "line"}), {"line": 1}),
    ],
)  # fmt: skip
def test_shapes_without_an_area_are_counted(tmp_path, kind, data, counted):
    (drawing,) = read(tmp_path, kind, data)
    assert (list(drawing.shapes), dict(drawing.open_shapes)) == ([], counted)


def test_the_size_of_a_mask_is_that_of_its_image_where_that_notes_none(tmp_path):
    runs = {"size": [6, 8], "counts": [8, 2, 5, 1, 32]}
    data = coco({"segmentation": runs}, {"segmentation": [FLAT]})
    for side in ("height", "width"):
        del data["images"][0][side]
    (drawing,) = read(tmp_path, "coco", data)
    assert drawing.size == (6, 8)
    data["annotations"][1]["segmentation"] = {"size": [12, 16], "counts": [192]}
    with pytest.raises(UserError, match="mask is of 16 x 12 pixels, its image of 8 x 6"):
        read(tmp_path, "coco", data)


def test_a_finished_task_without_a_region_shows_nothing(tmp_path):
    (drawing,) = read(tmp_path, "label_studio", label_studio())
    assert (list(drawing.shapes), drawing.size) == ([], None)
    assert "a.jpg" in (drawing.image, *drawing.other_names)
    several = label_studio()
    several[0]["data"]["beside"] = "/data/upload/1/b.jpg"
    cancelled = label_studio()
    cancelled[0]["annotations"][0]["was_cancelled"] = True
    no_picture = label_studio()
    no_picture[0]["data"] = {"text": "of another project"}
    for tasks in (several, cancelled, no_picture):
        assert read(tmp_path, "label_studio", tasks) == []


# Masks of LabelMe's: pixels are missing, or blurred.
CUT = base64.b64encode(png(np.ones((40, 40)))[:-30]).decode()
LOSSY = base64.b64encode(image_files.encode(np.ones((4, 4), np.uint8), "JPEG")).decode()


@pytest.mark.parametrize(
    ("kind", "data", "said"),
    [
        ("coco", {}, "lacks `images`"),
        ("coco", coco({"image_id": 4}), "annotation 7 is of image '4'"),
        ("coco", coco({"category_id": 4}), "category 4, which is not in the file"),
        ("coco", coco({"segments_info": []}), "panoptic kind.*instances or stuff"),
        ("coco", {**coco(), "annotations": [{"image_id": 3}]}, "annotation 0 lacks `category_id`"),
        ("coco", coco({"segmentation": [[1, 2, 3]]}), "annotation 7: an outline of 3 numbers"),
        ("coco", coco({"segmentation": ["x"]}), "must be a list"),
        ("coco", coco({"segmentation": [[1, 2, 1e9, 4]]}), "beyond 1000000 pixels"),
        ("coco", coco({"segmentation": {"size": [6, 8], "counts": [48, 2]}}), "of 50 pixels"),
        ("coco", coco({"segmentation": {"size": [6, 8], "counts": "\u00e9"}}), "no run-length"),
        ("coco", coco({"segmentation": {"size": [6, 8], "counts": "o"}}), "within a number"),
        ("coco", coco({"segmentation": {"size": [9, 8], "counts": [72]}}), "its image of 8 x 6"),
        ("coco", coco({"segmentation": {"size": [2**40] * 2, "counts": []}}), "pixels is none"),
        ("labelme", labelme({"shape_type": "spline"}), r"shape 0 \(car\): shapes of the kind"),
        ("labelme", labelme({"points": []}), "must be of at least 1 entries"),
        ("labelme", labelme({"shape_type": "circle", "points": [[1, 1]]}), "needs two points"),
        ("labelme", labelme({"shape_type": "mask", "mask": "x!"}), "mask cannot be read"),
        ("labelme", labelme({"shape_type": "mask", "mask": CUT}), "mask cannot be read"),
        ("labelme", labelme({"shape_type": "mask", "mask": LOSSY}), "is a JPEG"),
        ("labelme", labelme({"shape_type": "rectangle", "points": [[1, 1]] * 3}),
         "two corners or all four"),
        ("cvat", "<a", "no XML file of CVAT's"),
        ("cvat", "<html/>", "it holds <html>"),
        ("cvat", '<!DOCTYPE a [<!ENTITY b "c">]><annotations>&b;</annotations>', "entities"),
        ("cvat", cvat('<polygon label="car" points="1,1;2"/>'), "3 numbers"),
        ("cvat", cvat('<polygon label="car" points="1,1,1;2"/>'), "point must be two"),
        ("cvat", cvat('<polygon label="car" points="1,1;2,x"/>'), "'x' is no number"),
        ("cvat", cvat('<polygon label="car" points="1,1;2,nan"/>'), "beyond"),
        ("cvat", cvat('<mask label="car" rle="inf" left="0" top="0" width="2" height="2"/>'),
         "whole number"),
        ("cvat", cvat('<blob label="car"/>'), "kind 'blob'"),
        ("cvat", cvat('<ellipse cx="1" cy="1" rx="1" ry="1" rotation="inf"/>'), "finite number"),
        ("cvat", '<annotations><track id="0" label="car"/></annotations>',
         "holds tracks.*'CVAT for images 1.1'"),
        ("label_studio", label_studio({"type": "labels", "value": {"x": 1, "labels": ["car"]}}),
         "kind 'labels' are not read, only polygonlabels"),
        ("label_studio", label_studio({"type": "bitmasklabels", "value": {"imageDataURL": ""}}),
         "kind 'bitmasklabels' are not read"),
        ("label_studio", label_studio({**polygonlabels(SQUARE), "image_rotation": 90}),
         "result 0: it was drawn on an image that was turned"),
        ("label_studio", label_studio({**polygonlabels(SQUARE), "item_index": 1}), "a further one"),
        ("label_studio", label_studio({"type": "brushlabels", "value": {"brushlabels": ["car"]}}),
         "lacks `rle`"),
        ("label_studio", label_studio({"type": "polygonlabels", "value": {}}), "be one label"),
        ("label_studio", label_studio({"type": "polygonlabels"}), "be one label"),
        ("label_studio",
         label_studio({"type": "brushlabels", "value": {"rle": BRUSH, "brushlabels": ["car"]}}),
         r"task 5, result 0: .* 8 x 6 pixels have 192"),
        ("supervisely", supervisely({"geometryType": "blob"}), "kind 'blob'"),
        ("supervisely",
         supervisely({"geometryType": "bitmap", "bitmap": {"data": "AAAA", "origin": [0, 0]}}),
         "mask cannot be read"),
        ("cityscapes", cityscapes({"label": "car", "polygon": []}), "an outline of 0 numbers"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(tmp_path, kind, data, said):
    with pytest.raises(UserError, match=said) as caught:
        read(tmp_path, kind, data)
    assert str(tmp_path) in str(caught.value)


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 2**40) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@settings(max_examples=150, deadline=None)
@given(st.data(), st.sampled_from([k for k in SAME if k != "cvat"]))
def test_an_edited_file_is_read_or_refused(tmp_path_factory, data, kind):
    """Any one value of a good file is replaced by any other."""
    edited = json.loads(json.dumps(SAME[kind]))
    places = []

    def note(value):
        for key in value if isinstance(value, dict) else range(len(value)):
            places.append((value, key))
            if isinstance(value[key], dict | list):
                note(value[key])

    note(edited)
    holder, key = data.draw(st.sampled_from(places))
    holder[key] = data.draw(plain)
    try:
        for drawing in read(tmp_path_factory.mktemp("edited"), kind, edited):
            if drawing.size and max(drawing.size) < 100:
                for shape in drawing.shapes:
                    shape.cover(drawing.size)
    except UserError:
        pass
