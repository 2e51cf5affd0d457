"""A sheet of what the networks see in training: images, labels, views and mixes of some batches."""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from c3tf.config import Config
from c3tf.data.batch import SemiBatch, SupervisedBatch, TwoViewBatch
from c3tf.labels import IGNORE, LabelMap
from c3tf.method import cutmix
from c3tf.visualization import drawing

_VALID = 200


def draw(
    batches: Iterable[SupervisedBatch | SemiBatch | TwoViewBatch],
    config: Config,
    label_map: LabelMap,
    num_rows: int,
    step: int,
) -> Image.Image:
    """Draws the first images of some batches, one row each.

    Args:
        batches: of one phase.
        config: what they were made with.
        label_map: classes of their labels.
        num_rows: rows of the sheet.
        step: training step of the first batch.

    Returns:
        The sheet, under titles and above a legend. A row shows one labeled and one unlabeled image,
        and the mixed images that have these outside of their rectangles.
    """
    rows, captions, titles = [], [], ()
    for offset, batch in enumerate(batches):
        columns = _columns(batch, config, label_map, step + offset)
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
    batch: SupervisedBatch | SemiBatch | TwoViewBatch,
    config: Config,
    label_map: LabelMap,
    step: int,
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
    mixed = _mixed(batch, config, label_map, numbers)
    augment = config.augment
    valid = np.where(batch.u_valid.numpy()[..., None], _VALID, 0).astype(np.uint8)
    teachers = f"unlabeled, teacher's ({augment.teacher_view})"
    students = f"unlabeled, student's ({augment.student_view})"
    views = [batch.u_s, batch.u_s2] if isinstance(batch, TwoViewBatch) else [batch.u_s]
    unlabeled = [
        _Column(teachers, batch.u_w.numpy(), numbers[size:]),
        *(_Column(students, view.numpy(), [""] * size) for view in views),
        _Column("unlabeled, not valid is black", np.repeat(valid, 3, axis=-1), [""] * size),
    ]
    return [*labeled, *mixed[:2], *unlabeled, *mixed[2:]]


def _mixed(
    batch: SemiBatch, config: Config, label_map: LabelMap, numbers: list[str]
) -> list[_Column]:
    """Returns the columns of the mixed images as the student gets them; none without Eq. 4.

    Two columns follow the labeled images and two the unlabeled ones: every mixed image stands in
    the row of the image outside of its rectangle, and its caption names the one inside.
    """
    if not config.mixes_sets:
        return []
    plan = batch.mix_plan(config.method.mix_group)
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
