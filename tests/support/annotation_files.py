"""Files of annotation tools for the images of `raw_trees.write_folder`, small and plain."""

import base64
import json
import zlib
from pathlib import Path

import numpy as np

import image_files

_SIZE = (24, 32)
_SQUARE = [[2, 2], [20, 2], [20, 9], [2, 9]]
_FLAT = [value for point in _SQUARE for value in point]
_PNG = image_files.encode(np.eye(5, dtype=np.uint8) * 255, "PNG")
_MASK = base64.b64encode(_PNG).decode()
_PACKED = base64.b64encode(zlib.compress(_PNG)).decode()
_NAMES = ("00", "01", "02")
_LABELS = ("lawn", "path", "shed")


def write(root: Path) -> dict[str, Path]:
    """Writes files of every format below a folder; returns by format what `--annotations` takes."""
    height, width = _SIZE
    files: dict[str, dict[str, object]] = {kind: {} for kind in ("labelme", "supervisely")}
    for name in _NAMES:
        square = {"label": _LABELS[0], "points": _SQUARE, "shape_type": "polygon"}
        mask = {"label": _LABELS[1], "points": [[3, 3], [7, 7]], "shape_type": "mask"}
        files["labelme"][f"{name}.json"] = {
            "imagePath": f"{name}.jpg",
            "imageHeight": height,
            "imageWidth": width,
            "shapes": [square, {**mask, "mask": _MASK}],
        }
        bitmap = {"data": _PACKED, "origin": [3, 3]}
        points = {"exterior": _SQUARE, "interior": []}
        files["supervisely"][f"{name}.jpg.json"] = {
            "size": {"height": height, "width": width},
            "objects": [
                {"classTitle": _LABELS[0], "geometryType": "polygon", "points": points},
                {"classTitle": _LABELS[1], "geometryType": "bitmap", "bitmap": bitmap},
            ],
        }
    shapes = [_FLAT], {"size": [height, width], "counts": [5, 9, height * width - 14]}
    files["coco"] = {
        "all.json": {
            "images": [
                {"id": i, "file_name": f"{name}.jpg", "height": height, "width": width}
                for i, name in enumerate(_NAMES)
            ],
            "categories": [{"id": i, "name": label} for i, label in enumerate(_LABELS)],
            "annotations": [
                {"id": i, "image_id": i % 3, "category_id": i % 2, "segmentation": shapes[i % 2]}
                for i in range(6)
            ],
        }
    }
    percent = [[x * 100 / width, y * 100 / height] for x, y in _SQUARE]
    result = {"type": "polygonlabels", "original_width": width, "original_height": height}
    result["value"] = {"points": percent, "polygonlabels": [_LABELS[2]]}
    files["label_studio"] = {
        "all.json": [
            {"id": i, "data": {"image": f"{name}.jpg"}, "annotations": [{"result": [result]}]}
            for i, name in enumerate(_NAMES)
        ]
    }
    drawn = (
        '<polygon label="lawn" points="2,2;20,2;20,9" z_order="1"/>'
        '<box label="path" xtl="1" ytl="1" xbr="9" ybr="9" rotation="30"/>'
        '<mask label="shed" rle="2,2" left="3" top="3" width="2" height="2" z_order="0"/>'
    )
    images = "".join(
        f'<image id="{i}" name="{name}.jpg" width="{width}" height="{height}">{drawn}</image>'
        for i, name in enumerate(_NAMES)
    )
    files["cvat"] = {"all.xml": f"<annotations><version>1.1</version>{images}</annotations>"}
    places = {}
    for kind, held in files.items():
        (root / kind).mkdir(parents=True)
        for name, data in held.items():
            text = data if isinstance(data, str) else json.dumps(data)
            (root / kind / name).write_text(text)
        places[kind] = root / kind if len(held) > 1 else root / kind / next(iter(held))
    return places
