"""Counts per class against NumPy, and the scalars that follow from them."""

import numpy as np
import pytest
import tensorflow as tf

from c3tf.training import statistics

NAMES = ("road", "wall", "sky")


@pytest.fixture
def pixels():
    rng = np.random.default_rng(0)
    shape = (2, 6, 8)
    valid = rng.random(shape) < 0.8
    return {
        "predicted": rng.integers(0, 2, shape).astype(np.int32),
        "student": rng.integers(0, 2, shape).astype(np.int32),
        "valid": valid,
        "confident": valid & (rng.random(shape) < 0.5),
    }


def test_counts_per_class(pixels):
    predicted, valid, confident = (pixels[n] for n in ("predicted", "valid", "confident"))
    counts = statistics.class_counts(*map(tf.constant, (predicted, confident, valid)), 3)
    expected = [np.sum(valid & (predicted == c)) for c in range(3)]
    np.testing.assert_array_equal(counts[statistics.PREDICTED], expected)
    expected = [np.sum(confident & (predicted == c)) for c in range(3)]
    np.testing.assert_array_equal(counts[statistics.CONFIDENT], expected)
    assert counts[statistics.CONFIDENT].shape == (3,)


def test_agreement_is_the_share_of_the_compared_pixels(pixels):
    student, teacher, valid = (pixels[n] for n in ("student", "predicted", "valid"))
    counts = statistics.agreement(*map(tf.constant, (student, teacher, valid)))
    scalars = statistics.describe({n: float(v) for n, v in counts.items()}, NAMES, None)
    assert scalars == {"agreement": pytest.approx(np.mean((student == teacher)[valid]))}


def test_shares_are_those_of_the_sums_not_means_of_shares():
    """Two parts of a batch, or two steps, with different numbers of pixels."""
    predicted, confident = ([90.0, 0, 10], [10.0, 0, 10]), ([9.0, 0, 10], [10.0, 0, 0])
    parts = [
        {statistics.PREDICTED: np.array(one), statistics.CONFIDENT: np.array(other)}
        for one, other in zip(predicted, confident, strict=True)
    ]
    means = {name: np.mean([part[name] for part in parts], axis=0) for name in parts[0]}
    logs = means | {
        "loss": 2.0,
        "anchors": 40.0,
        "hard_anchors": 10.0,
        statistics.ANCHORS: np.array([20.0, 0, 20]),
    }
    assert statistics.describe(logs, NAMES, np.array([0.5, 0.25, 0.75])) == {
        "loss": 2.0,
        "anchors": 40.0,
        "hard_anchors": 10.0,
        "hard_share": 0.25,
        "threshold/road": 0.5,
        "threshold/wall": 0.25,
        "threshold/sky": 0.75,
        # The mean of the shares would be 0.55. No pixel was predicted as wall.
        "confident/road": pytest.approx(0.19),
        "confident/sky": 0.5,
        "anchors/road": 20.0,
        "anchors/wall": 0.0,
        "anchors/sky": 20.0,
    }


def test_the_supervised_phase_has_losses_only():
    assert statistics.describe({"loss": 1.0, "supervised": 1.0}, NAMES, None) == {
        "loss": 1.0,
        "supervised": 1.0,
    }


def test_the_headline_is_of_the_semi_supervised_phase():
    assert statistics.headline({"loss": 1.0, "supervised": 0.5}) == []
    scalars = {"loss": 1.0, "supervised": 0.5, "consistency": 0.25, "lambda1": 2.0}
    assert statistics.headline({**scalars, "confident": 0.8}) == [
        "supervised 0.500",
        "consistency 0.250",
        "lambda1 2.000",
        "confident 80%",
    ]
