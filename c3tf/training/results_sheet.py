"""Draws what trained networks make of validation images."""

import os
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from c3tf import inference
from c3tf.data.validation import val_dataset
from c3tf.evaluation import drawing, writers
from c3tf.training.runner import RunResult

FILE = "predictions.png"
_ROWS = 6


def draw(results: Mapping[str, RunResult], data_dir: str, folder: str) -> str:
    """Draws image, truth and predictions of evenly spaced validation images.

    Args:
        results: finished runs by name, one column each.
        data_dir: the data set they were evaluated on.
        folder: where the sheet is written to.

    Returns:
        The path of the PNG.
    """
    label_map = next(iter(results.values())).label_map
    predictors = {name: inference.predictor(r.model) for name, r in results.items()}
    data = val_dataset(data_dir)
    total = next(iter(results.values())).student.images
    chosen = {i * total // _ROWS for i in range(min(_ROWS, total))}
    rows, captions = [], []
    for index, example in enumerate(data):
        if index not in chosen:
            continue
        image, label = example["image"], example["label"]
        size = tf.shape(label)[1:3]
        maps = [label[0, ..., 0], *(predict(image, size)[0] for predict in predictors.values())]
        colored = [drawing.colorize(class_map.numpy(), label_map) for class_map in maps]
        rows.append([image[0].numpy(), *colored])
        captions.append(example["name"][0].numpy().decode())
    sheet = drawing.sheet(rows, ["image", "truth", *results], captions, label_map)
    path = os.path.join(folder, FILE)
    writers.write_png(path, np.asarray(sheet))
    return path
