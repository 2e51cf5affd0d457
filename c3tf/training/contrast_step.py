"""The contrastive loss of a train step: from images and network outputs to `pixel_contrast`."""

from collections.abc import Sequence

import tensorflow as tf

from c3tf.config import Config
from c3tf.data.batch import SemiBatch, SupervisedBatch
from c3tf.labels import IGNORE
from c3tf.method import cutmix, schedules
from c3tf.method.contrast import ContrastInputs, ContrastResult, pixel_contrast
from c3tf.method.kernels.grid import FeatureGrid
from c3tf.method.reduction import local
from c3tf.training import distribution, statistics
from c3tf.training.targets import Targets

Outputs = dict[str, tf.Tensor]


def needs_teacher_of_labeled(config: Config) -> bool:
    """Tells whether the keys of labeled pixels come from the teacher."""
    method = config.method
    return (
        config.uses_contrast
        and method.contrast_sources != "unlabeled"
        and method.labeled_keys == "teacher"
    )


def counts(contrast: ContrastResult, num_classes: int) -> dict[str, tf.Tensor]:
    """Returns the anchors per class, `(C,)`, this replica's part of the statistics."""
    return {statistics.ANCHORS: tf.ensure_shape(contrast.anchors_per_class, [num_classes])}


def feature_grid(config: Config, features: tf.Tensor, labels: tf.Tensor) -> FeatureGrid:
    """Lays the grid of some feature maps over their images.

    Args:
        config: whether corners are aligned.
        features: `(B, h, w, K)`.
        labels: `(B, H, W)`, of the images' size.

    Returns:
        The grid.
    """
    size = tuple(labels.shape[1:])
    return FeatureGrid.between(tuple(features.shape[1:3]), size, config.network.align_corners)


def weight(config: Config, step: tf.Tensor, dtype: tf.DType) -> tf.Tensor:
    """Computes lambda2.

    Args:
        config: its weight and ramp.
        step: scalar, steps since the start of the training.
        dtype: dtype of the result.

    Returns:
        Scalar.
    """
    method = config.method
    return method.contrast_weight * schedules.sigmoid_ramp(step, method.contrast_ramp_steps, dtype)


def supervised(
    config: Config, num_classes: int, batch: SupervisedBatch, student: Outputs
) -> ContrastResult:
    """Contrasts labeled pixels with the student's own keys: there is no teacher yet.

    Args:
        config: the method's options.
        num_classes: C.
        batch: labeled images.
        student: its outputs for them.

    Returns:
        The loss and its counts.
    """
    grid = feature_grid(config, student["logits"], batch.y)
    draws = _priorities(batch.seed, student["logits"].shape[1:3])
    own = student["embedding"]
    labels = tf.cast(grid.take(batch.y), tf.int32)
    wrong = _predicted(student) != labels
    part = ContrastInputs(own, own, labels, wrong & _aware(config), draws[:, 0])
    return _contrast([part], config, num_classes)


def semi_supervised(
    config: Config,
    num_classes: int,
    batch: SemiBatch,
    plan: cutmix.MixPlan | None,
    student: Outputs,
    teacher_x: Outputs | None,
    teacher_u: Outputs,
    targets: Targets,
) -> ContrastResult:
    """Contrasts labeled and unlabeled pixels with keys of both (Eq. 5).

    Args:
        config: the method's options.
        num_classes: C.
        batch: labeled and unlabeled images.
        plan: how they were mixed, in pixels.
        student: its outputs for the mixed images.
        teacher_x: the teacher's outputs for the labeled images; None where nothing needs them.
        teacher_u: the teacher's outputs for the unlabeled images.
        targets: what they say.

    Returns:
        The loss and its counts.
    """
    grid = feature_grid(config, student["logits"], batch.y)
    plan = grid.plan(plan)
    embedding, predicted = student["embedding"], _predicted(student)
    number = tf.reshape(tf.range(predicted.shape.num_elements()), predicted.shape)
    # Embeddings stay mixed; where those of each image lie is all that the samples need.
    unmixed = cutmix.unmix(tf.stack([predicted, number], axis=-1), plan)
    (predicted_x, place_x), (predicted_u, place_u) = (tf.unstack(part, axis=-1) for part in unmixed)
    if teacher_x is None:
        labeled_keys, _ = cutmix.unmix(tf.stop_gradient(embedding), plan)
    else:
        labeled_keys = teacher_x["embedding"]
    labels_x = tf.cast(grid.take(batch.y), tf.int32)
    teacher_class = grid.take(targets.predicted)
    labels_u = tf.where(grid.take(targets.confident), teacher_class, IGNORE)
    draws, aware = _priorities(batch.seed, predicted_x.shape[1:]), _aware(config)
    sets = {
        "labeled": ContrastInputs(
            embedding=embedding,
            key_embedding=labeled_keys,
            labels=labels_x,
            hard=(predicted_x != labels_x) & aware,
            priority=draws[:, 0],
            place=place_x,
        ),
        "unlabeled": ContrastInputs(
            embedding=embedding,
            key_embedding=teacher_u["embedding"],
            labels=labels_u,
            hard=(predicted_u != teacher_class) & aware,
            priority=draws[:, 1],
            place=place_u,
        ),
    }
    sources = config.method.contrast_sources
    used = [part for name, part in sets.items() if sources in ("both", name)]
    return _contrast(used, config, num_classes)


def logs(contrast: ContrastResult) -> dict[str, tf.Tensor]:
    """Returns the scalars to report, this replica's parts."""
    return {
        "contrast": contrast.loss,
        "anchors": tf.reduce_sum(contrast.anchors_per_class),
        "hard_anchors": contrast.hard_anchors,
    }


def _predicted(student: Outputs) -> tf.Tensor:
    return tf.argmax(student["logits"], axis=-1, output_type=tf.int32)


def _aware(config: Config) -> bool:
    return config.method.contrast_sampling == "segmentation_aware"


def _contrast(sets: Sequence[ContrastInputs], config: Config, num_classes: int) -> ContrastResult:
    method = config.method
    return pixel_contrast(
        sets,
        num_classes=num_classes,
        count=method.contrast_samples,
        temperature=method.temperature,
        min_pixels=method.contrast_min_pixels,
        fill_up=method.contrast_fill_up,
        skip_class_0=method.contrast_skip_class_0,
        exclude_self=method.contrast_exclude_self,
        scale=method.contrast_scale,
        global_sum=distribution.global_sum,
        global_gather=distribution.global_gather if method.gather_contrast_keys else local,
        first_image=distribution.replica_index() * sum(part.labels.shape[0] for part in sets),
    )


def _priorities(seeds: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    """Draws `(B, 2, *shape)` uniform numbers, each pair of images from its own seed."""
    return tf.map_fn(
        lambda seed: tf.random.stateless_uniform([2, *shape], seed),
        seeds,
        fn_output_signature=tf.TensorSpec([2, *shape], tf.float32),
    )
