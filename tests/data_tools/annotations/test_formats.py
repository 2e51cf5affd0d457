"""What each format's reader makes of its files, and what it refuses."""

import base64
import io
import json
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

import image_files
from c3tf.errors import UserError
from data_tools.annotations import formats
from data_tools.annotations.shapes import Bitmap, Polygon

SQUARE = [[1, 1], [4, 1], [4, 3], [1, 3]]
FLAT = [value for point in SQUARE for value in point]
COVERED = np.zeros((6, 8), bool)
COVERED[1:4, 1:5] = True
BITMAP = np.array([[True, False], [True, True]])


def png(mask, mode="L"):
    pixels = Image.fromarray(mask.astype(np.uint8) * 255)
    if mode == "RGBA":
        pixels = Image.merge("RGBA", [Image.new("L", pixels.size, 9)] * 3 + [pixels])
    file = io.BytesIO()
    pixels.save(file, "png")
    return file.getvalue()


def coco(*annotations):
    return {
        "images": [{"id": 3, "file_name": "a.jpg", "height": 6, "width": 8}],
        "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "tree"}],
        "annotations": [{"id": 7, "image_id": 3, "category_id": 1, **a} for a in annotations],
    }


def labelme(*shapes):
    held = [{"label": "car", "points": SQUARE, "shape_type": "polygon", **s} for s in shapes]
    return {"imagePath": "..\\x\\a.jpg", "imageHeight": 6, "imageWidth": 8, "shapes": held}


def cvat(*shapes):
    image = f'<image id="0" name="a.jpg" width="8" height="6">{"".join(shapes)}</image>'
    return f"<annotations><version>1.1</version>{image}</annotations>"


def label_studio(*results):
    held = [{"original_width": 8, "original_height": 6, **result} for result in results]
    data = {"image": "/data/upload/1/0a1b2c3d-a.jpg"}
    return [{"id": 5, "data": data, "annotations": [{"result": held}]}]


def supervisely(*objects):
    held = [{"classTitle": "car", **o} for o in objects]
    return {"size": {"height": 6, "width": 8}, "objects": held}


def cityscapes(*objects):
    return {"imgHeight": 6, "imgWidth": 8, "objects": list(objects)}


def polygonlabels(points, label="car"):
    points = [[100 * x / 8, 100 * y / 6] for x, y in points]
    return {"type": "polygonlabels", "value": {"points": points, "polygonlabels": [label]}}


def read(folder, kind, data):
    name = {"cityscapes": "a_polygons.json", "cvat": "a.xml", "supervisely": "a.jpg.json"}
    path = folder / name.get(kind, "a.json")
    path.write_text(data if isinstance(data, str) else json.dumps(data))
    return list(formats.read(kind, str(path)))


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


# 4 x 2 pixels from (1, 1), turned a quarter clockwise.
QUARTER = np.zeros((6, 8), bool)
QUARTER[0:5, 2:5] = True


@pytest.mark.parametrize(
    ("kind", "data", "expected"),
    [
        # CVAT turns around the centre, Label Studio around the corner that x and y name.
        ("cvat", cvat('<box label="car" xtl="1" ytl="1" xbr="5" ybr="3" rotation="90"/>'), QUARTER),
        (
            "label_studio",
            label_studio(
                {
                    "type": "rectanglelabels",
                    "value": {
                        "x": 50, "y": 0, "width": 50, "height": 100 / 3, "rotation": 90,
                        "rectanglelabels": ["car"],
                    },
                }
            ),
            QUARTER,
        ),
        # X-AnyLabeling's rectangles have four corners.
        ("labelme", labelme({"shape_type": "rectangle"}), COVERED),
        ("supervisely",
         supervisely({"geometryType": "polygon", "points": {"exterior": SQUARE}}), COVERED),
    ],
)  # fmt: skip
def test_other_ways_to_write_a_shape(tmp_path, kind, data, expected):
    (drawing,) = read(tmp_path, kind, data)
    np.testing.assert_array_equal(drawing.shapes[0].cover((6, 8)), expected)


@pytest.mark.parametrize("kind", ["cvat", "label_studio"])
def test_flat_ellipses_that_are_turned_are_high(tmp_path, kind):
    value = {"x": 37.5, "y": 100 / 3, "radiusX": 25, "radiusY": 3, "rotation": 90}
    region = {"type": "ellipselabels", "value": {**value, "ellipselabels": ["car"]}}
    text = '<ellipse label="car" cx="3" cy="2" rx="2.0" ry="0.2" rotation="90.00"/>'
    data = cvat(text) if kind == "cvat" else label_studio(region)
    (drawing,) = read(tmp_path, kind, data)
    rows, columns = np.nonzero(drawing.shapes[0].cover((6, 8)))
    assert set(rows) == {0, 1, 2, 3, 4}
    assert set(columns) <= {2, 3}


@pytest.mark.parametrize(
    ("address", "names"),
    [
        ("/data/upload/1/0a1b2c3d-a.jpg",
         ["a.jpg", "/data/upload/1/0a1b2c3d-a.jpg", "0a1b2c3d-a.jpg"]),
        ("/data/local-files/?d=my%20street/a+b.jpg", ["my street/a+b.jpg", "a+b.jpg"]),
        ("https://host/set/a.jpg?sig=b%2Fc.d", ["host/set/a.jpg", "a.jpg"]),
        ("C:\\set\\a.jpg", ["C:/set/a.jpg", "a.jpg"]),
        ("/image2", ["b.jpg", "0a1b2c3d-b.jpg", "0a1b2c3d-b.jpg"]),
    ],
)  # fmt: skip
def test_names_of_label_studio(tmp_path, address, names):
    data = label_studio(polygonlabels(SQUARE))
    data[0]["data"] = {"caption": "A street, seen from no. 5", "picture": address}
    data[0]["file_upload"] = "0a1b2c3d-b.jpg"
    (drawing,) = read(tmp_path, "label_studio", data)
    assert [drawing.image, *drawing.other_names] == names


def test_photos_of_cvats_subsets_and_supervisely_own_pictures(tmp_path):
    text = cvat('<polygon label="car" points="1,1;4,1;4,3"/>')
    (drawing,) = read(tmp_path, "cvat", text.replace("<image ", '<image subset="Test" '))
    assert (drawing.image, drawing.beside) == ("a.jpg", "Test/a.jpg")
    # One bit a pixel, of a palette whose first colour is transparent.
    file = io.BytesIO()
    picture = Image.fromarray(BITMAP.astype(np.uint8), "P")
    picture.putpalette([0, 0, 0, 255, 255, 255])
    picture.save(file, "png", transparency=0, bits=1)
    held = {"data": base64.b64encode(zlib.compress(file.getvalue())).decode(), "origin": [1, 2]}
    data = supervisely({"geometryType": "bitmap", "bitmap": held})
    (drawing,) = read(tmp_path, "supervisely", data)
    np.testing.assert_array_equal(drawing.shapes[0].pixels, BITMAP)


def test_uploads_in_label_studios_coco(tmp_path):
    data = coco({"segmentation": [FLAT]})
    data["images"][0]["file_name"] = "images/0a1b2c3d-a.jpg"
    assert list(read(tmp_path, "coco", data)[0].other_names) == []
    data["info"] = {"contributor": "Label Studio"}
    assert list(read(tmp_path, "coco", data)[0].other_names) == ["a.jpg"]


def test_a_supervisely_project_is_read_as_a_folder(tmp_path):
    (tmp_path / "meta.json").write_text('{"classes": [], "tags": []}')
    (tmp_path / "street/ann").mkdir(parents=True)
    data = supervisely({"geometryType": "polygon", "points": {"exterior": SQUARE}})
    (tmp_path / "street/ann/a.jpg.json").write_text(json.dumps(data))
    (drawing,) = formats.read("supervisely", str(tmp_path))
    assert (drawing.image, drawing.beside) == ("a.jpg", str(tmp_path / "street/img/a.jpg"))


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
