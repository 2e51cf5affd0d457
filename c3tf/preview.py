"""Draws what the networks will see: `python -m c3tf.preview --flagfile=configs/demo.flags`.

Takes the flags of c3tf.train and draws the batches that training would get, on one sheet: an
`--output` that ends in .png, or preview.png. Nothing is trained and no run directory is touched.
"""

from collections.abc import Iterable

from c3tf import cli

# isort: split
# TensorFlow reads what `cli` sets when it is imported.
import numpy as np
import tensorflow as tf
from absl import flags
from PIL import Image

from c3tf import config_flags, preparation
from c3tf.config import Config
from c3tf.config_checks import ConfigError
from c3tf.data import manifest as manifests
from c3tf.data import pipeline, writable
from c3tf.data.batch import SemiBatch, SupervisedBatch
from c3tf.data.training_data import open_training_data
from c3tf.evaluation import drawing, writers
from c3tf.labels import IGNORE, LabelMap
from c3tf.method import cutmix
from c3tf.training import setup

FLAGS = flags.FLAGS
_SUFFIX, _DEFAULT_PATH = ".png", "preview.png"
_VALID = 200
_LABELED = ("labeled, weak view", "its label")


def define_flags() -> None:
    """Defines the command's own flags; the others are those of training."""
    flags.DEFINE_integer("rows", 8, "Rows of the sheet; each shows one labeled image.")
    flags.DEFINE_integer(
        "at_step", None, "Training step to start at; by default the first of --method's own phase."
    )


def main() -> None:
    """Draws the sheet that the flags describe."""
    settings = config_flags.from_flags()
    step = _first_step(settings)
    _check(settings, step)
    path = settings.training.output
    path = path if path.endswith(_SUFFIX) else _DEFAULT_PATH
    writable.check_file(path)
    preparation.ensure_data(settings)
    manifest = manifests.verify(settings.data.data)
    data = open_training_data(manifest, setup.open_split(manifest, settings), settings)
    if step < settings.supervised_steps:
        batches = pipeline.supervised_batches(data, settings, step)
    else:
        batches = pipeline.semi_supervised_batches(data, settings, step)
    sheet = draw(batches, settings, manifest.label_map, FLAGS.rows, step)
    writers.write_png(path, np.asarray(sheet))
    print(
        f"{path}: from step {step} on, out of {data.num_labeled} labeled and "
        f"{data.num_unlabeled} unlabeled images"
    )


def draw(
    batches: Iterable[SupervisedBatch | SemiBatch],
    settings: Config,
    label_map: LabelMap,
    num_rows: int,
    step: int,
) -> Image.Image:
    """Draws the first images of some batches, one row each.

    Args:
        batches: of one phase.
        settings: what they were made with.
        label_map: classes of their labels.
        num_rows: rows of the sheet.
        step: training step of the first batch.

    Returns:
        The sheet, under titles and above a legend.
    """
    rows, captions, titles = [], [], ()
    for offset, batch in enumerate(batches):
        columns = _labeled_columns(batch, label_map)
        if isinstance(batch, SemiBatch):
            columns |= _unlabeled_columns(batch, settings) | _mixed(batch, settings, label_map)
        titles = tuple(columns)
        missing = num_rows - len(rows)
        shown = list(zip(*columns.values(), strict=True))[:missing]
        rows += shown
        captions += [f"step {step + offset}, row {row}" for row in range(len(shown))]
        if len(rows) == num_rows:
            break
    return drawing.sheet(rows, titles, captions, label_map, cell_width=256)


def _labeled_columns(batch: SupervisedBatch | SemiBatch, label_map: LabelMap) -> dict:
    labels = [drawing.colorize(label, label_map) for label in batch.y.numpy()]
    return dict(zip(_LABELED, (batch.x.numpy(), labels), strict=True))


def _unlabeled_columns(batch: SemiBatch, settings: Config) -> dict:
    valid = np.where(batch.u_valid.numpy()[..., None], _VALID, 0).astype(np.uint8)
    return {
        f"unlabeled, teacher's ({settings.augment.teacher_view})": batch.u_w.numpy(),
        f"unlabeled, student's ({settings.augment.student_view})": batch.u_s.numpy(),
        "unlabeled, not valid is black": np.repeat(valid, 3, axis=-1),
    }


def _mixed(batch: SemiBatch, settings: Config, label_map: LabelMap) -> dict:
    """Returns the columns of the mixed images as the student gets them; none without mixing."""
    if settings.method.mixing == "none":
        return {}
    group = settings.method.mix_group
    plan = cutmix.MixPlan(
        tf.reshape(batch.mix_order, [-1, 2 * group]), tf.reshape(batch.mix_boxes, [-1, group, 4])
    )

    def halves(labeled: tf.Tensor, unlabeled: tf.Tensor) -> tuple[np.ndarray, np.ndarray]:
        mixed = cutmix.mix(labeled, unlabeled, plan)
        mixed = tf.reshape(mixed, [-1, 2, group, *mixed.shape[1:]])
        return tuple(tf.reshape(mixed[:, i], labeled.shape).numpy() for i in range(2))

    labels = batch.y[..., tf.newaxis]
    unknown = tf.fill(labels.shape, tf.constant(IGNORE, labels.dtype))
    columns = {}
    parts = zip(("one", "other"), halves(batch.x, batch.u_s), halves(labels, unknown), strict=True)
    for name, images, known in parts:
        colored = [drawing.colorize(label[..., 0], label_map) for label in known]
        columns |= {f"CutMix, {name}": images, f"CutMix, labels of the {name}": colored}
    return columns


def _first_step(settings: Config) -> int:
    if FLAGS.at_step is not None:
        return FLAGS.at_step
    return 0 if settings.method.method == "supervised" else settings.supervised_steps


def _check(settings: Config, step: int) -> None:
    """Refuses values that leave nothing to draw."""
    if not settings.data.data:
        raise ConfigError("`--data` must name a converted data set. Received: nothing")
    if FLAGS.rows < 1:
        raise ConfigError(f"`--rows` must be at least 1. Received: {FLAGS.rows}")
    if not 0 <= step < settings.training.steps:
        raise ConfigError(
            f"`--at_step` must be 0 to {settings.training.steps - 1}, a step of the training. "
            f"Received: {step}"
        )


if __name__ == "__main__":
    config_flags.define_flags()
    flags.adopt_module_key_flags(config_flags)
    define_flags()
    cli.run(main)
