"""Class thresholds of DCRS, found on a whole data set in place of one batch."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import tensorflow as tf

from c3tf.evaluation.evaluator import BatchRunner, EvaluationError, Step
from c3tf.method import confidence


def find(
    steps: Sequence[Step],
    dataset: Iterable[dict[str, tf.Tensor]],
    share: float,
    devices: Sequence[str | None] = (None,),
    progress: Callable[[int], None] | None = None,
) -> np.ndarray:
    """Finds the thresholds that keep a share of the pixels of every predicted class (Eq. 6).

    Args:
        steps: `evaluator.confidence_step`, one per device.
        dataset: as for `Evaluator.run`.
        share: s, above 0 and at most 1; at 1 the thresholds are 0, which keeps all.
        devices: where the steps run, see `BatchRunner`.
        progress: called after every batch with the number of images so far.

    Returns:
        `(C,)` float32, multiples of `1 / confidence.BINS`.

    Raises:
        EvaluationError: the data set is empty or cannot be read.
    """
    if not 0 < share <= 1:
        raise ValueError(f"`share` must be above 0 and at most 1. Received: share={share}")
    total, seen = 0, 0
    for names, (counts,) in BatchRunner(steps, devices).run(dataset):
        total = total + counts.numpy().astype(np.int64)
        seen += len(names)
        if progress:
            progress(seen)
    if not seen:
        raise EvaluationError("The data set holds no image to find thresholds on.")
    if share == 1:
        return np.zeros(len(total), np.float32)
    return confidence.class_thresholds(tf.constant(total), share, tf.float32).numpy()
