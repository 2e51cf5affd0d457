"""How sure a network is: by hand, and the class that a pixel keeps as training decides it."""

import numpy as np
import pytest
import tensorflow as tf

from c3tf.inference import doubt
from c3tf.labels import IGNORE
from c3tf.method import confidence

pytestmark = pytest.mark.smoke


def test_entropy_by_hand():
    p = np.array([[1, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0], [0.7, 0.1, 0.1, 0.1]], np.float32)
    seven = -(0.7 * np.log(0.7) + 0.3 * np.log(0.1)) / np.log(4)
    np.testing.assert_allclose(doubt.entropy(p), [0, 1, 0.5, seven], atol=1e-6)
    np.testing.assert_array_equal(doubt.entropy(np.ones((2, 3, 1), np.float32)), np.zeros((2, 3)))


def test_confidence_uses_the_whole_byte():
    p = np.array([[1.0, 0.0], [0.5, 0.5], [0.2, 0.8]], np.float32)
    assert doubt.confidence_bytes(p).tolist() == [255, 128, 204]


def test_pseudo_labels_are_the_confident_region_of_training():
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.full(4, 0.5), (1, 20, 30)).astype(np.float32)
    class_map = p.argmax(-1).astype(np.uint8)
    # One threshold is met exactly: it is reached.
    thresholds = np.array([0.9, p[0][class_map[0] == 1].max(-1).max(), 0.0, 0.5], np.float32)
    kept = confidence.confident_region(
        tf.constant(thresholds),
        tf.constant(p.max(-1)),
        tf.constant(class_map.astype(np.int32)),
        tf.ones([1, 20, 30], tf.bool),
    ).numpy()[0]
    found = doubt.pseudo_labels(p[0], class_map[0], thresholds)
    assert (found == 1).sum() == 1
    np.testing.assert_array_equal(found, np.where(kept, class_map[0], IGNORE))
