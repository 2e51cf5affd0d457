"""Trains tiny segmenters on some logical CPUs and writes what came out.

`python replica_run.py REPLICAS OUTPUT RUN ...`: a process of its own, because logical devices are
set once per process. With several hosts in `TF_CONFIG` it is one of their processes.
"""

import sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

import reference_rivals
import tiny_segmenter
from c3tf.config import Config
from c3tf.training import distribution, statistics
from c3tf.training.distribution import Devices
from c3tf.training.optimizer import INITIAL_SCALE, LossScaledAdam

# Four replicas get one mix group of two each.
SIZES = {"global_batch_size": 16, "mix_group": 2}
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
    "nothing sampled": ("float64", 0, 2, {"contrast_min_pixels": 10**6}),
    "float32": ("float32", 0, 1, {}),
    "jit": ("float64", 1, 3, {"jit": True}),
    **{method: ("float64", 0, 3, {"method": method}) for method in reference_rivals.STEPS},
}


def comparable(logs: dict) -> dict:
    """The scalars and the counts of a step; when its batch came is each process's own."""
    return {name: value for name, value in logs.items() if name != statistics.BATCH_READY}


def train(
    devices: Devices, dtype: str, supervised_steps: int, steps: int, options: dict
) -> dict[str, np.ndarray]:
    phase = {"supervised_steps": supervised_steps}
    phase = tiny_segmenter.read_by(options.get("method", "c3"), phase)
    settings = tiny_segmenter.config(**SIZES, **phase, **options)
    batches = [tiny_segmenter.semi_batch(settings, seed) for seed in range(steps)]
    scalars = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: scalars.append(
            {name: np.array(value) for name, value in comparable(logs).items()}
        )
    )
    with tiny_segmenter.precision(dtype):
        with devices.strategy.scope():
            model = tiny_segmenter.segmenter(settings)
        fit = {"epochs": 1, "verbose": 0, "shuffle": False, "callbacks": [record]}
        if supervised_steps:
            labeled = tiny_segmenter.dataset(batches, supervised=True)
            served = distribute(devices, labeled, settings)
            model.fit(served, steps_per_epoch=supervised_steps, **fit)
        model.begin_semi_supervised(copy_student=True)
        served = distribute(devices, tiny_segmenter.dataset(batches), settings)
        model.fit(served, steps_per_epoch=steps, **fit)
    result = {
        f"log/{name}": np.array([entry[name] for entry in scalars[supervised_steps:]])
        for name in scalars[-1]
    }
    result["log/supervised_phase"] = np.array(
        [entry["loss"] for entry in scalars[:supervised_steps]]
    )
    result["thresholds"] = model.thresholds.numpy()
    for part in filter(None, (model.student, model.teacher)):
        for i, weight in enumerate(part.weights):
            result[f"{part.name}/{i} {weight.name}"] = weight.numpy()
    return result


def distribute(devices: Devices, batches: tf.data.Dataset, settings: Config) -> tf.data.Dataset:
    size = settings.labeled_batch_size

    def share(worker: int, workers: int) -> tf.data.Dataset:
        rows = slice(worker * size // workers, (worker + 1) * size // workers)
        return batches.map(lambda batch: tf.nest.map_structure(lambda x: x[rows], batch)).repeat()

    return devices.distribute(share, size)


def overflow(strategy: tf.distribute.Strategy) -> dict[str, np.ndarray]:
    """Lets the gradient of the last replica overflow in the second of three steps."""
    with strategy.scope():
        variable, adam = keras.Variable(np.ones(3, "float32")), LossScaledAdam(0.1)
        adam.build([variable])

    @tf.function
    def step(bad: tf.Tensor) -> None:
        context = tf.distribute.get_replica_context()
        last = context.replica_id_in_sync_group == context.num_replicas_in_sync - 1
        # Parts that add up to the same, finite sum on any number of replicas.
        part = adam.scale_loss(tf.constant([1.0, -2.0, 3.0])) / context.num_replicas_in_sync
        adam.apply([tf.where(bad & last, np.inf, part)], [variable])

    values = []
    for bad in (False, True, False):
        strategy.run(step, args=(tf.constant(bad),))
        replicas = strategy.experimental_local_results(variable.value)
        values.append(np.stack([replica.numpy() for replica in replicas]))
        assert (values[-1] == values[-1][0]).all()
    scale = tf.convert_to_tensor(adam.loss_scale).numpy() / INITIAL_SCALE
    return {"values": np.stack([value[0] for value in values]), "scale": scale}


def main(replicas: int, output: str, runs: list[str]) -> None:
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0],
        [tf.config.LogicalDeviceConfiguration()] * replicas,
    )
    cluster = distribution.read_cluster()
    kind = "mirrored" if replicas > 1 else "auto"
    devices = distribution.create_devices(tiny_segmenter.config(**SIZES, strategy=kind))
    if devices.num_replicas != replicas * cluster.num_workers:
        sys.exit(f"wanted {replicas} replicas, have {devices.num_replicas}")
    arrays = {"places": np.array(devices.gather(10 + cluster.worker))}
    for name in runs:
        outcome = train(devices, *RUNS[name])
        arrays |= {f"{name}/{key}": value for key, value in outcome.items()}
    overflows = overflow(devices.strategy)
    arrays |= {f"overflow/{key}": value for key, value in overflows.items()}
    np.savez(Path(output).with_suffix(f".{cluster.worker}.npz"), **arrays)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], sys.argv[3:])
