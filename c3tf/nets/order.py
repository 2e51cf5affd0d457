"""When operations of a compiled step run, where nothing that they read decides it."""

from contextlib import AbstractContextManager

import tensorflow as tf


def after(x: tf.Tensor) -> AbstractContextManager:
    """Has what is made within wait for a tensor.

    Not for the tensor itself, but for a number of it: TensorFlow joins a convolution with its bias
    and activation in one operation only where no operation waits for the activation by name alone.
    """
    return tf.control_dependencies([tf.slice(x, [0] * x.shape.rank, [1] * x.shape.rank)])
