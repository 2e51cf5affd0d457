"""The teacher: an exponential moving average of the student (Section 3.1)."""

import keras
import tensorflow as tf


def initialise(teacher: keras.Model, student: keras.Model) -> None:
    """Copies every weight of the student to the teacher."""
    for target, source in zip(teacher.weights, student.weights, strict=True):
        target.assign(source)


def update(teacher: keras.Model, student: keras.Model, decay: tf.Tensor) -> None:
    """Moves the teacher towards the student: `t = decay * t + (1 - decay) * s`.

    Weights that training cannot change (frozen batch norm) are equal already and are left alone.

    Args:
        teacher: the network to move.
        student: a network of the same architecture.
        decay: alpha, a scalar.
    """
    moving = {id(variable) for variable in changing_weights(student)}
    for target, source in zip(teacher.weights, student.weights, strict=True):
        if id(source) in moving:
            tf.raw_ops.ResourceApplyGradientDescent(
                var=target.value.handle,
                alpha=1 - tf.cast(decay, target.dtype),
                delta=tf.convert_to_tensor(target) - source,
            )


def changing_weights(network: keras.Model) -> list[keras.Variable]:
    """Returns the weights that training changes: trainable ones, statistics of live batch norm."""
    statistics = [
        variable
        for layer in network._flatten_layers()
        if isinstance(layer, keras.layers.BatchNormalization) and layer.trainable
        for variable in layer.non_trainable_variables
    ]
    return [*network.trainable_variables, *statistics]
