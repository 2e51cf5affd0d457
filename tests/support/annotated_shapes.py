"""Files as annotation tools write them, with shapes on an image of 8 x 6 pixels."""

import io
import json

import numpy as np
from PIL import Image

from data_tools.annotations import formats

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
