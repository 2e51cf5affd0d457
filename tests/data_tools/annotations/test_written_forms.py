"""Other forms in which annotation tools write shapes, and what photos of theirs may be called."""

import base64
import io
import json
import zlib

import numpy as np
import pytest
from PIL import Image

from annotated_shapes import (
    BITMAP,
    COVERED,
    FLAT,
    SQUARE,
    coco,
    cvat,
    label_studio,
    labelme,
    polygonlabels,
    read,
    supervisely,
)
from c3tf.errors import UserError
from data_tools.annotations import formats

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


def test_tasks_of_several_pictures(tmp_path):
    def drawing(*to_names):
        data = label_studio(*({**polygonlabels(SQUARE), "to_name": name} for name in to_names))
        data[0]["data"] = {"image": "a.jpg", "thermal": "heat/a_ir.png", "caption": "no. 5"}
        return read(tmp_path, "label_studio", data)[0]

    assert drawing("image").image == "a.jpg"
    assert drawing("thermal").image == "heat/a_ir.png"
    for names in (("image", "thermal"), ("picture",), (None,)):
        with pytest.raises(UserError, match=r"task 5 shows several pictures \(image, thermal\)"):
            drawing(*names)


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
