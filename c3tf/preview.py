"""Draws what the networks will see in training.

python -m c3tf.preview --flagfile=configs/demo.flags

Takes the flags of c3tf.train and draws the batches that training would get, on one sheet.
`--output` is that PNG file where it ends in .png. Otherwise it is the folder of the results, as in
training, and gets a preview.png beside its runs; without it, the working directory does. Nothing is
trained and no run's own directory is touched. ClassMix mixes by the classes that its teacher sees:
those of the networks before their first step, or of a trained `--model`.
"""

import os

from absl import flags

from c3tf import cli
from c3tf.config import absl_flags
from c3tf.io import writable
from c3tf.train import FIRST

_SUFFIX, _NAME = ".png", "preview.png"


def define_flags() -> None:
    """Defines the command's own flags; the others are those of training."""
    flags.DEFINE_bool("overwrite", False, "Replace an existing picture.")
    flags.DEFINE_integer("rows", 8, "Rows of the sheet; each shows one labeled image.")
    flags.DEFINE_integer(
        "at_step", None, "Training step to start at; by default the first of --method's own phase."
    )
    flags.DEFINE_string(
        "model",
        None,
        "Run, checkpoint or SavedModel whose classes a method like ClassMix mixes by; by default "
        "its own networks as they are before the first step.",
    )


def main() -> None:
    """Draws the sheet that the flags describe."""
    config = absl_flags.from_flags()
    cli.need(data=config.data.data)
    path = sheet_path(config.training.output)
    writable.check_file(path, replace=flags.FLAGS.overwrite)
    import numpy as np

    from c3tf import experiment
    from c3tf.io.images import write_png

    drawn = experiment.preview(config, flags.FLAGS.rows, flags.FLAGS.at_step, flags.FLAGS.model)
    write_png(path, np.asarray(drawn.sheet))
    print(
        f"{path}: from step {drawn.step} on, out of {drawn.num_labeled} labeled and "
        f"{drawn.num_unlabeled} unlabeled images"
    )


def sheet_path(output: str) -> str:
    """Returns the file that the sheet is written to.

    Args:
        output: a PNG file, or the folder that gets one; the working directory when empty.
    """
    return output if output.endswith(_SUFFIX) else os.path.join(output, _NAME)


if __name__ == "__main__":
    absl_flags.define_flags()
    define_flags()
    cli.run(main, first=FIRST)
