"""Label Studio's JSON: polygons, rectangles, ellipses and brush masks, one file for all images."""

import collections
import re
from collections.abc import Iterator
from typing import Any

from c3tf.io import json_files, schema
from data_tools.annotations import runs
from data_tools.annotations.shapes import (
    AnnotationError,
    Bitmap,
    Drawing,
    Polygon,
    Shape,
    check,
    ellipse,
    points_of_pairs,
    rectangle,
    size_of,
)

_number, _whole = schema.number(), schema.integer()
_RESULT = schema.record(
    {"type": schema.text},
    {"original_height": _whole, "original_width": _whole, "value": schema.thing},
)
_FILE = schema.listed(
    schema.record(
        {
            "data": schema.thing,
            "annotations": schema.listed(
                schema.record(
                    {"result": schema.listed(_RESULT)},
                    {"was_cancelled": schema.optional(schema.flag)},
                )
            ),
        }
    )
)
_VALUES = {
    "polygonlabels": schema.record({"points": schema.listed(schema.listed(_number, 2, 2), 1)}),
    "rectanglelabels": schema.record(dict.fromkeys(("x", "y", "width", "height"), _number)),
    "ellipselabels": schema.record(dict.fromkeys(("x", "y", "radiusX", "radiusY"), _number)),
    "brushlabels": schema.record({"rle": schema.listed(_whole)}, {"format": schema.text}),
}
_OPEN = ("keypointlabels", "vectorlabels")
# What an uploaded file gets in front of its name.
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")


def read(path: str) -> Iterator[Drawing]:
    """Reads one drawing per task with a finished annotation; of several the last one counts.

    Sides and places are per cent of the image's in the file, and pixels afterwards.

    Raises:
        UserError: the file cannot be read.
        AnnotationError: it holds something else than the format's.
    """
    tasks = json_files.read(path, list, check=_FILE, error=AnnotationError)
    for place, task in enumerate(tasks):
        where = f"{path}, task {task.get('id', place)}"
        finished = [entry for entry in task["annotations"] if not entry.get("was_cancelled")]
        if not finished:
            continue
        shapes: list[Shape] = []
        opened: collections.Counter[str] = collections.Counter()
        sizes = set()
        for index, result in enumerate(finished[-1]["result"]):
            kind, what = result["type"], f"{where}, result {index}"
            if kind in _OPEN:
                opened[kind] += 1
            elif kind in _VALUES:
                size = _size(result, what)
                sizes.add(size)
                shapes.append(_shape(kind, result["value"], size, what))
        if len(sizes) > 1:
            raise AnnotationError(f"{where}: its results are of images of different sizes.")
        if shapes or opened:
            size = sizes.pop() if sizes else None
            yield Drawing(_image(task["data"], where), path, size, shapes, opened)


def _image(data: dict[str, Any], where: str) -> str:
    """Returns the name of a task's image, as it was before it was uploaded."""
    texts = [data.get("image"), *data.values()]
    for text in texts:
        if isinstance(text, str) and "." in text.rsplit("/", 1)[-1]:
            name = re.split(r"[/\\]|\?d=", text)[-1]
            return _UPLOADED.sub("", name)
    raise AnnotationError(f"{where}: its data name no image.")


def _size(result: dict[str, Any], where: str) -> tuple[int, int]:
    try:
        return size_of(result["original_height"], result["original_width"], where)
    except KeyError as error:
        raise AnnotationError(f"{where} lacks {error}.") from error


def _shape(kind: str, value: dict[str, Any], size: tuple[int, int], where: str) -> Shape:
    labels = value.get(kind)
    if not isinstance(labels, list) or len(labels) != 1 or not isinstance(labels[0], str):
        raise AnnotationError(f"{where}: `{kind}` must be one label. Received: {labels!a:.60}")
    check(_VALUES[kind], value, "value", where)
    if value.get("rotation"):
        raise AnnotationError(f"{where}: rotated shapes are not read; draw a polygon in its place.")
    (height, width), label = size, labels[0]
    x_scale, y_scale = width / 100, height / 100
    if kind == "brushlabels":
        return Bitmap(label, runs.pixels_of_brush(value["rle"], height, width, where))
    if kind == "polygonlabels":
        corners = [(x * x_scale, y * y_scale) for x, y in value["points"]]
    elif kind == "rectanglelabels":
        left, top = value["x"] * x_scale, value["y"] * y_scale
        right, bottom = left + value["width"] * x_scale, top + value["height"] * y_scale
        corners = rectangle(left, top, right, bottom)
    else:
        radii = value["radiusX"] * x_scale, value["radiusY"] * y_scale
        corners = ellipse(value["x"] * x_scale, value["y"] * y_scale, *radii)
    return Polygon(label, points_of_pairs(corners, where))
