"""Sums over the global batch, wherever its parts live."""

from collections.abc import Callable

import tensorflow as tf

GlobalSum = Callable[[tf.Tensor], tf.Tensor]


def local(x: tf.Tensor) -> tf.Tensor:
    """Returns `x`: the sum over replicas where there is only one."""
    return x


def at_least_float32(x: tf.Tensor) -> tf.Tensor:
    """Widens half precision; softmax, losses and thresholds are never computed in it."""
    return tf.cast(x, tf.float32) if x.dtype in (tf.float16, tf.bfloat16) else x
