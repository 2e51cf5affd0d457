"""Values with their gradients, compiled as a train step compiles them."""

from collections.abc import Callable

import tensorflow as tf


def with_gradient(loss: Callable[[tf.Tensor], tf.Tensor], x: tf.Tensor) -> tuple:
    """Returns value and gradient of a compiled function of one tensor."""

    @tf.function(autograph=False)
    def run():
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(x)
        return value, tape.gradient(value, x)

    return run()
