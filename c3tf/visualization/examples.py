"""Validation images with what networks make of them, as files in a run's directory."""

import os
from typing import NamedTuple

import numpy as np
from PIL import Image

from c3tf.errors import UserError
from c3tf.io import json_files, places, schema
from c3tf.io.images import write_class_map, write_png
from c3tf.io.run_files import EXAMPLES
from c3tf.labels import LabelMap

_INDEX = "examples.json"
_IMAGE, _LABEL = "image", "label"


_FACTS = schema.record(
    {
        "names": schema.listed(schema.text),
        "networks": schema.listed(schema.text),
        "label_map": schema.thing,
    }
)


class Example(NamedTuple):
    """One validation image and what networks make of it.

    Attributes:
        name: its name in the data set.
        image: `(H, W, 3)` uint8.
        label: `(h, w)` uint8 train ids.
        predictions: `(h, w)` uint8 train ids by network.
    """

    name: str
    image: np.ndarray
    label: np.ndarray
    predictions: dict[str, np.ndarray]


def write(run_dir: str, examples: list[Example], label_map: LabelMap) -> None:
    """Writes examples to a run's directory.

    Args:
        run_dir: directory of the run.
        examples: images with the predictions of the same networks.
        label_map: their classes.
    """
    folder = os.path.join(run_dir, EXAMPLES)
    for place, example in enumerate(examples):
        write_png(_path(folder, place, _IMAGE), example.image)
        for name, class_map in {_LABEL: example.label, **example.predictions}.items():
            write_class_map(_path(folder, place, name), class_map)
    facts = {
        "names": [example.name for example in examples],
        "networks": list(examples[0].predictions),
        "label_map": label_map.to_json(),
    }
    json_files.write(os.path.join(folder, _INDEX), facts)


def read(run_dir: str) -> tuple[list[Example], LabelMap] | None:
    """Reads what `write` wrote; None where a run has no examples yet.

    Raises:
        UserError: a file is missing or damaged.
    """
    folder = os.path.join(run_dir, EXAMPLES)
    path = os.path.join(folder, _INDEX)
    if not os.path.exists(path):
        return None
    try:
        facts = json_files.read(path, check=_FACTS)
        examples = [
            Example(
                name,
                _read(folder, place, _IMAGE),
                _read(folder, place, _LABEL),
                {network: _read(folder, place, network) for network in facts["networks"]},
            )
            for place, name in enumerate(facts["names"])
        ]
        return examples, LabelMap.from_json(facts["label_map"])
    except (OSError, ValueError, KeyError, TypeError, SyntaxError) as error:
        # Pillow calls some damaged files a `SyntaxError`.
        raise UserError(f"The examples in {folder} cannot be read: {error}") from error


def _path(folder: str, place: int, what: str) -> str:
    return places.below(folder, f"{place:02d}-{what}.png")


def _read(folder: str, place: int, what: str) -> np.ndarray:
    with Image.open(_path(folder, place, what)) as picture:
        pixels = np.asarray(picture)
    if pixels.dtype != np.uint8 or pixels.shape[2:] != ((3,) if what == _IMAGE else ()):
        raise ValueError(f"{_path(folder, place, what)} is no picture of a run")
    return pixels
