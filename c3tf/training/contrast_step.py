"""The contrastive loss of a train step: its inputs, from batch and outputs on the feature grid."""

from collections.abc import Sequence
from typing import NamedTuple

import tensorflow as tf

from c3tf.config import Config
from c3tf.data.batch import SupervisedBatch
from c3tf.labels import IGNORE
from c3tf.method import cutmix
from c3tf.method.contrast import ContrastInputs, ContrastResult, pixel_contrast
from c3tf.method.kernels.grid import FeatureGrid
from c3tf.method.reduction import local
from c3tf.training import distribution
from c3tf.training.trainer import Outputs


class AtFeatures(NamedTuple):
    """What labels, student and teacher say of the pixels on which the features lie.

    Attributes:
        y: `(B, h, w)` int32 train ids of the labeled images, `IGNORE` where unlabeled.
        predicted_x: `(B, h, w)` int32, the student's classes of the labeled images.
        predicted_u: `(B, h, w)` int32, those of the unlabeled images.
        place_x: `(B, h, w)` int32, where each of them lies in the mixed maps, see
            `ContrastInputs.place`.
        place_u: `(B, h, w)` int32 likewise.
        teacher_u: `(B, h, w)` int32, the teacher's classes of the unlabeled images.
        confident_u: `(B, h, w)` bool, the region that DCRS keeps.
        valid_u: `(B, h, w)` bool, where an unlabeled view shows its image and not padding.
        plan: how the maps were mixed, in features; None where they were not.
    """

    y: tf.Tensor
    predicted_x: tf.Tensor
    predicted_u: tf.Tensor
    place_x: tf.Tensor
    place_u: tf.Tensor
    teacher_u: tf.Tensor
    confident_u: tf.Tensor
    valid_u: tf.Tensor
    plan: cutmix.MixPlan | None


def needs_teacher_of_labeled(config: Config) -> bool:
    """Tells whether the keys of labeled pixels come from the teacher."""
    method = config.method
    return (
        config.uses_contrast
        and method.contrast_sources != "unlabeled"
        and method.labeled_keys == "teacher"
    )


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


def unmix_classes(
    logits: tf.Tensor, plan: cutmix.MixPlan | None
) -> tuple[tuple[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
    """Takes the student's classes of mixed images apart.

    Embeddings stay mixed; where those of each image lie is all that the samples need.

    Args:
        logits: `(2 B, h, w, C)` of the mixed images.
        plan: how they were mixed, in features.

    Returns:
        Classes and places, `(B, h, w)` int32 each, of the labeled and of the unlabeled images.
    """
    predicted = _classes(logits)
    number = tf.reshape(tf.range(predicted.shape.num_elements()), predicted.shape)
    parts = cutmix.unmix(tf.stack([predicted, number], axis=-1), plan)
    return tuple(tuple(tf.unstack(part, axis=-1)) for part in parts)


def supervised(
    config: Config, num_classes: int, batch: SupervisedBatch, student: Outputs
) -> ContrastResult:
    """Contrasts labeled pixels with the student's own keys: there is no teacher yet.

    Args:
        config: the method's options.
        num_classes: C.
        batch: labeled images.
        student: its outputs for them.
    """
    grid = feature_grid(config, student["logits"], batch.y)
    priority = _priorities(batch.seed, student["logits"].shape[1:3])
    own = student["embedding"]
    labels = tf.cast(grid.take(batch.y), tf.int32)
    wrong = _classes(student["logits"]) != labels
    part = ContrastInputs(own, own, labels, wrong & _aware(config), priority[:, 0])
    return _contrast([part], config, num_classes)


def semi_supervised(
    config: Config,
    num_classes: int,
    seed: tf.Tensor,
    seen: AtFeatures,
    student: Outputs,
    teacher_x: Outputs | None,
    teacher_u: Outputs,
) -> ContrastResult:
    """Contrasts labeled and unlabeled pixels with keys of both (Eq. 5).

    Args:
        config: the method's options.
        num_classes: C.
        seed: `(B, 2)` of the batch.
        seen: what is known of the features' pixels.
        student: its outputs for the mixed images.
        teacher_x: the teacher's outputs for the labeled images; None where nothing needs them.
        teacher_u: the teacher's outputs for the unlabeled images.
    """
    embedding = student["embedding"]
    if teacher_x is None:
        labeled_keys, _ = cutmix.unmix(tf.stop_gradient(embedding), seen.plan)
    else:
        labeled_keys = teacher_x["embedding"]
    priority, aware = _priorities(seed, seen.y.shape[1:]), _aware(config)
    sets = {
        "labeled": ContrastInputs(
            embedding=embedding,
            key_embedding=labeled_keys,
            labels=seen.y,
            hard=(seen.predicted_x != seen.y) & aware,
            priority=priority[:, 0],
            place=seen.place_x,
        ),
        "unlabeled": ContrastInputs(
            embedding=embedding,
            key_embedding=teacher_u["embedding"],
            labels=tf.where(seen.confident_u, seen.teacher_u, IGNORE),
            hard=(seen.predicted_u != seen.teacher_u) & aware,
            priority=priority[:, 1],
            place=seen.place_u,
        ),
    }
    sources = config.method.contrast_sources
    used = [part for name, part in sets.items() if sources in ("both", name)]
    return _contrast(used, config, num_classes)


def _classes(logits: tf.Tensor) -> tf.Tensor:
    return tf.argmax(logits, axis=-1, output_type=tf.int32)


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
