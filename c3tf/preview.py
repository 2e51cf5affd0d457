"""Draws what the networks will see: `python -m c3tf.preview --flagfile=configs/demo.flags`.

Takes the flags of c3tf.train and draws batches of the semi-supervised phase, as training would
get them, on one sheet. Nothing is trained, and no run directory is touched.
"""

import os

import numpy as np
from absl import flags

from c3tf import cli, config_flags, preparation
from c3tf.config import Config
from c3tf.config_checks import ConfigError
from c3tf.data import manifest as manifests
from c3tf.data import pipeline, training_data
from c3tf.data.batch import SemiBatch
from c3tf.errors import UserError
from c3tf.evaluation import drawing, writers
from c3tf.labels import IGNORE, LabelMap
from c3tf.method import cutmix
from c3tf.training import runner

FLAGS = flags.FLAGS
_DEFAULT_PATH = "preview.png"
_TOP = np.iinfo(np.uint8).max
# Columns by set: what an image, its label or its mask is called.
_TITLES = (
    "labeled: weak view",
    "its label",
    "unlabeled: teacher's ({teacher})",
    "unlabeled: student's ({student})",
    "valid (white)",
    "CutMix of the student's input",
    "labels it has (black: none)",
)


def define_flags() -> None:
    """Defines the command's own flags; the others are those of training."""
    flags.DEFINE_string("sheet", _DEFAULT_PATH, "PNG to write.")
    flags.DEFINE_integer("rows", 8, "Rows of the sheet, one labeled and one unlabeled image each.")
    flags.DEFINE_integer("at_step", None, "Training step to show; the first with unlabeled images.")


def main() -> None:
    """Draws the sheet that the flags describe."""
    settings = config_flags.from_flags()
    step = settings.supervised_steps if FLAGS.at_step is None else FLAGS.at_step
    _check(settings, step, FLAGS.rows)
    preparation.ensure_data(settings)
    manifest = manifests.verify(settings.data.data)
    split = runner.open_split(manifest, settings)
    data = training_data.open_training_data(manifest, split, settings)
    batches = pipeline.semi_supervised_batches(data, settings, step)
    sheet = draw(batches, settings, manifest.label_map, FLAGS.rows)
    writers.write_png(FLAGS.sheet, np.asarray(sheet))
    print(
        f"{FLAGS.sheet}: {FLAGS.rows} of {data.num_labeled} labeled and {data.num_unlabeled} "
        f"unlabeled images, as training sees them from step {step} on"
    )
