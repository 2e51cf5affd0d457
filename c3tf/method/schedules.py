"""Weights and rates over the steps (Section 4.1)."""

import tensorflow as tf


def sigmoid_ramp(step: tf.Tensor, length: int, dtype: tf.DType = tf.float32) -> tf.Tensor:
    """Computes `exp(-5 (1 - step / length)^2)`, which rises to 1 and stays there.

    Args:
        step: scalar, steps since the ramp began.
        length: steps until 1 is reached; 0 means at once.
        dtype: dtype of the result.

    Returns:
        Scalar, from exp(-5) to 1.
    """
    if length == 0:
        return tf.ones([], dtype)
    remaining = 1 - tf.clip_by_value(tf.cast(step, dtype) / length, 0, 1)
    return tf.exp(-5 * tf.square(remaining))


def ema_decay(step: tf.Tensor, decay: float, warmup: bool, dtype: tf.DType) -> tf.Tensor:
    """Computes alpha, the decay of the teacher's moving average.

    Args:
        step: scalar, steps since the teacher was initialised.
        decay: alpha of the paper.
        warmup: limit it to `1 - 1 / (step + 1)`, as the authors' code does.
        dtype: dtype of the result.

    Returns:
        Scalar in [0, 1).
    """
    alpha = tf.constant(decay, dtype)
    return tf.minimum(alpha, 1 - 1 / (tf.cast(step, dtype) + 1)) if warmup else alpha
