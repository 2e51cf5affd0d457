"""Trains a segmentation network, and the supervised baseline beside it.

python -m c3tf.train --flagfile=configs/demo.flags
"""

import os

from c3tf import cli
from c3tf.config import absl_flags
from c3tf.io import memory, run_files

# What people set first; the help shows these, `--helpfull` all.
FIRST = (
    "data",
    "output",
    "method",
    "labeled",
    "backbone",
    "steps",
    "global_batch_size",
    "learning_rate",
    "precision",
    "seed",
)


def main() -> None:
    """Trains as the flags say and prints what came out."""
    config = absl_flags.from_flags()
    cli.need(data=config.data.data, output=config.training.output)
    memory.keep_freed()
    from c3tf.experiment import Experiment

    trained = Experiment(config).train()
    if trained is None:
        return
    for name in trained.finished:
        print(f"{name}: finished already, all of it is in {trained.outputs[name]}")
    print(trained.table())
    print(f"SavedModel: {trained.own.saved_model}")
    print(f"Predictions: {trained.predictions}")
    if len(trained.finished) < len(trained.results):
        cli.keep_native_log(os.path.join(list(trained.outputs.values())[-1], run_files.NATIVE_LOG))


if __name__ == "__main__":
    absl_flags.define_flags()
    cli.run(main, first=FIRST)
