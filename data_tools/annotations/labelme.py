"""Labelme's JSON: one file per image, with polygons, rectangles, circles and masks."""

import collections
import math
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
    ellipse,
    points_of_pairs,
    rectangle,
    size_of,
)

_FILE = schema.record(
    {
        "imagePath": schema.text,
        "shapes": schema.listed(
            schema.record(
                {
                    "label": schema.text,
                    "points": schema.listed(schema.listed(schema.number(), 2, 2), 1),
                },
                {"shape_type": schema.optional(schema.text), "mask": schema.optional(schema.text)},
            )
        ),
    },
    {
        "imageHeight": schema.optional(schema.integer()),
        "imageWidth": schema.optional(schema.integer()),
    },
)
_OPEN = ("point", "points", "line", "linestrip")


def read(path: str) -> Iterator[Drawing]:
    """Reads the drawing of one image; shapes are drawn in the order of the file."""
    data = json_files.read(path, check=_FILE, error=AnnotationError)
    height, width = data.get("imageHeight"), data.get("imageWidth")
    size = None if height is None or width is None else size_of(height, width, path)
    shapes: list[Shape] = []
    opened: collections.Counter[str] = collections.Counter()
    for place, entry in enumerate(data["shapes"]):
        kind = entry.get("shape_type") or "polygon"
        if kind in _OPEN:
            opened[kind] += 1
            continue
        shapes.append(_shape(entry, kind, f"{path}, shape {place} ({entry['label']})"))
    # The path is relative to the file, and may be of another system.
    image = data["imagePath"].replace("\\", "/")
    name = image.rsplit("/", 1)[-1]
    beside = os.path.normpath(os.path.join(os.path.dirname(os.path.abspath(path)), image))
    yield Drawing(name, path, size, shapes, opened, beside=beside)


def _shape(entry: dict[str, Any], kind: str, where: str) -> Shape:
    label, points = entry["label"], entry["points"]
    corners = points_of_pairs(points, where)
    if kind == "polygon":
        return Polygon(label, corners)
    if len(corners) < 2:
        raise AnnotationError(f"{where}: a {kind} needs two points.")
    if kind == "rectangle":
        # X-AnyLabeling writes all four corners.
        if len(corners) == 4:
            return Polygon(label, corners)
        if len(corners) != 2:
            raise AnnotationError(f"{where}: a rectangle has two corners or all four.")
        return Polygon(label, rectangle(*corners[0], *corners[1]))
    (left, top), _ = corners[:2]
    if kind == "circle":
        radius = math.dist(*corners[:2])
        return Polygon(label, ellipse(left, top, radius, radius))
    if kind == "mask" and entry.get("mask"):
        pixels = pictures.mask_of_base64(entry["mask"], where)
        return Bitmap(label, pixels, round(left), round(top))
    raise AnnotationError(f"{where}: shapes of the kind {kind!a:.40} are not known.")
