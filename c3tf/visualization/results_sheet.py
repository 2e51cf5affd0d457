"""The sheet of validation images beside what the networks of runs make of them."""

import os
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from c3tf.io import leftovers
from c3tf.io.images import write_png
from c3tf.io.run_files import PREDICTIONS
from c3tf.labels import LabelMap
from c3tf.visualization import drawing, examples
from c3tf.visualization.examples import Example


def draw(runs: Mapping[str, str], folder: str, network: str = "student") -> str:
    """Draws image, truth and the predictions of finished runs side by side.

    The rows are the runs' examples in the order of the stored records, which were shuffled.

    Args:
        runs: run directories by name, one column each.
        folder: where the sheet is written to.
        network: whose predictions.

    Returns:
        The path of the PNG.
    """
    columns = {name: examples.read(run_dir) for name, run_dir in runs.items()}
    first, label_map = next(iter(columns.values()))
    rows = [
        _row(group, label_map, network)
        for group in zip(*(shown for shown, _ in columns.values()), strict=True)
    ]
    titles = ["image", "truth", *runs]
    captions = [[example.name, *[""] * len(titles[1:])] for example in first]
    sheet = drawing.sheet(rows, titles, captions, label_map)
    path = os.path.join(folder, PREDICTIONS)
    # A finished run is not locked any more, which would sweep up after a killed writer.
    leftovers.clear(path)
    if not _shows(path, np.asarray(sheet)):
        write_png(path, np.asarray(sheet))
    return path


def _shows(path: str, pixels: np.ndarray) -> bool:
    """Whether a picture is there already; a finished run's files are left as they are."""
    try:
        with Image.open(path) as picture:
            return np.array_equal(picture, pixels)
    except OSError:
        return False


def _row(group: Sequence[Example], label_map: LabelMap, network: str) -> list[np.ndarray]:
    maps = [group[0].label, *(example.predictions[network] for example in group)]
    return [group[0].image, *(drawing.colorize(class_map, label_map) for class_map in maps)]
