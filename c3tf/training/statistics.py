"""What the train step counts beside the losses, and the scalars that follow from the counts.

Counts are added up over the replicas and over the steps of an interval before they are divided,
so a share means the same however the batch was cut.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

# Under which the train step returns them, beside its losses.
NAME = "statistics"
# Seconds since the epoch at which a step had its batch.
BATCH_READY = "batch_ready"
PREDICTED, CONFIDENT = "predicted_per_class", "confident_per_class"
ANCHORS = "anchors_per_class"
_AGREEING, _COMPARED = "agreeing", "compared"
COUNTS = frozenset({PREDICTED, CONFIDENT, ANCHORS, _AGREEING, _COMPARED})


def class_counts(
    predicted: tf.Tensor, confident: tf.Tensor, valid: tf.Tensor, num_classes: int
) -> dict[str, tf.Tensor]:
    """Counts the unlabeled pixels of every class that the teacher predicts.

    Args:
        predicted: `(B, H, W)` int32, the teacher's class.
        confident: `(B, H, W)` bool, the region that DCRS keeps.
        valid: `(B, H, W)` bool, pixels that come from the image.
        num_classes: C.

    Returns:
        This replica's counts, `(C,)` int32 each: of all valid pixels, and of the confident ones.
    """
    # One pass over the pixels: the cells of a class, those of its confident pixels, the invalid.
    cell = predicted + num_classes * tf.cast(confident, tf.int32)
    cell = tf.reshape(tf.where(valid, cell, 2 * num_classes), [-1])
    cells = 2 * num_classes + 1
    counts = tf.ensure_shape(tf.math.bincount(cell, minlength=cells, maxlength=cells), [cells])
    others, chosen = counts[:num_classes], counts[num_classes:-1]
    return {PREDICTED: others + chosen, CONFIDENT: chosen}


def agreement(student: tf.Tensor, teacher: tf.Tensor, valid: tf.Tensor) -> dict[str, tf.Tensor]:
    """Counts the unlabeled pixels at which student and teacher predict the same class.

    Args:
        student: `(B, h, w)` int32 classes.
        teacher: `(B, h, w)` int32 classes.
        valid: `(B, h, w)` bool, pixels to compare.

    Returns:
        This replica's counts, int32 scalars: of agreeing and of compared pixels.
    """
    return {
        _AGREEING: tf.math.count_nonzero(valid & (student == teacher), dtype=tf.int32),
        _COMPARED: tf.math.count_nonzero(valid, dtype=tf.int32),
    }


def describe(
    logs: dict[str, Any], class_names: Sequence[str], thresholds: np.ndarray | None
) -> dict[str, float]:
    """Turns the means over an interval of what the train step returns into named scalars.

    Args:
        logs: means by name: scalars, and one number per class.
        class_names: `C` names.
        thresholds: `(C,)` DCRS thresholds now; None in the supervised phase.

    Returns:
        Scalars by name; those of one class are called `WHAT/CLASS`. The share of confident pixels
        of a class that the teacher predicted nowhere is left out: it is not defined.
    """
    scalars = {name: float(value) for name, value in logs.items() if np.ndim(value) == 0}
    scalars |= _share("agreement", scalars.pop(_AGREEING, 0.0), scalars.pop(_COMPARED, 0.0))
    scalars |= _share("hard_share", scalars.get("hard_anchors", 0.0), scalars.get("anchors", 0.0))
    for place, name in enumerate(class_names):
        if thresholds is not None:
            scalars[f"threshold/{name}"] = float(thresholds[place])
        if PREDICTED in logs:
            counts = (float(logs[part][place]) for part in (CONFIDENT, PREDICTED))
            scalars |= _share(f"confident/{name}", *counts)
        if ANCHORS in logs:
            scalars[f"anchors/{name}"] = float(logs[ANCHORS][place])
    return scalars


def headline(scalars: dict[str, float]) -> list[str]:
    """Writes the few scalars that tell in a line how the method fares; none in its first phase."""
    if "consistency" not in scalars:
        return []
    parts = ("supervised", "consistency", "contrast", "lambda1")
    told = [f"{name} {scalars[name]:.3f}" for name in parts if name in scalars]
    return [*told, f"confident {scalars['confident']:.0%}"]


def _share(name: str, part: float, whole: float) -> dict[str, float]:
    return {name: part / whole} if whole else {}
