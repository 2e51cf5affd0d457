"""Keeps what trained networks make of validation images, and draws it."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from c3tf import inference
from c3tf.data.validation import val_dataset
from c3tf.errors import UserError
from c3tf.evaluation import drawing, writers
from c3tf.labels import LabelMap

FILE = "predictions.png"
FOLDER = "examples"
_INDEX = "examples.json"
_IMAGE, _LABEL = "image", "label"
_COUNT = 6


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


def write_examples(
    networks: Mapping[str, keras.Model],
    label_map: LabelMap,
    data_dir: str,
    total: int,
    run_dir: str,
) -> None:
    """Writes evenly spaced validation images with the predictions of a run's networks.

    Args:
        networks: networks by name.
        label_map: their classes.
        data_dir: the data set.
        total: its validation images.
        run_dir: directory of the run.
    """
    predictors = {name: inference.predictor(network) for name, network in networks.items()}
    count = min(_COUNT, total)
    chosen = {i * total // count for i in range(count)}
    folder, names = os.path.join(run_dir, FOLDER), []
    for index, example in enumerate(val_dataset(data_dir)):
        if index not in chosen:
            continue
        size = tf.shape(example["label"])[1:3]
        maps = {name: p(example["image"], size)[0].numpy() for name, p in predictors.items()}
        maps[_LABEL] = example["label"][0, ..., 0].numpy()
        place = len(names)
        writers.write_png(_path(folder, place, _IMAGE), example["image"][0].numpy())
        for name, class_map in maps.items():
            writers.write_class_map(_path(folder, place, name), class_map)
        names.append(example["name"][0].numpy().decode())
    index_path = os.path.join(folder, _INDEX)
    facts = {"names": names, "networks": list(networks), "label_map": label_map.to_json()}
    writers.write_json(index_path, facts)


def read_examples(run_dir: str) -> tuple[list[Example], LabelMap] | None:
    """Reads what `write_examples` wrote; None where a run has no examples yet.

    Raises:
        UserError: a file is missing or damaged.
    """
    folder = os.path.join(run_dir, FOLDER)
    path = os.path.join(folder, _INDEX)
    if not os.path.exists(path):
        return None
    try:
        with open(path, encoding="utf-8") as file:
            facts = json.load(file)
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
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"The examples in {folder} cannot be read: {error}") from error


def draw(runs: Mapping[str, str], folder: str, network: str = "student") -> str:
    """Draws image, truth and the predictions of finished runs side by side.

    Args:
        runs: run directories by name, one column each.
        folder: where the sheet is written to.
        network: whose predictions.

    Returns:
        The path of the PNG.
    """
    columns = {name: read_examples(run_dir) for name, run_dir in runs.items()}
    first, label_map = next(iter(columns.values()))
    rows = [
        _row(group, label_map, network)
        for group in zip(*(examples for examples, _ in columns.values()), strict=True)
    ]
    captions = [example.name for example in first]
    sheet = drawing.sheet(rows, ["image", "truth", *runs], captions, label_map)
    path = os.path.join(folder, FILE)
    writers.write_png(path, np.asarray(sheet))
    return path


def _row(group: Sequence[Example], label_map: LabelMap, network: str) -> list[np.ndarray]:
    maps = [group[0].label, *(example.predictions[network] for example in group)]
    return [group[0].image, *(drawing.colorize(class_map, label_map) for class_map in maps)]


def _path(folder: str, place: int, what: str) -> str:
    return os.path.join(folder, f"{place:02d}-{what}.png")


def _read(folder: str, place: int, what: str) -> np.ndarray:
    with Image.open(_path(folder, place, what)) as picture:
        return np.asarray(picture)
