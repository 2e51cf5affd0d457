"""Confusion counts: which class was predicted where which class was true."""

import tensorflow as tf

from c3tf.labels import IGNORE


def confusion_counts(labels: tf.Tensor, predictions: tf.Tensor, num_classes: int) -> tf.Tensor:
    """Counts pixels by true and predicted class.

    Pixels whose label is `IGNORE` are not counted, whatever was predicted there. To leave other
    pixels out, set their label to `IGNORE`. Works eagerly and inside a `tf.function`.

    Args:
        labels: train ids or `IGNORE`, any shape, any integer dtype.
        predictions: train ids, as many values as `labels`, any integer dtype.
        num_classes: number of classes `C`.

    Returns:
        `(C, C)` int64; rows are the true class, columns the predicted one.

    Raises:
        tf.errors.InvalidArgumentError: the sizes differ, a label is neither a class nor
            `IGNORE`, or a prediction at a counted pixel is no class.
    """
    labels = tf.cast(tf.reshape(labels, [-1]), tf.int32)
    predictions = tf.cast(tf.reshape(predictions, [-1]), tf.int32)
    same_size = tf.debugging.assert_equal(
        tf.size(labels), tf.size(predictions), "labels and predictions must have equal sizes"
    )
    with tf.control_dependencies(_ops(same_size)):
        counted = tf.not_equal(labels, IGNORE)
    labels = tf.boolean_mask(labels, counted)
    predictions = tf.boolean_mask(predictions, counted)
    checks = [
        *_ops(_assert_classes(labels, num_classes, "labels", f" or {IGNORE} (ignore)")),
        *_ops(_assert_classes(predictions, num_classes, "predictions", "")),
    ]
    with tf.control_dependencies(checks):
        pairs = labels * num_classes + predictions
    bins = num_classes * num_classes
    counts = tf.math.bincount(pairs, minlength=bins, maxlength=bins, dtype=tf.int64)
    return tf.reshape(counts, [num_classes, num_classes])


def _assert_classes(values: tf.Tensor, num_classes: int, name: str, also: str) -> tf.Operation:
    wrong = tf.boolean_mask(values, (values < 0) | (values >= num_classes))
    message = f"{name} must be 0 to {num_classes - 1}{also}. Received: {name}="
    return tf.debugging.Assert(tf.equal(tf.size(wrong), 0), [message, wrong[:1]])


def _ops(assertion: tf.Operation | None) -> list[tf.Operation]:
    """Assertions are `None` when they already ran, eagerly or at tracing time."""
    return [] if assertion is None else [assertion]
