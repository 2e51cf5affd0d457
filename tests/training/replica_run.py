"""Trains tiny segmenters on 1 or 2 logical CPUs and writes what came out.

`python replica_run.py REPLICAS OUTPUT.npz`: a process of its own, because logical devices are set
once per process.
"""

import sys

import keras
import numpy as np
import tensorflow as tf

import tiny_segmenter
from c3tf.training import statistics

# Name: dtype, steps of either phase, options.
RUNS = {
    "paper": ("float64", 3, 20, {}),
    "authors": (
        "float64",
        2,
        3,
        {
            "loss_averaging": "group",
            "consistency_class_mean": True,
            "contrast_exclude_self": True,
            "contrast_scale": 1.5,
            "contrast_skip_class_0": True,
            "contrast_from_start": True,
            "contrast_ramp_steps": 4,
            "labeled_keys": "student",
            "ema_warmup": True,
            "align_corners": True,
        },
    ),
    "own keys": (
        "float64",
        0,
        1,
        {"gather_contrast_keys": False, "loss_averaging": "batch"},
    ),
    "float32": ("float32", 0, 1, {}),
}


def flat(logs: dict) -> dict:
    """The scalars and the counts of a step; when its batch came is each process's own."""
    counts = dict(logs[statistics.NAME])
    del counts[statistics.BATCH_READY]
    return {name: value for name, value in logs.items() if name != statistics.NAME} | counts


def train(
    strategy: tf.distribute.Strategy, dtype: str, supervised_steps: int, steps: int, options: dict
) -> dict[str, np.ndarray]:
    settings = tiny_segmenter.config(supervised_steps=supervised_steps, **options)
    batches = [tiny_segmenter.semi_batch(settings, seed) for seed in range(steps)]
    scalars = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: scalars.append(
            {name: np.array(value) for name, value in flat(logs).items()}
        )
    )
    with tiny_segmenter.precision(dtype):
        with strategy.scope():
            model = tiny_segmenter.segmenter(settings)
        fit = {"epochs": 1, "verbose": 0, "shuffle": False, "callbacks": [record]}
        if supervised_steps:
            labeled = tiny_segmenter.dataset(batches, supervised=True)
            model.fit(labeled, steps_per_epoch=supervised_steps, **fit)
        model.begin_semi_supervised(copy_student=True)
        model.fit(tiny_segmenter.dataset(batches), steps_per_epoch=steps, **fit)
    result = {
        f"log/{name}": np.array([entry[name] for entry in scalars[supervised_steps:]])
        for name in scalars[-1]
    }
    result["log/supervised_phase"] = np.array(
        [entry["loss"] for entry in scalars[:supervised_steps]]
    )
    result["thresholds"] = model.thresholds.numpy()
    for part in (model.student, model.teacher):
        for i, weight in enumerate(part.weights):
            result[f"{part.name}/{i} {weight.name}"] = weight.numpy()
    return result


def main(replicas: int, output: str) -> None:
    if replicas == 1:
        strategy = tf.distribute.get_strategy()
    else:
        tf.config.set_logical_device_configuration(
            tf.config.list_physical_devices("CPU")[0],
            [tf.config.LogicalDeviceConfiguration()] * replicas,
        )
        strategy = tf.distribute.MirroredStrategy([f"CPU:{i}" for i in range(replicas)])
    if strategy.num_replicas_in_sync != replicas:
        sys.exit(f"wanted {replicas} replicas, have {strategy.num_replicas_in_sync}")
    arrays = {}
    for name, run in RUNS.items():
        arrays |= {f"{name}/{key}": value for key, value in train(strategy, *run).items()}
    np.savez(output, **arrays)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
