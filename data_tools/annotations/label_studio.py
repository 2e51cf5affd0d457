"""Label Studio's JSON: polygons, rectangles, ellipses and brush masks, one file for all images."""

import collections
import re
import urllib.parse
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
    turned,
)

_number, _whole = schema.number(), schema.integer()
_RESULT = schema.record(
    {"type": schema.text},
    {
        "original_height": _whole,
        "original_width": _whole,
        "value": schema.thing,
        "image_rotation": schema.optional(_number),
        "item_index": schema.optional(_whole),
        "to_name": schema.optional(schema.text),
    },
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
_TURNED = {"rotation": schema.optional(_number)}
_VALUES = {
    "polygonlabels": schema.record({"points": schema.listed(schema.listed(_number, 2, 2), 1)}),
    "rectanglelabels": schema.record(
        dict.fromkeys(("x", "y", "width", "height"), _number), _TURNED
    ),
    "ellipselabels": schema.record(
        dict.fromkeys(("x", "y", "radiusX", "radiusY"), _number), _TURNED
    ),
    "brushlabels": schema.record({"rle": schema.listed(_whole)}, {"format": schema.text}),
}
_OPEN = ("keypointlabels", "vectorlabels")
# Regions that are not read. Choices and texts about a region repeat its place, so that it tells
# nothing.
_NOT_READ = (
    "labels", "polygon", "rectangle", "ellipse", "brush", "bitmask", "bitmasklabels", "magicwand",
)  # fmt: skip
# What an uploaded file gets in front of its name.
_UPLOADED = re.compile(r"^[0-9a-f]{8}-")
_PICTURES = (".jpg", ".jpeg", ".png")


def read(path: str) -> Iterator[Drawing]:
    """Reads one drawing per task with a finished annotation; of several the last one counts.

    One without a region is of a picture that shows nothing of any label.

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
        sizes, drawn_on = set(), set()
        for index, result in enumerate(finished[-1]["result"]):
            kind, what = result["type"], f"{where}, result {index}"
            if result.get("image_rotation") or result.get("item_index"):
                raise AnnotationError(
                    f"{what}: it was drawn on an image that was turned in the editor, or on a "
                    "further one of its task; neither is read."
                )
            if kind in _OPEN or kind in _VALUES:
                drawn_on.add(result.get("to_name"))
            if kind in _OPEN:
                opened[kind] += 1
            elif kind in _VALUES:
                size = _size(result, what)
                sizes.add(size)
                shapes.append(_shape(kind, result.get("value", {}), size, what))
            elif kind in _NOT_READ:
                raise AnnotationError(
                    f"{what}: regions of the kind {kind!a:.40} are not read, only "
                    f"{', '.join(_VALUES)}."
                )
        if len(sizes) > 1:
            raise AnnotationError(f"{where}: its results are of images of different sizes.")
        # Where nothing was drawn on one picture, that is the answer; of several none is named.
        if shapes or opened or len(_pictures(task)) == 1:
            size = sizes.pop() if sizes else None
            image, *others = _names(_only_picture(task, drawn_on, where), where)
            yield Drawing(image, path, size, shapes, opened, others)


def before_upload(name: str) -> list[str]:
    """Returns what an image was called before it was uploaded, if its name says so."""
    last = re.split(r"[/\\]", name)[-1]
    return [_UPLOADED.sub("", last)] if _UPLOADED.match(last) else []


def _only_picture(task: dict[str, Any], drawn_on: set[str | None], where: str) -> dict[str, Any]:
    """Returns a task with the one picture that was drawn on, where it shows several."""
    pictures = _pictures(task)
    if len({path.rsplit("/", 1)[-1] for path in pictures.values()}) < 2:
        return task
    name = drawn_on.pop() if len(drawn_on) == 1 else None
    if name not in pictures:
        raise AnnotationError(
            f"{where} shows several pictures ({', '.join(pictures)}), and its results do not say "
            "by `to_name` which one they were all drawn on. Export one picture to a task."
        )
    return {"data": {name: task["data"][name]}}


def _pictures(task: dict[str, Any]) -> dict[str, str]:
    """Returns the paths of the pictures among a task's data, by their names there."""
    return {
        name: path
        for name, text in task["data"].items()
        if isinstance(text, str) and (path := _path(text)).lower().endswith(_PICTURES)
    }


def _names(task: dict[str, Any], where: str) -> list[str]:
    """Returns what the image of a task may be called, the likeliest first."""
    data = task["data"]
    texts = [data.get("image"), *data.values(), task.get("file_upload")]
    paths = [_path(text) for text in texts if isinstance(text, str)]
    # A caption has dots, too.
    paths.sort(key=lambda path: not path.lower().endswith(_PICTURES))
    for path in paths:
        last = path.rsplit("/", 1)[-1]
        if "." in last:
            return [*before_upload(last), path, last]
    raise AnnotationError(f"{where}: its data name no image.")


def _path(address: str) -> str:
    """Returns the path of a file, an upload, a served local file or a web address."""
    path, _, query = address.partition("?")
    local = re.search(r"(?:^|&)d=([^&]+)", query)
    path = urllib.parse.unquote(local[1] if local else path.rpartition("://")[2])
    return path.replace("\\", "/")


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
    # Both are turned around the point that they are placed by.
    if degrees := value.get("rotation"):
        corners = turned(corners, (value["x"] * x_scale, value["y"] * y_scale), degrees)
    return Polygon(label, points_of_pairs(corners, where))
