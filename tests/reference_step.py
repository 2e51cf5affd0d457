"""The losses of one semi-supervised step (Eq. 7), composed from the NumPy references.

Only the networks' forward passes and the uniform draws are borrowed from TensorFlow.
"""

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


def upsampled(logits):
    return np.stack([references.resize_bilinear(image, HEIGHT, WIDTH) for image in logits])


def total_loss(student, teacher, thresholds, batch, settings, phase_step):
    """Eq. 7 and its parts, given the networks and thresholds that the step uses."""
    method, number = settings.method, len(batch.x)
    teacher_logits, teacher_embedding = outputs(teacher, batch.u_w)
    probabilities = references.softmax(upsampled(teacher_logits))
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
    apart = references.take_apart(upsampled(logits), source)
    losses = {
        "supervised": references.supervised_loss(batch.y, apart[:number], method.loss_averaging)[0],
        "consistency": references.masked_cross_entropy(
            probabilities, apart[number:], confident, method.loss_averaging
        )[0],
        "confident": confident.sum() / batch.u_valid.sum(),
        "lambda1": method.consistency_weight
        * references.sigmoid_ramp(phase_step, method.consistency_ramp_steps),
    }
    if method.consistency_class_mean:
        losses["consistency"] /= NUM_CLASSES
    losses["loss"] = losses["supervised"] + losses["lambda1"] * losses["consistency"]
    if method.contrast_weight:
        keys = outputs(teacher, batch.x)[1], teacher_embedding
        targets = np.where(confident, probabilities.argmax(axis=-1), IGNORE)
        losses |= contrast_loss(
            logits, embedding, keys, targets, probabilities, source, batch, method
        )
        losses["loss"] += method.contrast_weight * losses["contrast"]
    return losses


def contrast_loss(logits, embedding, keys, targets, probabilities, source, batch, method):
    """Eq. 5 on the feature grid."""
    number, grid = len(batch.x), np.s_[:, STRIDE // 2 :: STRIDE, STRIDE // 2 :: STRIDE]
    embedding = references.take_apart(embedding, source[grid])
    predicted = references.take_apart(logits.argmax(axis=-1)[..., None], source[grid])[..., 0]
    teacher_class = probabilities.argmax(axis=-1)[grid]
    anchors, positives, classes, num_hard = [], [], [], 0
    for own, key, labels, wrong, row in (
        ("labeled", keys[0], batch.y[grid], predicted[:number] != batch.y[grid], 0),
        ("unlabeled", keys[1], targets[grid], predicted[number:] != teacher_class, 1),
    ):
        if method.contrast_sources not in ("both", own):
            continue
        part = embedding[row * number : (row + 1) * number]
        if own == "labeled" and method.labeled_keys == "student":
            key = part
        if method.contrast_skip_class_0:
            labels = np.where(labels == 0, IGNORE, labels)
        if method.contrast_sampling == "random":
            wrong = np.zeros(wrong.shape, bool)
        priority = np.stack(
            [tf.random.stateless_uniform([2, *labels.shape[1:]], seed)[row] for seed in batch.seed]
        )
        drawn = references.sample(
            *(x.reshape(number, -1) for x in (labels, wrong, priority)),
            NUM_CLASSES,
            method.contrast_samples,
            method.contrast_min_pixels,
        )
        for (b, c), (hards, easies) in drawn.items():
            pixels = hards + easies
            anchors += list(part[b].reshape(-1, part.shape[-1])[pixels])
            positives += list(key[b].reshape(-1, part.shape[-1])[pixels])
            classes += [c] * len(pixels)
            num_hard += len(hards)
    same = np.eye(len(anchors), dtype=bool) if method.contrast_exclude_self else None
    losses, _ = references.contrastive_loss(
        references.unit_norm(np.array(anchors)),
        np.array(classes),
        references.unit_norm(np.array(positives)),
        np.array(classes),
        method.temperature,
        same,
    )
    return {
        "contrast": method.contrast_scale * losses.mean(),
        "anchors": len(anchors),
        "hard_anchors": num_hard,
    }
