"""Class maps as polygons in LabelMe's JSON, to be corrected in an editor.

Polygons have no holes: what lies inside another region is drawn after it. A region without a class
is drawn, under the name `IGNORED`, only where it lies inside one that has a class.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np

from c3tf.io import json_files
from c3tf.labels import IGNORE, LabelMap

# What LabelMe's own converters leave without a class.
IGNORED = "__ignore__"
# The form of LabelMe 5; older editors read it too.
_VERSION = "5.0.0"
# Regions of fewer pixels are nothing that a person would draw.
_LEAST_PIXELS = 20
# How far an outline may lie from the pixels' own, in pixels.
_TOLERANCE = 1.0


class _Region(NamedTuple):
    """Pixels of one value that touch each other.

    Attributes:
        value: train id or `IGNORE`.
        outline: `(N, 2)` x and y of its outer border.
        enclosed: pixels within the outline, those of other regions too.
        inside: one of its pixels, y and x.
    """

    value: int
    outline: np.ndarray
    enclosed: int
    inside: tuple[int, int]


def write(
    path: str | os.PathLike, class_map: np.ndarray, label_map: LabelMap, image: str | os.PathLike
) -> None:
    """Writes a class map as a LabelMe file.

    Args:
        path: the JSON file; an existing one is replaced.
        class_map: `(H, W)` uint8 train ids or `IGNORE`.
        label_map: the names of the classes.
        image: the image file, which LabelMe finds relative to `path`.
    """
    beside = os.path.relpath(image, Path(path).parent)
    json_files.write(path, document(class_map, label_map, Path(beside).as_posix()))


def document(class_map: np.ndarray, label_map: LabelMap, image_path: str) -> dict[str, Any]:
    """Describes a class map as LabelMe does; see `write`."""
    height, width = class_map.shape
    return {
        "version": _VERSION,
        "flags": {},
        "shapes": [
            {
                "label": IGNORED if value == IGNORE else label_map.class_names[value],
                "points": outline.astype(float).tolist(),
                "group_id": None,
                "shape_type": "polygon",
                "flags": {},
            }
            for value, outline in polygons(class_map)
        ],
        "imagePath": image_path,
        "imageData": None,
        "imageHeight": height,
        "imageWidth": width,
    }


def polygons(class_map: np.ndarray) -> list[tuple[int, np.ndarray]]:
    """Finds polygons that, drawn in this order, give the class map up to a pixel at borders.

    Regions of fewer than `_LEAST_PIXELS` pixels are left out.

    Args:
        class_map: `(H, W)` uint8 train ids or `IGNORE`.

    Returns:
        Train id or `IGNORE`, and `(N, 2)` int32 x and y of N >= 3 corners.
    """
    # What encloses another region encloses more pixels, so it is drawn before.
    regions = sorted(_regions(class_map), key=lambda region: -region.enclosed)
    drawn = np.full(class_map.shape, IGNORE, np.uint8)
    kept = []
    for region in regions:
        if region.value == IGNORE and drawn[region.inside] == IGNORE:
            continue
        corners = cv2.approxPolyDP(region.outline, _TOLERANCE, closed=True)[:, 0]
        if len(corners) >= 3:
            cv2.drawContours(drawn, [region.outline], -1, region.value, cv2.FILLED)
            kept.append((region.value, corners))
    return kept


def _regions(class_map: np.ndarray) -> Iterator[_Region]:
    """Yields the regions that are large enough, touching at sides."""
    for value in np.unique(class_map).tolist():
        count, parts, facts, _ = cv2.connectedComponentsWithStats(
            (class_map == value).astype(np.uint8), connectivity=4
        )
        for part in range(1, count):
            left, top, width, height, area = facts[part].tolist()
            if area < _LEAST_PIXELS:
                continue
            mask = parts[top : top + height, left : left + width] == part
            (outline,), _ = cv2.findContours(
                mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE, offset=(left, top)
            )
            filled = cv2.drawContours(
                np.zeros(mask.shape, np.uint8), [outline], -1, 1, cv2.FILLED, offset=(-left, -top)
            )
            y, x = np.argwhere(mask)[0].tolist()
            yield _Region(value, outline, int(filled.sum()), (top + y, left + x))
