"""A few real training steps: records through the pipeline into a tiny network, both phases."""

from pathlib import Path

import keras
import numpy as np

import tiny_data
import tiny_segmenter
from c3tf.config import Config
from c3tf.data import pipeline, splits, training_data
from c3tf.data.manifest import Manifest

# What makes an experiment small enough; given after its own flags.
FLAGS = (
    f"--crop_height={tiny_segmenter.HEIGHT}",
    f"--crop_width={tiny_segmenter.WIDTH}",
    "--output_stride=8",
    "--global_batch_size=4",
    "--mix_group=2",
    "--supervised_steps=2",
)


def write(folder: Path) -> Manifest:
    """Writes six images as a data set."""
    pairs = {f"i{n}": tiny_data.pair(n, (48, 96)) for n in range(6)}
    return tiny_data.write_splits(folder, {"train": pairs})


def train(config: Config, manifest: Manifest) -> list[dict[str, float]]:
    """Trains two supervised steps and two of the method; returns the scalars of each step."""
    split = splits.draw(manifest.names("train"), 3, seed=0)
    data = training_data.open_training_data(manifest, split, config)
    model = tiny_segmenter.segmenter(config)
    seen = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: seen.append(
            {name: value for name, value in logs.items() if np.ndim(value) == 0}
        )
    )
    fit = {"verbose": 0, "shuffle": False, "callbacks": [record], "steps_per_epoch": 2}
    model.fit(pipeline.supervised_batches(data, config, 0), **fit)
    if config.needs.unlabeled:
        model.begin_semi_supervised(copy_student=True)
        model.fit(pipeline.semi_supervised_batches(data, config, 2), **fit)
    return seen
