"""NumPy references of the rivals' steps, image by image, from the equations of their papers.

Each returns the losses, and for every forward pass of the student with a gradient its images and
the loss's gradient for their full-size logits, in closed form. Nothing is shared with the code
under test; only the networks' own forward passes and the uniform draws are borrowed.
"""

from typing import NamedTuple

import numpy as np
import tensorflow as tf

import references
from c3tf.labels import IGNORE
from reference_step import full_size_logits, upsampled
from tiny_segmenter import HEIGHT, NUM_CLASSES, WIDTH


class Pass(NamedTuple):
    """Images that the student sees, dL / d logits `(B, H, W, C)`, what its features are times."""

    images: np.ndarray
    gradient: np.ndarray
    factor: np.ndarray | float = 1.0

    def logits(self, student):
        """The student's logits on its feature grid, as a tensor."""
        x = tf.constant(self.images, student.input.dtype)
        for layer in student.layers[1:4]:
            x = layer(x)
        return student.get_layer("classifier")(x * self.factor)


def neighbours(batch, settings):
    """The image that each image is mixed with: the next one of its group."""
    size = settings.method.mix_group
    return [i - i % size + (i + 1) % size for i in range(len(batch.x))]


def cross_entropy(labels, logits, used, number):
    """The sum of -log p over the used pixels by `number`, and its gradient for the logits."""
    p = references.softmax(logits)
    total, gradient = 0.0, np.zeros(logits.shape)
    for place in np.argwhere(used):
        place = tuple(place)
        label = labels[place]
        total -= np.log(p[(*place, label)]) / number
        gradient[place] = p[place] / number
        gradient[(*place, label)] -= 1 / number
    return total, gradient


def supervised(student, batch):
    """The mean over all labeled pixels of the batch."""
    logits = full_size_logits(student, batch.x)
    used = batch.y != IGNORE
    return cross_entropy(batch.y, logits, used, used.sum())


def in_box(box, shape):
    mask = np.zeros(shape, bool)
    top, left, height, width = box
    mask[top : top + height, left : left + width] = True
    return mask


def mixed(masks, inside, outside):
    """M * inside + (1 - M) * outside, image by image."""
    result = np.array(outside)
    for i, mask in enumerate(masks):
        result[i][mask] = inside[i][mask]
    return result


def cutmix_mean_teacher(student, teacher, batch, settings):
    """L_sup + gamma c mean_pixels(sum_classes (f(mix(a, b, M)) - mix(g(a), g(b), M))^2)."""
    method, other = settings.method, neighbours(batch, settings)
    g = references.softmax(full_size_logits(teacher, batch.u_w))
    masks = [in_box(box, batch.y.shape[1:]) for box in batch.mix_boxes]
    images = mixed(masks, batch.u_s[other], batch.u_s)
    target = mixed(masks, g[other], g)
    valid = mixed(masks, batch.u_valid[other], batch.u_valid)
    share = np.mean(target.max(axis=-1) >= np.float32(method.mean_teacher_threshold))
    f = references.softmax(full_size_logits(student, images))
    distance = f - target
    consistency = share * np.sum(valid[..., None] * distance**2) / valid.size
    # d(sum_c d_c^2) / d logit_k = 2 f_k (d_k - sum_c d_c f_c)
    inner = distance - np.sum(distance * f, axis=-1, keepdims=True)
    gradient = share * valid[..., None] * 2 * f * inner / valid.size
    l_sup, own = supervised(student, batch)
    weight = method.mean_teacher_weight
    predicted = g.argmax(axis=-1), g.max(axis=-1)
    return {
        "loss": l_sup + weight * consistency,
        "supervised": l_sup,
        "consistency": consistency,
        "confident": confident(predicted[1], method.mean_teacher_threshold, batch.u_valid),
    }, [Pass(batch.x, own), Pass(images, weight * gradient)]


def confident(highest, threshold, valid):
    """The share of the unlabeled images' own pixels that reach the threshold."""
    return np.sum(valid & (highest >= np.float32(threshold))) / max(valid.sum(), 1)


def uniform(seed, stream, shape):
    return tf.random.stateless_uniform(shape, tf.random.fold_in(tf.constant(seed), stream)).numpy()


def classmix(student, teacher, batch, settings):
    """l(f(X_L), Y_L) + lambda q l(f(X_A), Y_A), q the confident share of the pixels."""
    method, other = settings.method, neighbours(batch, settings)
    g = references.softmax(full_size_logits(teacher, batch.u_w))
    predicted, highest = g.argmax(axis=-1), g.max(axis=-1)
    masks = []
    for i, seed in enumerate(batch.seed):
        draws = uniform(seed, 0, [NUM_CLASSES])
        there = sorted(set(predicted[i][batch.u_valid[i]]), key=lambda c: draws[c])
        half = there[: len(there) // 2]
        masks.append(np.isin(predicted[i], half) & batch.u_valid[i])
    images, labels, certainty, valid = (
        mixed(masks, maps, maps[other]) for maps in (batch.u_s, predicted, highest, batch.u_valid)
    )
    number = max(valid.sum(), 1)
    share = np.sum(valid & (certainty >= np.float32(method.classmix_threshold))) / number
    loss, gradient = cross_entropy(labels, full_size_logits(student, images), valid, number)
    l_sup, own = supervised(student, batch)
    weight = method.classmix_weight * share
    return {
        "loss": l_sup + weight * loss,
        "supervised": l_sup,
        "consistency": share * loss,
        "confident": confident(highest, method.classmix_threshold, batch.u_valid),
    }, [Pass(batch.x, own), Pass(images, weight * gradient)]


def unimatch_box(draws):
    """The first of the rectangles that lies inside the image; half of the images have none."""
    applied, trials = draws[0, 0] < 0.5, draws[1:].astype(np.float64)
    for area, aspect, vertical, horizontal in trials if applied else ():
        size = (0.02 + 0.38 * area) * HEIGHT * WIDTH
        ratio = 0.3 + (1 / 0.3 - 0.3) * aspect
        height, width = int(np.sqrt(size * ratio)), int(np.sqrt(size / ratio))
        top, left = int(vertical * HEIGHT), int(horizontal * WIDTH)
        if top + height <= HEIGHT and left + width <= WIDTH:
            return top, left, height, width
    return 0, 0, 0, 0


def unimatch(student, teacher, batch, settings):
    """1/2 (L_x + lambda L_fp + mu/2 (L_s1 + L_s2)); the student is its own teacher."""
    method, other = settings.method, neighbours(batch, settings)
    p = references.softmax(full_size_logits(student, batch.u_w))
    weak = p.argmax(axis=-1), p.max(axis=-1), batch.u_valid
    shape = batch.y.shape[1:]

    def unsupervised(labels, certainty, valid, logits):
        used = valid & (certainty >= np.float32(method.unimatch_threshold))
        return cross_entropy(labels, logits, used, max(valid.sum(), 1))

    draws = [uniform(seed, 0, [2, 65, 4]) for seed in batch.seed]
    l_sup, own = supervised(student, batch)
    strong, passes = [], [Pass(batch.x, own / 2)]
    for view, images in enumerate((batch.u_s, batch.u_s2)):
        masks = [in_box(unimatch_box(draw[view]), shape) for draw in draws]
        images, *targets = (mixed(masks, maps[other], maps) for maps in (images, *weak))
        loss, gradient = unsupervised(*targets, full_size_logits(student, images))
        strong.append(loss)
        passes.append(Pass(images, method.unimatch_strong_weight / 4 * gradient))
    channels = student.get_layer("classifier").input.shape[-1]
    kept = [uniform(seed, 1, [channels]) >= method.unimatch_dropout for seed in batch.seed]
    factor = np.array(kept)[:, None, None, :] / (1 - method.unimatch_dropout)
    dropped = Pass(batch.u_w, 0.0, factor)
    feature, gradient = unsupervised(*weak, upsampled(dropped.logits(student).numpy()))
    passes.append(dropped._replace(gradient=method.unimatch_feature_weight / 2 * gradient))
    consistency = (
        method.unimatch_feature_weight * feature + method.unimatch_strong_weight / 2 * sum(strong)
    )
    return {
        "loss": (l_sup + consistency) / 2,
        "supervised": l_sup,
        "consistency": consistency,
        "feature": feature,
        "strong": sum(strong) / 2,
        "confident": confident(weak[1], method.unimatch_threshold, batch.u_valid),
    }, passes


STEPS = {
    "cutmix_mean_teacher": cutmix_mean_teacher,
    "classmix": classmix,
    "unimatch": unimatch,
}
