"""A sheet of what the networks see in training: images, labels, views and mixes of some batches."""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from c3tf.config import Config
from c3tf.data.batch import SemiBatch, SupervisedBatch, TwoViewBatch
from c3tf.labels import IGNORE, LabelMap
from c3tf.method import cutmix, mixing
from c3tf.training.methods import TRAINERS
from c3tf.training.rival import RivalTrainer
from c3tf.visualization import drawing

_VALID = 200
# Images uint8 (B, H, W, 3) to their class maps uint8 (B, H, W).
Classes = Callable[[tf.Tensor], tf.Tensor]


def draw(
    batches: Iterable[SupervisedBatch | SemiBatch | TwoViewBatch],
    config: Config,
    label_map: LabelMap,
    num_rows: int,
    step: int,
    classes: Classes | None = None,
) -> Image.Image:
    """Draws the first images of some batches, one row each.

    Args:
        batches: of one phase.
        config: what they were made with.
        label_map: classes of their labels.
        num_rows: rows of the sheet.
        step: training step of the first batch.
        classes: says what unlabeled images show, for a method that mixes by classes.

    Returns:
        The sheet, under titles and above a legend. A row shows one labeled and one unlabeled image,
        and the mixed images that have these outside of their rectangles; of ClassMix the one that
        has classes of this image.
    """
    rows, captions, titles = [], [], ()
    for offset, batch in enumerate(batches):
        columns = _columns(batch, config, label_map, step + offset, classes)
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
    classes: Classes | None,
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
    trainer = TRAINERS[config.method.name]
    if issubclass(trainer, RivalTrainer):
        mixed = [[], _mixed_by_rival(trainer, batch, config, label_map, numbers[size:], classes)]
    else:
        columns = _mixed(batch, config, label_map, numbers)
        mixed = [columns[:2], columns[2:]]
    augment = config.augment
    valid = np.where(batch.u_valid.numpy()[..., None], _VALID, 0).astype(np.uint8)
    labeler = "teacher" if config.needs.teacher else "student"
    teachers = f"unlabeled, {labeler}'s ({augment.teacher_view})"
    students = f"unlabeled, student's ({augment.student_view})"
    unlabeled = [
        _Column(teachers, batch.u_w.numpy(), numbers[size:]),
        *(_Column(students, view.numpy(), [""] * size) for view in _strong_views(batch)),
        _Column("unlabeled, not valid is black", np.repeat(valid, 3, axis=-1), [""] * size),
    ]
    return [*labeled, *mixed[0], *unlabeled, *mixed[1]]


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


def _mixed_by_rival(
    trainer: type[RivalTrainer],
    batch: SemiBatch | TwoViewBatch,
    config: Config,
    label_map: LabelMap,
    numbers: list[str],
    classes: Classes | None,
) -> list[_Column]:
    """Returns the columns of unlabeled images that are mixed with the next one of their group."""
    columns, predicted, title = [], None, "CutMix into unlabeled"
    if classes is not None:
        predicted = tf.cast(classes(batch.u_w), tf.int32)
    masks = trainer.masks(batch, label_map.num_classes, predicted)
    following = mixing.next_of_group(tf.range(len(numbers)), config.method.mix_group)
    captions = [f"rectangle from {numbers[index]}" for index in following]
    if predicted is not None:
        title = "ClassMix onto the next"
        captions = [f"these classes on {numbers[index]}" for index in following]
        for name, kept in (("teacher's classes", batch.u_valid), ("half of them", masks[0])):
            shown = tf.where(kept, predicted, IGNORE).numpy().astype(np.uint8)
            columns.append(_Column(name, drawing.colorize(shown, label_map), [""] * len(numbers)))
    for view, mask in zip(_strong_views(batch), masks, strict=True):
        pasted = tf.reduce_any(mask, axis=[1, 2]).numpy()
        mixed = trainer.paste(mask, view, tf.gather(view, following))
        texts = [c if p else "not mixed" for c, p in zip(captions, pasted, strict=True)]
        columns.append(_Column(title, mixed.numpy(), texts))
    return columns


def _strong_views(batch: SemiBatch | TwoViewBatch) -> list[tf.Tensor]:
    return [batch.u_s, batch.u_s2] if isinstance(batch, TwoViewBatch) else [batch.u_s]
