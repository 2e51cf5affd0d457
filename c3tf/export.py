"""Exports one network of a run as a SavedModel that needs TensorFlow alone.

python -m c3tf.export --run=runs/camvid --weights=teacher --output=exported/camvid
"""

import os

from absl import flags

from c3tf import cli, serving
from c3tf.loading import WEIGHTS
from c3tf.training import checkpoint


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("run", None, "Folder of a run, or one checkpoint.", required=True)
    flags.DEFINE_enum("weights", "student", WEIGHTS, "Which of the two networks.")
    flags.DEFINE_string("output", None, "Folder of the SavedModel to make.", required=True)
    flags.DEFINE_bool("overwrite", False, "Replace an earlier SavedModel at --output.")


def export(run: str, weights: str, output: str, overwrite: bool = False) -> None:
    """Writes the SavedModel of one network of a run.

    Args:
        run: folder of a run, or one checkpoint.
        weights: one of `loading.WEIGHTS`.
        output: folder to make.
        overwrite: replaces an earlier SavedModel at `output`.

    Raises:
        UserError: the run cannot be read, or `output` may not be written.
    """
    serving.check_target(output, overwrite)
    loaded = checkpoint.load_network(run, weights=weights)
    source = {
        "checkpoint": os.path.abspath(run),
        "weights": weights,
        "step": loaded.step,
        "config": loaded.config,
    }
    serving.save(loaded.model, loaded.label_map, output, source=source, overwrite=overwrite)


def main() -> None:
    """Runs the command from its flags."""
    values = flags.FLAGS
    export(values.run, values.weights, values.output, values.overwrite)
    print(f"SavedModel of the {values.weights} written to {values.output}")


if __name__ == "__main__":
    define_flags()
    cli.run(main)
