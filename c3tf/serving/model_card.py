"""The model card: what an exported model is, where it comes from, and what its files hash to."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from c3tf.errors import UserError
from c3tf.inference.options import RESIZE
from c3tf.io import json_files, places, schema
from c3tf.io.names import is_systems
from c3tf.labels import LabelMap
from c3tf.versions import versions

FILE = "model_card.json"

_CARD_VERSION = 2
_SECURITY = (
    "A SavedModel is a program that TensorFlow runs with the rights of whoever loads it. Load only "
    "files whose origin you trust; the checksums in `files` find damage, not forgery."
)
# What a source says that has a place of its own in the card.
_CONFIGURATION, _DATA, _HEIGHT = "config", ("data", "split"), "image_height"


_CARD = schema.record(
    {"source": schema.thing},
    {
        "files": schema.named(
            schema.record({"bytes": schema.integer(), "sha256": schema.text}, closed=True)
        ),
        "configuration": schema.thing,
        "thresholds": schema.named(schema.number(0, 1)),
        "data": schema.named(schema.text),
        "input": schema.record({}, {_HEIGHT: schema.integer(1)}),
    },
)
_MEASURED = schema.record(
    {"metrics": schema.thing, "images": schema.integer(), "protocol": schema.thing},
    {"label_map": schema.thing},
)


class CardError(UserError):
    """A model card is missing or damaged, or files are not those that it lists."""


def build(
    label_map: LabelMap,
    artifacts: dict[str, Any],
    source: dict[str, Any],
    metrics: dict[str, Any],
    thresholds: np.ndarray | None = None,
) -> dict[str, Any]:
    """Describes an exported model for people and programs that did not make it.

    Args:
        label_map: its classes.
        artifacts: what there is by format, plain data.
        source: where the weights come from, plain data. `"config"`, `"data"` (digest of the data
            set), `"split"` (hash of the labeled split) and `"image_height"` (rows of most training
            images, None where that is not known) get places of their own.
        metrics: measured results; empty where there are none.
        thresholds: `(C,)` DCRS thresholds; None where there was no teacher.

    Returns:
        Plain data, without the checksums that `write` adds.
    """
    apart = (_CONFIGURATION, _HEIGHT, *_DATA)
    return {
        "card_version": _CARD_VERSION,
        "task": "semantic segmentation",
        "security": _SECURITY,
        "input": {
            "color": "RGB",
            "range": [0, int(tf.uint8.max)],
            "size": "any; one size per call",
            "preprocessing": "inside the graph",
            **({_HEIGHT: source[_HEIGHT]} if source.get(_HEIGHT) else {}),
        },
        "output": {
            "class_map": "uint8 train ids: positions in `classes`",
            "probabilities": "float32, softmax over `classes`",
            "resize": RESIZE,
        },
        "artifacts": artifacts,
        "classes": [
            {"id": index, "name": name, "color": list(color)}
            for index, (name, color) in enumerate(
                zip(label_map.class_names, label_map.colors, strict=True)
            )
        ],
        "metrics": metrics,
        **_named_thresholds(label_map, thresholds),
        "data": {name: source[name] for name in _DATA if name in source},
        "configuration": source.get(_CONFIGURATION, {}),
        "source": {name: value for name, value in source.items() if name not in apart},
        "versions": versions(),
    }


def image_height(card: dict[str, Any]) -> int | None:
    """Returns the rows of most images that the network was trained on; None where it says none."""
    return card.get("input", {}).get(_HEIGHT)


def thresholds(card: dict[str, Any], label_map: LabelMap) -> np.ndarray | None:
    """Returns the DCRS thresholds `(C,)` of a card; None where it names none.

    Raises:
        CardError: they are those of other classes.
    """
    if "thresholds" not in card:
        return None
    if set(card["thresholds"]) != set(label_map.class_names):
        raise CardError(f"The thresholds of {FILE} are not those of its classes")
    return np.array([card["thresholds"][name] for name in label_map.class_names], np.float32)


def measured(result: dict[str, Any]) -> dict[str, Any]:
    """Takes what a card says about quality from a result of the evaluator.

    Args:
        result: what `EvaluationResult.to_json` returned, or `c3tf.evaluate` wrote.

    Returns:
        The metrics by name, with the number of images and the protocol.

    Raises:
        CardError: `result` is something else.
    """
    try:
        _MEASURED(result, "")
    except schema.SchemaError as error:
        raise CardError(f"Not a result of `python -m c3tf.evaluate`: {error}.") from error
    return {**result["metrics"], **{key: result[key] for key in ("images", "protocol")}}


def write(folder: Path, card: dict[str, Any]) -> None:
    """Writes a card into the folder of an exported model, with the checksums of all other files."""
    files = {name: _checksum(path) for name, path in _held(folder).items()}
    json_files.write(folder / FILE, {**card, "files": files})


def read(folder: Path) -> dict[str, Any]:
    """Reads a card and checks the files that it lists against their checksums.

    Raises:
        UserError: there is no card, it is damaged, or a file is missing or not what was written.
    """
    card = json_files.read(folder / FILE, check=_CARD, error=CardError)
    for name, expected in card.get("files", {}).items():
        path = Path(places.below(folder, name))
        if not path.is_file():
            raise CardError(f"{path} is missing, though {FILE} lists it. Export the model again.")
        if _checksum(path) != expected:
            raise CardError(
                f"{path} is damaged or was changed: it is not the file that {FILE} lists. "
                "Export the model again."
            )
    return card


def first_not_listed(folder: Path) -> str | None:
    """Returns a file of an export's folder that its card does not list; None where there is none.

    Raises:
        UserError: the card cannot be read.
    """
    listed = json_files.read(folder / FILE).get("files")
    if not isinstance(listed, dict):
        # Of a version that listed none.
        return None
    others = (name for name, path in _held(folder).items() if not is_systems(path.name))
    return next((name for name in others if name != FILE and name not in listed), None)


def _held(folder: Path) -> dict[str, Path]:
    """Returns the files below a folder by their paths from there, sorted."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in found}


def digest(card: dict[str, Any]) -> str:
    """Returns the identity of an exported model's contents: 64 hex digits over its files'."""
    text = json.dumps(card.get("files", {}), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _named_thresholds(label_map: LabelMap, values: np.ndarray | None) -> dict[str, Any]:
    if values is None:
        return {}
    named = zip(label_map.class_names, np.asarray(values, np.float64).tolist(), strict=True)
    return {"thresholds": dict(named)}


def _checksum(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256")
    return {"bytes": path.stat().st_size, "sha256": digest.hexdigest()}
