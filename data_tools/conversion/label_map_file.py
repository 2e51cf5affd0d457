"""The label-map file: what a user writes about the classes of their own masks.

JSON, for example:

    {
      "name": "yard",
      "classes": [
        {"name": "road", "id": 1, "color": "#804080"},
        {"name": "car", "id": 2, "color": [0, 0, 142]}
      ],
      "ignore": {"ids": [0, 255], "colors": ["#000000"]}
    }

Classes get their train ids in the order of the file.
"""

import dataclasses
import re
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from c3tf.io import files, json_files
from c3tf.io.schema import SchemaError
from c3tf.labels import LabelMap, LabelMapError

_MAX = int(np.iinfo(np.uint8).max)
_HEX = re.compile(r"#[0-9a-fA-F]{6}")

Color = tuple[int, int, int]


@dataclasses.dataclass(frozen=True)
class LabelMapFile:
    """What a label-map file says: the label map, and the colours that belong to no class."""

    label_map: LabelMap
    ignored_colors: tuple[Color, ...]


def read(path: str) -> LabelMapFile:
    """Reads and checks a label-map file.

    Args:
        path: the file.

    Returns:
        Its contents.

    Raises:
        LabelMapError: the file is missing or unreadable, or an entry is missing, unknown, of the
            wrong kind, out of range or given twice; says which.
    """
    try:
        return _parse(json_files.parse(files.read_bytes(path)), PurePosixPath(path).stem)
    except OSError as error:
        raise LabelMapError(
            f"--label_map={path} cannot be read: {error.strerror or error}"
        ) from error
    except (SchemaError, LabelMapError) as error:
        raise LabelMapError(f"{path}: {error}") from error


def _parse(data: Any, default_name: str) -> LabelMapFile:
    _check_keys(data, "the file", required=("classes",), optional=("name", "ignore"))
    name = _text(data.get("name", default_name), '"name"')
    classes = _list(data["classes"], '"classes"')
    for index, entry in enumerate(classes):
        _check_keys(entry, f"class {index}", required=("name", "id", "color"))
    named = [_text(entry["name"], f'"name" of class {i}') for i, entry in enumerate(classes)]
    ids = [_id(e["id"], f"class {n!r}") for e, n in zip(classes, named, strict=True)]
    colors = [_color(e["color"], f"class {n!r}") for e, n in zip(classes, named, strict=True)]
    ignore = data.get("ignore", {})
    _check_keys(ignore, '"ignore"', optional=("ids", "colors"))
    ignored_ids = [_id(v, '"ignore"') for v in _list(ignore.get("ids", []), '"ids"')]
    ignored = [_color(v, '"ignore"') for v in _list(ignore.get("colors", []), '"colors"')]
    for kind, values in (
        ("class name", named),
        ("id", ids + ignored_ids),
        ("colour", [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in colors + ignored]),
    ):
        _refuse_repeated(kind, values)
    label_map = LabelMap(name, tuple(named), tuple(colors), tuple(ids), tuple(ignored_ids))
    return LabelMapFile(label_map, tuple(ignored))


def _check_keys(
    data: Any, where: str, required: tuple[str, ...] = (), optional: tuple[str, ...] = ()
) -> None:
    allowed = ", ".join(f'"{key}"' for key in (*required, *optional))
    if not isinstance(data, dict):
        raise LabelMapError(f"{where} must be an object with {allowed}. Received: {data!r}")
    missing = [key for key in required if key not in data]
    unknown = [key for key in data if key not in (*required, *optional)]
    if missing:
        raise LabelMapError(f'{where} lacks "{missing[0]}".')
    if unknown:
        raise LabelMapError(f'{where} has an unknown entry "{unknown[0]}"; it may hold {allowed}.')


def _list(value: Any, where: str) -> list:
    if not isinstance(value, list):
        raise LabelMapError(f"{where} must be a list. Received: {value!r}")
    return value


def _text(value: Any, where: str) -> str:
    usable = isinstance(value, str) and value == value.strip() and value.isprintable()
    if not usable or not value:
        raise LabelMapError(
            f"{where} must be printable text without spaces at its ends. Received: {value!r}"
        )
    return value


def _id(value: Any, where: str) -> int:
    # True is an int to Python.
    if type(value) is not int or not 0 <= value <= _MAX:
        raise LabelMapError(
            f"an id of {where} must be a whole number from 0 to {_MAX}. Received: {value!r}"
        )
    return value


def _color(value: Any, where: str) -> Color:
    if isinstance(value, str) and _HEX.fullmatch(value):
        red, green, blue = bytes.fromhex(value[1:])
        return red, green, blue
    bytes_only = isinstance(value, list) and all(type(v) is int and 0 <= v <= _MAX for v in value)
    if not bytes_only or len(value) != 3:
        raise LabelMapError(
            f'a colour of {where} must be "#rrggbb" or [red, green, blue] with 0 to {_MAX}. '
            f"Received: {value!r}"
        )
    return tuple(value)


def _refuse_repeated(kind: str, values: list) -> None:
    seen = set()
    for value in values:
        if value in seen:
            raise LabelMapError(f"{kind} {value!r} is given twice.")
        seen.add(value)
