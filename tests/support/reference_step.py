"""The losses of one semi-supervised step (Eq. 7), composed from the NumPy references.

Only the networks' forward passes and the uniform draws are borrowed from TensorFlow.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

import references
from c3tf.labels import IGNORE
from tiny_segmenter import HEIGHT, NUM_CLASSES, STRIDE, WIDTH


def outputs(network, images):
    """A network's logits and embeddings; forward passes are all that the reference borrows."""
    result = network(tf.constant(images, network.input.dtype), training=False)
    return result["logits"].numpy(), result["embedding"].numpy()


def full_size_logits(network, images):
    """A network's logits at the size of its images."""
    return upsampled(outputs(network, images)[0])


def upsampled(logits, aligned=False):
    resized = [references.resize_bilinear(image, HEIGHT, WIDTH, aligned) for image in logits]
    return np.stack(resized)


def feature_grid(aligned):
    """Picks the pixels of the features from maps of full size."""
    rows, columns = (references.feature_places(n // STRIDE, n, aligned) for n in (HEIGHT, WIDTH))
    return (slice(None), *np.ix_(rows, columns))


def total_loss(student, teacher, thresholds, batch, settings, phase_step):
    """Eq. 7 and its parts, given the networks and thresholds that the step uses."""
    method, number, aligned = settings.method, len(batch.x), settings.network.align_corners
    averaging = method.loss_averaging, method.mix_group
    teacher_logits, teacher_embedding = outputs(teacher, batch.u_w)
    step = settings.first_semi_step + phase_step
    probabilities = references.softmax(upsampled(teacher_logits, aligned))
    confident = references.confident_region(thresholds, probabilities, batch.u_valid)
    if method.mixing == "none":
        mixed = np.concatenate([batch.x, batch.u_s])
        source = np.broadcast_to(np.arange(2 * number)[:, None, None], (2 * number, HEIGHT, WIDTH))
    else:
        order = batch.mix_order.reshape(-1, 2 * method.mix_group)
        boxes = batch.mix_boxes.reshape(-1, method.mix_group, 4)
        mixed = references.mix_groups(batch.x, batch.u_s, order, boxes)
        source = references.sources(order, boxes, HEIGHT, WIDTH)
    logits, embedding = outputs(student, mixed)
    apart = references.take_apart(upsampled(logits, aligned), source)
    losses = {
        "supervised": references.supervised_loss(batch.y, apart[:number], *averaging)[0],
        "consistency": references.masked_cross_entropy(
            probabilities, apart[number:], confident, *averaging
        )[0],
        "confident": confident.sum() / batch.u_valid.sum(),
        "lambda1": method.consistency_weight
        * references.sigmoid_ramp(
            step if method.consistency_ramp_start == "training" else phase_step,
            method.consistency_ramp_steps,
        ),
    }
    if method.consistency_class_mean:
        losses["consistency"] /= NUM_CLASSES
    losses["loss"] = losses["supervised"] + losses["lambda1"] * losses["consistency"]
    if method.contrast_weight:
        keys = outputs(teacher, batch.x)[1], teacher_embedding
        targets = np.where(confident, probabilities.argmax(axis=-1), IGNORE)
        losses |= contrast_loss(
            logits, embedding, keys, targets, probabilities, source, batch, settings
        )
        lambda2 = method.contrast_weight * references.sigmoid_ramp(step, method.contrast_ramp_steps)
        losses["loss"] += lambda2 * losses["contrast"]
    return losses


def supervised_loss(student, batch, settings):
    """The supervised phase, with the authors' contrast of labeled pixels."""
    method, aligned = settings.method, settings.network.align_corners
    logits, embedding = outputs(student, batch.x)
    losses = {
        "supervised": references.supervised_loss(
            batch.y, upsampled(logits, aligned), method.loss_averaging, method.mix_group
        )[0]
    }
    drawn = Drawn([], [], [], [])
    labels = batch.y[feature_grid(aligned)]
    wrong = logits.argmax(axis=-1) != labels
    draw(drawn, embedding, embedding, labels, wrong, 0, batch, method)
    return losses | drawn.loss(method)


class Drawn(NamedTuple):
    """Anchors and keys, pixel by pixel."""

    anchors: list
    keys: list
    classes: list
    hard: list

    def loss(self, method):
        same = np.eye(len(self.anchors), dtype=bool) if method.contrast_exclude_self else None
        classes = np.array(self.classes)
        losses, _ = references.contrastive_loss(
            references.unit_norm(np.array(self.anchors)),
            classes,
            references.unit_norm(np.array(self.keys)),
            classes,
            method.temperature,
            same,
        )
        return {
            "contrast": method.contrast_scale * losses.mean(),
            "anchors": len(self.anchors),
            "hard_anchors": sum(self.hard),
        }


def draw(drawn, embedding, key, labels, wrong, row, batch, method):
    """Adds the samples of one set of images."""
    number = len(labels)
    if method.contrast_skip_class_0:
        labels = np.where(labels == 0, IGNORE, labels)
    if method.contrast_sampling == "random":
        wrong = np.zeros(wrong.shape, bool)
    priority = np.stack(
        [tf.random.stateless_uniform([2, *labels.shape[1:]], seed)[row] for seed in batch.seed]
    )
    samples = references.sample(
        *(x.reshape(number, -1) for x in (labels, wrong, priority)),
        NUM_CLASSES,
        method.contrast_samples,
        method.contrast_min_pixels,
        method.contrast_fill_up,
    )
    channels = embedding.shape[-1]
    for (b, c), (hards, easies) in samples.items():
        pixels = hards + easies
        drawn.anchors.extend(embedding[b].reshape(-1, channels)[pixels])
        drawn.keys.extend(key[b].reshape(-1, channels)[pixels])
        drawn.classes.extend([c] * len(pixels))
        drawn.hard.extend([True] * len(hards) + [False] * len(easies))


def contrast_loss(logits, embedding, keys, targets, probabilities, source, batch, settings):
    """Eq. 5 on the feature grid."""
    method = settings.method
    number, grid = len(batch.x), feature_grid(settings.network.align_corners)
    embedding = references.take_apart(embedding, source[grid])
    predicted = references.take_apart(logits.argmax(axis=-1)[..., None], source[grid])[..., 0]
    teacher_class = probabilities.argmax(axis=-1)[grid]
    drawn = Drawn([], [], [], [])
    for own, key, labels, wrong, row in (
        ("labeled", keys[0], batch.y[grid], predicted[:number] != batch.y[grid], 0),
        ("unlabeled", keys[1], targets[grid], predicted[number:] != teacher_class, 1),
    ):
        if method.contrast_sources not in ("both", own):
            continue
        part = embedding[row * number : (row + 1) * number]
        if own == "labeled" and method.labeled_keys == "student":
            key = part
        draw(drawn, part, key, labels, wrong, row, batch, method)
    return drawn.loss(method)
