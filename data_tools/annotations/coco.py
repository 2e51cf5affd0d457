"""COCO's JSON for instances and stuff: polygons and run-length codes, one file for all images.

The format is described at cocodataset.org/#format-data.
"""

import collections
from collections.abc import Iterator
from typing import Any

from c3tf.io import json_files, schema
from data_tools.annotations import label_studio, runs
from data_tools.annotations.shapes import (
    AnnotationError,
    Bitmap,
    Drawing,
    Polygon,
    Shape,
    check,
    points_of,
    size_of,
)

_FILE = schema.record(
    {
        "images": schema.listed(
            schema.record(
                {"id": schema.anything, "file_name": schema.text},
                {"height": schema.integer(), "width": schema.integer()},
            )
        ),
        "annotations": schema.listed(
            schema.record({"image_id": schema.anything}, {"category_id": schema.anything})
        ),
        "categories": schema.listed(schema.record({"id": schema.anything, "name": schema.text})),
    },
    {"info": schema.anything},
)
_OUTLINE = schema.listed(schema.number())
_RUNS = schema.record({"counts": schema.anything, "size": schema.listed(schema.integer(), 2, 2)})
_COUNTS = schema.listed(schema.integer())


def read(path: str) -> Iterator[Drawing]:
    """Reads one drawing per image that has annotations.

    Shapes are drawn in the order of the file. A crowd (`iscrowd`) is of its class like any other.

    Raises:
        UserError: the file cannot be read.
        AnnotationError: it holds something else than the format's.
    """
    data = json_files.read(path, check=_FILE, error=AnnotationError)
    names = _by_id(data["categories"], "name", path)
    images = {_key(entry["id"]): entry for entry in data["images"]}
    _by_id(data["images"], "file_name", path)
    shapes: dict[Any, list[Shape]] = collections.defaultdict(list)
    opened: dict[Any, collections.Counter] = collections.defaultdict(collections.Counter)
    sizes: dict[Any, tuple[int, int] | None] = {}
    for place, entry in enumerate(data["annotations"]):
        where = f"{path}, annotation {entry.get('id', place)}"
        if "segments_info" in entry:
            raise AnnotationError(
                f"{path} is of COCO's panoptic kind, whose segments are pictures of their own. "
                "Give its instances or stuff JSON."
            )
        if "category_id" not in entry:
            raise AnnotationError(f"{where} lacks `category_id`.")
        image, name = _key(entry["image_id"]), names.get(_key(entry["category_id"]))
        if image not in images:
            raise AnnotationError(f"{where} is of image {image!a}, which is not in the file.")
        if name is None:
            raise AnnotationError(
                f"{where} is of category {entry['category_id']!a}, which is not in the file."
            )
        noted = sizes.get(image) or _size(images[image], path)
        drawn, sizes[image] = _shapes(entry.get("segmentation"), name, noted, where)
        shapes[image] += drawn
        if not drawn:
            opened[image]["box without a segmentation"] += 1
    uploads = _is_of_label_studio(data)
    for image, entry in images.items():
        if shapes[image] or opened[image]:
            file_name = entry["file_name"]
            others = label_studio.before_upload(file_name) if uploads else ()
            yield Drawing(file_name, path, sizes[image], shapes[image], opened[image], others)


def _by_id(entries: list[dict[str, Any]], called: str, path: str) -> dict[Any, str]:
    """Returns the names of entries by their ids, of which two may not be the same."""
    found: dict[Any, str] = {}
    for entry in entries:
        key, name = _key(entry["id"]), entry[called]
        if found.setdefault(key, name) != name:
            raise AnnotationError(f"{path}: {found[key]!a} and {name!a} have one id, {key}.")
    return found


def _is_of_label_studio(data: dict[str, Any]) -> bool:
    info = data.get("info")
    return isinstance(info, dict) and info.get("contributor") == "Label Studio"


def _key(value: Any) -> Any:
    """Makes a key of an id, which some tools write as a number and some as text."""
    return str(value)


def _size(entry: dict[str, Any], path: str) -> tuple[int, int] | None:
    if "height" not in entry or "width" not in entry:
        return None
    return size_of(entry["height"], entry["width"], f"{path}, image {entry['file_name']!a}")


def _shapes(
    segmentation: Any, name: str, noted: tuple[int, int] | None, where: str
) -> tuple[list[Shape], tuple[int, int] | None]:
    """Reads what was drawn, and the size of its image, which masks note that the image does not."""
    if isinstance(segmentation, list):
        for outline in segmentation:
            check(_OUTLINE, outline, "segmentation", where)
        return [Polygon(name, points_of(outline, where)) for outline in segmentation], noted
    if segmentation is None:
        return [], noted
    check(_RUNS, segmentation, "segmentation", where)
    counts = segmentation["counts"]
    if not isinstance(counts, str):
        check(_COUNTS, counts, "segmentation.counts", where)
    size = size_of(*segmentation["size"], where)
    if noted not in (None, size):
        raise AnnotationError(
            f"{where}: its mask is of {size[1]} x {size[0]} pixels, its image of {noted[1]} x "
            f"{noted[0]}."
        )
    if isinstance(counts, str):
        counts = runs.counts_of_text(counts, where)
    return [Bitmap(name, runs.pixels_of_counts(counts, *size, where))], size
