"""The parts of the method that `method_cost` times, each beside a bare operation and the plain way.

Every case is a dict of compiled functions: `ours` as the train step calls it, `bare`, the operation
that the part cannot do without, and `plain`, the executable paper. Where the part is interwoven
with work that is no part of it, `anyway` is that work alone, to be taken off both ways.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from c3tf.labels import IGNORE
from c3tf.method import confidence, cutmix, plain
from c3tf.method.contrast import BLOCK_PAIRS, ContrastInputs, pixel_contrast
from c3tf.method.kernels import resize
from c3tf.method.kernels.grid import FeatureGrid
from c3tf.method.sampling import sample_pixels

Case = dict[str, Callable[[], object]]

STRIDE = 8
SAMPLES, TEMPERATURE = 20, 0.15
RATIO, DECAY = 0.8, 0.9


def _compiled(**functions: Callable[[], object]) -> Case:
    return {name: tf.function(function, autograph=False) for name, function in functions.items()}


def _copy(x: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.DeepCopy(x=x)


def dcrs(images: int, height: int, width: int, num_classes: int) -> Case:
    """Thresholds and confident region, against one `reduce_max` over the classes.

    The probabilities are given: the consistency loss needs them in any case.
    """
    rng = np.random.default_rng(0)
    shape = (images, height, width)
    probabilities = tf.nn.softmax(tf.constant(rng.normal(0, 3, (*shape, num_classes)), tf.float32))
    valid = tf.constant(rng.random(shape) < 0.95)
    start = tf.fill([num_classes], 0.9)

    def ours() -> tuple:
        highest, predicted = confidence.most_probable(probabilities)
        thresholds = confidence.update_thresholds(
            start, highest, predicted, valid, ratio=RATIO, decay=DECAY
        )
        region = confidence.confident_region(thresholds, highest, predicted, valid)
        return predicted, thresholds, region

    def sorting() -> tuple:
        thresholds = plain.thresholds(start, probabilities, valid, s=RATIO, beta=DECAY)
        return thresholds, plain.confident_region(thresholds, probabilities, valid)

    return _compiled(ours=ours, bare=lambda: tf.reduce_max(probabilities, axis=-1), plain=sorting)


class ContrastCase:
    """Half labeled, half unlabeled images whose embeddings come mixed out of the student."""

    def __init__(
        self, images: int, height: int, width: int, channels: int, num_classes: int, present: int
    ) -> None:
        """Draws the maps.

        Args:
            images: labeled and unlabeled ones together.
            height: rows of the feature maps.
            width: columns of the feature maps.
            channels: D.
            num_classes: C.
            present: classes that each image shows; with 20 samples each, this sets the anchors.
        """
        rng = np.random.default_rng(0)
        shape = (images, height, width)
        self.num_classes = num_classes
        self.embedding, keys = (
            tf.constant(rng.standard_normal((*shape, channels), np.float32)) for _ in range(2)
        )
        self.keys = tf.split(keys, 2)
        labels = random_labels(rng, shape, num_classes, present)
        self.labels = tf.split(tf.constant(labels), 2)
        self.hard = tf.split(tf.constant(rng.random(shape) < 0.3), 2)
        self.priority = tf.split(tf.constant(rng.random(shape), tf.float32), 2)
        size = height * STRIDE, width * STRIDE
        self.plan = random_plan(rng, images // 2, *size)
        number = tf.reshape(tf.range(np.prod(shape)), [*shape, 1])
        self.places = [part[..., 0] for part in cutmix.unmix(number, on_grid(self.plan, *size))]

    def _sets(self, embedding: list, places: list) -> list[ContrastInputs]:
        columns = (embedding, self.keys, self.labels, self.hard, self.priority, places)
        return [ContrastInputs(*row) for row in zip(*columns, strict=True)]

    def _ours(self, block_pairs: int = BLOCK_PAIRS) -> object:
        return pixel_contrast(
            self._sets([self.embedding] * 2, self.places),
            num_classes=self.num_classes,
            count=SAMPLES,
            temperature=TEMPERATURE,
            block_pairs=block_pairs,
        )

    def _plain(self) -> tf.Tensor:
        """Eq. 5 with every similarity in memory; the samples are found as ours are."""
        apart = tf.concat(plain_unmix(self.embedding, self.plan, STRIDE), axis=0)
        images = apart.shape[0]
        labels, hard, priority = (
            tf.reshape(tf.concat(maps, axis=0), [images, -1])
            for maps in (self.labels, self.hard, self.priority)
        )
        samples = sample_pixels(labels, hard, priority, num_classes=self.num_classes, count=SAMPLES)
        filled = tf.where(samples.taken)
        index = tf.cast(tf.boolean_mask(samples.index, samples.taken), filled.dtype)
        pixel = filled[:, 0] * labels.shape[1] + index
        anchors, keys = (
            tf.gather(tf.reshape(maps, [-1, maps.shape[-1]]), pixel)
            for maps in (apart, tf.concat(self.keys, axis=0))
        )
        return plain.contrast(anchors, keys, filled[:, 1], TEMPERATURE)

    def _gradient(self, loss: Callable[[], tf.Tensor]) -> tuple:
        with tf.GradientTape() as tape:
            tape.watch(self.embedding)
            value = loss()
        return value, tape.gradient(value, self.embedding)

    def anchors(self) -> int:
        """Returns the number of anchors that the sampling finds."""
        return int(tf.reduce_sum(self._ours().anchors_per_class))

    def _products(self, number: int) -> tuple:
        """The product of the forward pass, and that of the backward pass with its like."""
        rows = tf.reshape(self.embedding, [-1, self.embedding.shape[-1]])[:number]
        keys = tf.reshape(self.keys[0], [-1, rows.shape[-1]])
        keys = tf.concat([keys, keys], axis=0)[:number]
        similarity = tf.matmul(rows, keys, transpose_b=True)
        return similarity, tf.matmul(similarity, keys)

    def plain_way(self) -> Callable[[], object]:
        """Returns the plain forward and backward pass."""
        return tf.function(lambda: self._gradient(self._plain), autograph=False)

    def ours_in_blocks(self, block_pairs: int) -> Callable[[], object]:
        """Returns our forward and backward pass with blocks of another size."""
        return tf.function(
            lambda: self._gradient(lambda: self._ours(block_pairs).loss), autograph=False
        )

    def case(self) -> Case:
        """Sampling, loss and gradient for the mixed embeddings, against the matrix products."""
        number = self.anchors()
        return _compiled(
            ours=lambda: self._gradient(lambda: self._ours().loss),
            bare=lambda: self._products(number),
            plain=lambda: self._gradient(self._plain),
        )


def random_plan(rng: np.random.Generator, pairs: int, height: int, width: int) -> cutmix.MixPlan:
    """Draws a plan for one group."""
    order = cutmix.draw_order(tf.constant(rng.random((1, 2 * pairs))), "cross_set")
    boxes = cutmix.boxes_from_uniform(tf.constant(rng.random((1, pairs, 3))), height, width)
    return cutmix.MixPlan(order, boxes)


def on_grid(plan: cutmix.MixPlan, height: int, width: int) -> cutmix.MixPlan:
    """Converts a plan for images of a size to their feature grid."""
    size = (height, width)
    return cutmix.on_grid(plan, FeatureGrid.between(tuple(n // STRIDE for n in size), size))


def random_labels(
    rng: np.random.Generator, shape: tuple[int, ...], num_classes: int, present: int
) -> np.ndarray:
    """Draws labels `(B, h, w)` of which each image shows some classes, and a tenth is ignored."""
    labels = np.stack(
        [rng.choice(rng.permutation(num_classes)[:present], shape[1:]) for _ in range(shape[0])]
    )
    return np.where(rng.random(shape) < 0.1, IGNORE, labels).astype(np.int32)


def plain_unmix(
    mixed: tf.Tensor, plan: cutmix.MixPlan, stride: int = 1
) -> tuple[tf.Tensor, tf.Tensor]:
    """Takes maps apart with the masks of Eq. 4."""
    boxes, size = tf.reshape(plan.boxes, [-1, 4]), (stride * n for n in mixed.shape[1:3])
    return plain.unmix_batch(mixed, plan.order, plain.masks(boxes, *size, mixed.dtype, stride))


def mixing(images: int, height: int, width: int, num_classes: int, backward: bool) -> Case:
    """Everything that the step mixes or takes apart, against a copy of the same tensors.

    That is the images (uint8) on the way in, the full-size logits on the way out, and the
    predictions and numbers of the pixels on the feature grid. Labels, teacher and valid masks are
    never mixed, because predictions are taken apart before the losses; embeddings stay mixed.
    Logits are taken apart as they are resized; `anyway` is the resizing.

    Args:
        images: labeled and unlabeled ones together.
        height: image height, pixels.
        width: image width, pixels.
        num_classes: C.
        backward: also take the gradient of the logits back.
    """
    rng = np.random.default_rng(0)
    shape = (images, height, width)
    labeled, unlabeled = tf.split(tf.constant(rng.integers(0, 256, (*shape, 3)), tf.uint8), 2)
    upstream = tf.split(tf.constant(rng.normal(size=(*shape, num_classes)), tf.float32), 2)
    # Not twice the same tensors, of which TensorFlow would make one copy.
    large = [*upstream, *([-x for x in upstream] if backward else [])]
    low = (images, height // STRIDE, width // STRIDE)
    logits = tf.constant(rng.normal(size=(*low, num_classes)), tf.float32)
    grid = tf.zeros([*low, 2], tf.int32)
    plan = random_plan(rng, images // 2, height, width)

    def full(parts: tuple) -> tuple:
        return tuple(part.full() for part in parts)

    def run(take_apart: Callable) -> tuple:
        with tf.GradientTape() as tape:
            tape.watch(logits)
            apart = take_apart()
        return apart, tape.gradient(apart, logits, upstream) if backward else None

    def ours() -> tuple:
        apart = run(lambda: full(cutmix.unmix_resized(logits, plan, height, width)))
        return (
            apart,
            cutmix.mix(labeled, unlabeled, plan),
            cutmix.unmix(grid, on_grid(plan, height, width)),
        )

    def with_masks() -> tuple:
        apart = run(lambda: plain_unmix(resize.bilinear(logits, height, width), plan))
        masks = plain.masks(tf.reshape(plan.boxes, [-1, 4]), height, width, labeled.dtype)
        mixed = plain.mix_batch(labeled, unlabeled, plan.order, masks)
        return apart, mixed, plain_unmix(grid, plan, STRIDE)

    return _compiled(
        ours=ours,
        bare=lambda: [_copy(x) for x in (labeled, unlabeled, grid, *large)],
        plain=with_masks,
        anyway=lambda: run(lambda: full(cutmix.unmix_resized(logits, None, height, width))),
    )
