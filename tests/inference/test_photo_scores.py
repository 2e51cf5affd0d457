"""How doubtful photos are: sums by class, weights and ranks, against NumPy."""

import numpy as np
import pytest
import tensorflow as tf

import tiny_network
from c3tf.inference import networks, photo_scores
from c3tf.inference.photo_scores import BELOW, DISAGREEMENT, ENTROPY, PIXELS, SUMS

pytestmark = pytest.mark.smoke
THRESHOLDS = np.array([0.6, 0.9, 0.7, 0.8], np.float32)


def softmax(network, images):
    return networks.probabilities(network)(tf.constant(images)).numpy().astype(np.float64)


def naive(teacher, student, num_classes):
    """The sums of one image, class by class."""
    predicted = teacher.argmax(-1)
    entropy = -(teacher * np.log(np.maximum(teacher, 1e-30))).sum(-1) / np.log(num_classes)
    rows = np.zeros((4, num_classes))
    for c in range(num_classes):
        own = predicted == c
        rows[:, c] = [
            own.sum(),
            (teacher.max(-1)[own].astype(np.float32) < THRESHOLDS[c]).sum(),
            (student.argmax(-1)[own] != c).sum(),
            entropy[own].sum(),
        ]
    return rows


def test_sums_by_class_and_features():
    head = {"head": "aspp_branch1"}
    teacher, student = tiny_network.build(1, **head), tiny_network.build(0, **head)
    images = tiny_network.noise(3, 21, 34, batch=3)
    summer = photo_scores.summer(
        networks.probabilities_and_features(teacher),
        networks.probabilities(student),
        THRESHOLDS,
        4,
    )
    sums, features = (found.numpy() for found in summer(tf.constant(images)))
    p, q = softmax(teacher, images), softmax(student, images)
    for index in range(3):
        expected = naive(p[index], q[index], 4)
        assert (expected[1:3].sum(1) > 0).all()
        np.testing.assert_allclose(sums[index], expected, atol=1e-3)
    # What the heads read, over the image as the stride continues it.
    padded = np.pad(images, ((0, 0), (0, 3), (0, 2), (0, 0)), mode="edge").astype(np.float32)
    x = padded
    for layer in teacher.layers[1:]:
        x = layer(x)
        if layer.name == "body":
            break
    pooled = np.asarray(x).mean((1, 2))
    pooled /= np.linalg.norm(pooled, axis=1, keepdims=True)
    np.testing.assert_allclose(features, pooled, atol=1e-5)


def test_what_is_not_known_is_zero():
    network = tiny_network.build(1, head="aspp_branch1")
    summer = photo_scores.summer(networks.probabilities_and_features(network), None, None, 4)
    sums, _ = summer(tf.constant(tiny_network.noise(3, 8, 12, batch=1)))
    assert sums[0, 0].numpy().sum() == 8 * 12
    assert not sums[0, 1:3].numpy().any()
    assert sums[0, 3].numpy().sum() > 0


def test_rare_classes_weigh_more():
    # Two photos with as many doubtful pixels, of the common class and of the rare one.
    pixels = [[90, 10], [90, 10]]
    below = [[10, 0], [0, 10]]
    sums = np.zeros((2, 4, 2))
    sums[:, SUMS.index(PIXELS)], sums[:, SUMS.index(BELOW)] = pixels, below
    common, rare = 1 / np.sqrt(0.9), 1 / np.sqrt(0.1)
    total = 90 * common + 10 * rare
    found = photo_scores.parts(sums, (BELOW,))
    assert list(found) == [BELOW]
    np.testing.assert_allclose(found[BELOW], [10 * common / total, 10 * rare / total])
    np.testing.assert_allclose(photo_scores.class_weights([[3, 0, 1]]), [4 / 12**0.5, 0, 2])


def test_doubt_is_the_mean_of_ranks():
    by_part = {
        BELOW: np.array([0.5, 0.1, 0.9, 0.1]),
        DISAGREEMENT: np.array([1e-6, 2e-6, 3e-6, 4e-6]),
        ENTROPY: np.zeros(4),
    }
    ranks = np.array([[2 / 3, 0.5 / 3, 1, 0.5 / 3], [0, 1 / 3, 2 / 3, 1], [0.5] * 4])
    np.testing.assert_allclose(photo_scores.doubt(by_part), ranks.mean(0))
    assert photo_scores.doubt({BELOW: np.array([0.3])}).tolist() == [0]
