"""Confusion counts against loops and cases counted by hand."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from c3tf.evaluation.confusion import confusion_counts
from c3tf.labels import IGNORE

pytestmark = pytest.mark.smoke


def by_loop(labels, predictions, num_classes):
    counts = np.zeros((num_classes, num_classes), int)
    for label, prediction in zip(np.ravel(labels), np.ravel(predictions), strict=True):
        if label != IGNORE:
            counts[label, prediction] += 1
    return counts


def test_hand_case_has_true_classes_in_rows():
    labels = np.array([[0, 0, 1], [2, IGNORE, 2]], np.uint8)
    predictions = np.array([[0, 1, 1], [0, 2, 2]], np.uint8)
    counts = confusion_counts(labels, predictions, 3)
    assert counts.dtype == tf.int64
    np.testing.assert_array_equal(counts, [[1, 1, 0], [0, 1, 0], [1, 0, 1]])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 7), st.integers(0, 40), st.integers(0, 2**32 - 1))
def test_equals_loops_eagerly_and_in_a_graph(num_classes, pixels, seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice([*range(num_classes), IGNORE], pixels).astype(np.uint8)
    predictions = rng.integers(0, num_classes, pixels).astype(np.uint8)
    expected = by_loop(labels, predictions, num_classes)
    np.testing.assert_array_equal(confusion_counts(labels, predictions, num_classes), expected)
    np.testing.assert_array_equal(in_graph(labels, predictions, num_classes), expected)


@tf.function(
    input_signature=[
        tf.TensorSpec([None], tf.uint8),
        tf.TensorSpec([None], tf.uint8),
        tf.TensorSpec([], tf.int32),
    ]
)
def in_graph(labels, predictions, num_classes):
    return confusion_counts(labels, predictions, num_classes)


def test_takes_labels_with_a_channel_and_other_integers():
    labels = np.array([[[[0], [1]]]], np.int64)
    predictions = np.array([[[1, 1]]], np.int32)
    np.testing.assert_array_equal(confusion_counts(labels, predictions, 2), [[0, 1], [0, 1]])


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(
    ("labels", "predictions", "message"),
    [
        ([0, 3], [0, 0], "labels must be 0 to 2"),
        ([0, 254], [0, 0], "labels must be 0 to 2"),
        ([0, 1], [0, 3], "predictions must be 0 to 2"),
        ([0, 1], [0, IGNORE], "predictions must be 0 to 2"),
        ([0, 1], [0], "equal sizes"),
    ],
)
def test_refuses_what_it_cannot_count(labels, predictions, message, compiled):
    def count(labels, predictions):
        return confusion_counts(labels, predictions, 3)

    spec = tf.TensorSpec([None], tf.uint8)
    call = tf.function(count, input_signature=[spec, spec]) if compiled else count
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        call(tf.constant(labels, tf.uint8), tf.constant(predictions, tf.uint8))


def test_predictions_at_ignored_pixels_do_not_matter():
    counts = confusion_counts(np.array([IGNORE, 1]), np.array([200, 1]), 2)
    np.testing.assert_array_equal(counts, [[0, 0], [0, 1]])
