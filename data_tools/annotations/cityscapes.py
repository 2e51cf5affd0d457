"""Cityscapes' JSON: `*_polygons.json`, one file per image, for where its masks are missing."""

import os
import re
from collections.abc import Iterator

from c3tf.io import json_files, schema
from data_tools.annotations.shapes import (
    AnnotationError,
    Drawing,
    Polygon,
    points_of_pairs,
    size_of,
)

_FILE = schema.record(
    {
        "imgHeight": schema.integer(),
        "imgWidth": schema.integer(),
        "objects": schema.listed(
            schema.record(
                {
                    "label": schema.text,
                    "polygon": schema.listed(schema.listed(schema.number(), 2, 2)),
                },
                {"deleted": schema.anything},
            )
        ),
    }
)
_NAME = re.compile(r"(_gt(Fine|Coarse))?_polygons\.json$")


def read(path: str) -> Iterator[Drawing]:
    """Reads the drawing of one image; shapes are drawn in the order of the file.

    A group, such as `cargroup`, is of the class of its members.
    """
    data = json_files.read(path, check=_FILE, error=AnnotationError)
    size = size_of(data["imgHeight"], data["imgWidth"], path)
    shapes = []
    for place, entry in enumerate(data["objects"]):
        # A licence plate has no id of its own: what lies below it stays.
        if entry.get("deleted") or entry["label"] == "license plate":
            continue
        where = f"{path}, object {place} ({entry['label']})"
        label = entry["label"]
        if label != "polegroup":
            label = label.removesuffix("group")
        shapes.append(Polygon(label, points_of_pairs(entry["polygon"], where)))
    image = f"{_NAME.sub('', os.path.basename(path))}_leftImg8bit.png"
    yield Drawing(image, path, size, shapes)
