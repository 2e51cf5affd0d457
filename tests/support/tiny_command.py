"""The training command with a network small enough to be killed often: `python tiny_command.py`.

Takes the flags of `c3tf.train`. LOGICAL_CPUS in the environment is the number of devices.
"""

import os
import signal
import sys

from c3tf.config import environment as settings

if __name__ == "__main__":
    # As commands do before they import TensorFlow.
    settings.pin()

import tensorflow as tf
from absl import flags

import tiny_data
import tiny_segmenter
from c3tf import cli, train
from c3tf.config import absl_flags
from c3tf.labels import LabelMap
from c3tf.runs.stopping import StopRequest
from c3tf.training import builder, optimizer
from c3tf.training.methods import TRAINERS
from c3tf.training.trainer import SemiSupervisedTrainer

LABEL_MAP = LabelMap(
    "five",
    ("road", "wall", "tree", "sky", "car"),
    tuple((40 * i, 250 - 40 * i, 90) for i in range(5)),
    tuple(range(5)),
)
SIZE = (40, 80)


def write_data(folder) -> None:
    """Writes a data set of 6 training images, all labeled, and 3 validation images."""
    folder.mkdir()
    pairs = {
        split: {f"{split}_{i}": _pair(100 * count + i) for i in range(count)}
        for split, count in (("train", 6), ("val", 3))
    }
    tiny_data.write_splits(folder, pairs, label_map=LABEL_MAP)


def options(data, output, **changed) -> dict:
    """Returns the options of a short run on that data set, by name."""
    own = {
        "data": str(data),
        "output": str(output),
        "labeled": "4",
        "backbone_weights": "random",
        "crop_height": tiny_segmenter.HEIGHT,
        "crop_width": tiny_segmenter.WIDTH,
        "global_batch_size": 4,
        "mix_group": 1,
        "steps": 20,
        "supervised_steps": 5,
        "consistency_ramp_steps": 5,
        "contrast_samples": 4,
        "dcrs_start": 0.5,
        "learning_rate": 0.001,
        "log_every": 4,
        "checkpoint_every": 2,
        "evaluate_every": 10,
        "image_log_interval": 0,
    }
    return {**tiny_segmenter.read_by(changed.get("method", "c3"), own), **changed}


def flag_words(data, output, **changed) -> list[str]:
    """Returns the same as flags."""
    return [f"--{name}={value}" for name, value in options(data, output, **changed).items()]


def command(words: list[str]) -> list[str]:
    """Returns the command line that trains with these flags."""
    return [sys.executable, os.path.abspath(__file__), *words]


def environment(repository, logical_cpus: int = 1) -> dict[str, str]:
    """Returns the environment that the command needs."""
    path = os.pathsep.join([str(repository), str(repository / "tests" / "support")])
    return {**os.environ, "PYTHONPATH": path, "LOGICAL_CPUS": str(logical_cpus)}


class StopAt(StopRequest):
    """A request that comes in a certain step."""

    def __init__(self, run, step):
        super().__init__()
        original = run._after_step

        def after_step(now):
            if now == step:
                self.received = signal.SIGTERM
            original(now)

        run._after_step = after_step


def _pair(seed):
    image, label = tiny_data.pair(seed, SIZE)
    return image, label


def build_model(config, label_map, class_weights=None) -> SemiSupervisedTrainer:
    """Stands in for `builder.build_model`."""
    student = tiny_segmenter.network("student", seed=1)
    trainer = TRAINERS[config.method.name]
    teacher = tiny_segmenter.network("teacher", seed=2) if config.needs.teacher else None
    model = trainer(student, teacher, label_map.num_classes, config)
    model.class_weights = class_weights
    adam = optimizer.build(config, lambda v: "stem" in v.path, lambda v: "projection" in v.path)
    adam.build(student.trainable_variables)
    model.compile(optimizer=adam, jit_compile=False)
    return model


def _main() -> None:
    cpu = tf.config.list_physical_devices("CPU")[0]
    count = int(os.environ["LOGICAL_CPUS"])
    logical = [tf.config.LogicalDeviceConfiguration()] * count
    tf.config.set_logical_device_configuration(cpu, logical)
    builder.build_model = build_model
    train.main()


if __name__ == "__main__":
    absl_flags.define_flags()
    flags.adopt_module_key_flags(absl_flags)
    cli.run(_main)
