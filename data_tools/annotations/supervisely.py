"""Supervisely's JSON: one file per image, with polygons, rectangles and bitmaps."""

import collections
import os
from collections.abc import Iterator
from typing import Any

from c3tf.io import json_files, schema
from data_tools.annotations import pictures
from data_tools.annotations.shapes import (
    AnnotationError,
    Bitmap,
    Drawing,
    Polygon,
    Shape,
    points_of_pairs,
    rectangle,
    size_of,
)

_outline = schema.listed(schema.listed(schema.number(), 2, 2))
_points = schema.record({"exterior": _outline}, {"interior": schema.listed(_outline)})
_FILE = schema.record(
    {
        "size": schema.record({"height": schema.integer(), "width": schema.integer()}),
        "objects": schema.listed(
            schema.record(
                {"classTitle": schema.text, "geometryType": schema.text},
                {
                    "points": schema.optional(_points),
                    "bitmap": schema.optional(
                        schema.record(
                            {
                                "data": schema.text,
                                "origin": schema.listed(schema.integer(), 2, 2),
                            }
                        )
                    ),
                },
            )
        ),
    }
)
# What a project holds beside its data sets.
PROJECT_FILES = ("meta.json", "obj_class_to_machine_color.json", "key_id_map.json")
_OPEN = ("point", "line", "graph", "cuboid", "cuboid_2d")


def read(path: str) -> Iterator[Drawing]:
    """Reads the drawing of one image, `NAME.json` of `NAME`; shapes are drawn as written."""
    data = json_files.read(path, check=_FILE, error=AnnotationError)
    size = size_of(data["size"]["height"], data["size"]["width"], path)
    shapes: list[Shape] = []
    opened: collections.Counter[str] = collections.Counter()
    for place, entry in enumerate(data["objects"]):
        if entry["geometryType"] in _OPEN:
            opened[entry["geometryType"]] += 1
        else:
            shapes.append(_shape(entry, f"{path}, object {place} ({entry['classTitle']})"))
    folder, name = os.path.split(os.path.abspath(path).removesuffix(".json"))
    # Of a project, whose data sets hold ann/ and img/.
    beside = os.path.join(os.path.dirname(folder), "img", name)
    yield Drawing(name, path, size, shapes, opened, beside=beside)


def _shape(entry: dict[str, Any], where: str) -> Shape:
    kind, label, points = entry["geometryType"], entry["classTitle"], entry.get("points")
    if kind == "bitmap" and entry.get("bitmap"):
        pixels = pictures.mask_of_base64(entry["bitmap"]["data"], where, compressed=True)
        left, top = entry["bitmap"]["origin"]
        return Bitmap(label, pixels, left, top)
    if kind not in ("polygon", "rectangle") or not points:
        raise AnnotationError(f"{where}: shapes of the kind {kind!a:.40} are not known.")
    exterior = points_of_pairs(points["exterior"], where)
    if kind == "polygon":
        return Polygon(
            label, exterior, [points_of_pairs(hole, where) for hole in points.get("interior", [])]
        )
    if len(exterior) < 2:
        raise AnnotationError(f"{where}: a rectangle needs two points.")
    return Polygon(label, rectangle(*exterior[0], *exterior[1]))
