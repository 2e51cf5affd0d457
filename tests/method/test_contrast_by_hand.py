"""Eq. 5 in cases that can be worked out by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf

from c3tf.labels import IGNORE
from c3tf.method.contrast import ContrastInputs, contrastive, pixel_contrast

pytestmark = pytest.mark.smoke

TEMPERATURE = 0.15


def by_hand(anchor_classes, key_classes, similarity=0.0, **ids):
    """One anchor of unit length and keys with `similarity` to it, per key."""
    similarity = np.broadcast_to(np.asarray(similarity, float), (len(key_classes),))
    keys = np.stack([similarity, np.sqrt(1 - similarity**2)], axis=1)
    anchors = np.tile([[1.0, 0.0]], (len(anchor_classes), 1))
    return contrastive(
        tf.constant(anchors),
        tf.constant(anchor_classes, tf.int32),
        tf.constant(keys),
        tf.constant(key_classes, tf.int32),
        temperature=0.5,
        **ids,
    ).numpy()


def test_one_positive_and_one_negative():
    loss = by_hand([0], [0, 1], [0.5, -0.25])
    assert loss[0] == pytest.approx(-math.log(math.exp(1) / (math.exp(1) + math.exp(-0.5))))


def test_no_positives_cost_nothing():
    assert by_hand([0], [1, 2]).tolist() == [0]


def test_no_negatives_cost_nothing():
    assert by_hand([0, 0], [0, 0, 0], [1.0, 0.3, -1.0]).tolist() == [0, 0]


def test_other_positives_are_no_rivals():
    """The denominator of Eq. 5 holds the pair and the negatives, not the other positives."""
    one = by_hand([0], [0, 1], [0.5, 0.0])
    more = by_hand([0], [0, 0, 0, 1], [0.5, 0.5, 0.5, 0.0])
    np.testing.assert_allclose(one, more, rtol=1e-12)


def test_an_excluded_key_is_neither_positive_nor_negative():
    loss = by_hand(
        [0],
        [0, 0, 1],
        [1.0, 0.5, -0.25],
        anchor_ids=tf.constant([7]),
        key_ids=tf.constant([7, 8, 9]),
    )
    np.testing.assert_allclose(loss, by_hand([0], [0, 1], [0.5, -0.25]), rtol=1e-12)


def contrast_of(labels, **options):
    labels = np.asarray(labels, np.int32)
    rng = np.random.default_rng(3)
    embedding = tf.constant(rng.normal(size=(*labels.shape, 4)))
    with tf.GradientTape() as tape:
        tape.watch(embedding)
        result = pixel_contrast(
            [
                ContrastInputs(
                    embedding,
                    embedding + 1,
                    labels,
                    np.zeros(labels.shape, bool),
                    tf.constant(rng.random(labels.shape), tf.float32),
                )
            ],
            num_classes=3,
            count=20,
            temperature=TEMPERATURE,
            **options,
        )
    gradient = tape.gradient(result.loss, embedding)
    return float(result.loss), result.anchors_per_class.numpy().tolist(), gradient.numpy()


@pytest.mark.parametrize(
    ("labels", "options", "anchors"),
    [
        ([[[IGNORE, IGNORE]]], {}, [0, 0, 0]),
        ([[[2]]], {}, [0, 0, 1]),
        ([[[1, 1], [1, 1]], [[1, 1], [1, 1]]], {}, [0, 8, 0]),
        ([[[0, 1]]], {"exclude_self": True}, [1, 1, 0]),
        ([[[0, 0]]], {"skip_class_0": True}, [0, 0, 0]),
    ],
    ids=["everything ignored", "one pixel", "one class", "no positive but itself", "class 0 only"],
)
def test_nothing_to_contrast_is_0_without_gradient(labels, options, anchors):
    loss, counts, gradient = contrast_of(labels, **options)
    assert loss == 0
    assert counts == anchors
    np.testing.assert_array_equal(gradient, 0)


def test_class_0_and_a_class_in_one_image_only():
    labels = [[[0, 0, 1]], [[0, 2, IGNORE]]]
    loss, counts, gradient = contrast_of(labels)
    assert counts == [3, 1, 1]
    assert loss > 0
    assert gradient[:, 0, :, 0].astype(bool).tolist() == [[True, True, True], [True, True, False]]
