"""Draws what the networks will see: `python -m c3tf.preview --flagfile=configs/demo.flags`.

Takes the flags of c3tf.train and draws the batches that training would get, on one sheet.
`--output` is that PNG file where it ends in .png. Otherwise it is the folder of the results, as in
training, and gets a preview.png beside its runs; without it, the working directory does. Nothing is
trained and no run's own directory is touched.
"""

import os
from collections.abc import Iterable
from typing import NamedTuple

from c3tf import cli

# isort: split
# TensorFlow reads what `cli` sets when it is imported.
import numpy as np
import tensorflow as tf
from absl import flags
from PIL import Image

from c3tf.config import Config, ConfigError, absl_flags
from c3tf.data import manifest as manifests
from c3tf.data import pipeline
from c3tf.data.batch import SemiBatch, SupervisedBatch
from c3tf.data.training_data import open_training_data
from c3tf.io import writable
from c3tf.io.images import write_png
from c3tf.labels import IGNORE, LabelMap
from c3tf.method import cutmix
from c3tf.runs import setup
from c3tf.visualization import drawing

FLAGS = flags.FLAGS
_SUFFIX, _NAME = ".png", "preview.png"
_VALID = 200


def define_flags() -> None:
    """Defines the command's own flags; the others are those of training."""
    flags.DEFINE_integer("rows", 8, "Rows of the sheet; each shows one labeled image.")
    flags.DEFINE_integer(
        "at_step", None, "Training step to start at; by default the first of --method's own phase."
    )


def main() -> None:
    """Draws the sheet that the flags describe."""
    settings = absl_flags.from_flags()
    step = _first_step(settings)
    _check(settings, step)
    path = sheet_path(settings.training.output)
    writable.check_file(path)
    setup.ensure_data(settings)
    manifest = manifests.verify(settings.data.data)
    data = open_training_data(manifest, setup.open_split(manifest, settings), settings)
    if step < settings.first_semi_step:
        batches = pipeline.supervised_batches(data, settings, step)
    else:
        batches = pipeline.semi_supervised_batches(data, settings, step)
    sheet = draw(batches, settings, manifest.label_map, FLAGS.rows, step)
    write_png(path, np.asarray(sheet))
    print(
        f"{path}: from step {step} on, out of {data.num_labeled} labeled and "
        f"{data.num_unlabeled} unlabeled images"
    )


def sheet_path(output: str) -> str:
    """Returns the file that the sheet is written to.

    Args:
        output: a PNG file, or the folder that gets one; the working directory when empty.
    """
    return output if output.endswith(_SUFFIX) else os.path.join(output, _NAME)


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
        The sheet, under titles and above a legend. A row shows one labeled and one unlabeled image,
        and the mixed images that have these outside of their rectangles.
    """
    rows, captions, titles = [], [], ()
    for offset, batch in enumerate(batches):
        columns = _columns(batch, settings, label_map, step + offset)
        titles = [column.title for column in columns]
        missing = num_rows - len(rows)
        rows += list(zip(*(column.pictures for column in columns), strict=True))[:missing]
        captions += list(zip(*(column.captions for column in columns), strict=True))[:missing]
        if len(rows) == num_rows:
            break
    return drawing.sheet(rows, titles, captions, label_map, cell_width=256)


class _Column(NamedTuple):
    """Pictures of one kind, one per row: `(B, H, W, 3)` uint8, and what stands above each."""

    title: str
    pictures: np.ndarray
    captions: list[str]


def _columns(
    batch: SupervisedBatch | SemiBatch, settings: Config, label_map: LabelMap, step: int
) -> list[_Column]:
    """Returns the columns of a batch: the labeled images, what is mixed into them, the others."""
    size = len(batch.x)
    numbers = [f"labeled {index}" for index in range(size)]
    labeled = [
        _Column("labeled, weak view", batch.x.numpy(), [f"step {step}, {n}" for n in numbers]),
        _Column("its label", drawing.colorize(batch.y.numpy(), label_map), [""] * size),
    ]
    if isinstance(batch, SupervisedBatch):
        return labeled
    numbers += [f"unlabeled {index}" for index in range(size)]
    mixed = _mixed(batch, settings, label_map, numbers)
    augment = settings.augment
    valid = np.where(batch.u_valid.numpy()[..., None], _VALID, 0).astype(np.uint8)
    unlabeled = [
        _Column(
            f"unlabeled, teacher's ({augment.teacher_view})", batch.u_w.numpy(), numbers[size:]
        ),
        _Column(f"unlabeled, student's ({augment.student_view})", batch.u_s.numpy(), [""] * size),
        _Column("unlabeled, not valid is black", np.repeat(valid, 3, axis=-1), [""] * size),
    ]
    return [*labeled, *mixed[:2], *unlabeled, *mixed[2:]]


def _mixed(
    batch: SemiBatch, settings: Config, label_map: LabelMap, numbers: list[str]
) -> list[_Column]:
    """Returns the columns of the mixed images as the student gets them; none without mixing.

    Two columns follow the labeled images and two the unlabeled ones: every mixed image stands in
    the row of the image outside of its rectangle, and its caption names the one inside.
    """
    if settings.method.mixing == "none":
        return []
    plan = batch.mix_plan(settings.method.mix_group)
    outside, inside = cutmix.origins(plan)
    row = tf.argsort(outside)
    labels = batch.y[..., tf.newaxis]
    unknown = tf.fill(labels.shape, tf.constant(IGNORE, labels.dtype))
    images = tf.gather(cutmix.mix(batch.x, batch.u_s, plan), row).numpy()
    known = tf.gather(cutmix.mix(labels, unknown, plan), row)[..., 0].numpy()
    known = drawing.colorize(known, label_map)
    captions = [f"rectangle from {numbers[index]}" for index in tf.gather(inside, row)]
    size, columns = len(batch.x), []
    for place, name in enumerate(("labeled", "unlabeled")):
        half = slice(place * size, (place + 1) * size)
        columns += [
            _Column(f"CutMix into {name}", images[half], captions[half]),
            _Column(f"CutMix into {name}, labels", known[half], [""] * size),
        ]
    return columns


def _first_step(settings: Config) -> int:
    if FLAGS.at_step is not None:
        return FLAGS.at_step
    return 0 if settings.method.name == "supervised" else settings.first_semi_step


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
    absl_flags.define_flags()
    flags.adopt_module_key_flags(absl_flags)
    define_flags()
    cli.run(main)
