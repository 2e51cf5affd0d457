"""Calibration: by hand, and pixel by pixel in NumPy; sums that no order changes."""

import json

import numpy as np
import pytest
import tensorflow as tf

from c3tf.evaluation.calibration import BINS, UNIT, Calibration
from c3tf.evaluation.calibration_step import confidence_sums
from c3tf.evaluation.result import EvaluationResult
from c3tf.io import schema
from c3tf.labels import IGNORE
from tiny_network import LABEL_MAP

pytestmark = pytest.mark.smoke


def drawn(seed, shape=(2, 30, 40)):
    rng = np.random.default_rng(seed)
    label = rng.choice([0, 1, 2, 3, IGNORE], shape).astype(np.uint8)
    predicted = np.where(rng.random(shape) < 0.6, label % 3, rng.integers(0, 3, shape))
    return label, predicted.astype(np.uint8), rng.uniform(0.25, 1, shape).astype(np.float32)


def sums(label, predicted, confidence):
    parts = (tf.constant(part) for part in (label, predicted, confidence))
    return confidence_sums(*parts, 4).numpy()


def naive(label, predicted, confidence):
    """The error over some pixels, bin by bin."""
    keep = label != IGNORE
    right, sure = (label == predicted)[keep], confidence[keep].astype(np.float64)
    places = np.minimum((confidence[keep] * np.float32(BINS)).astype(int), BINS - 1)
    error = 0.0
    for place in range(BINS):
        own = places == place
        if own.any():
            error += own.mean() * abs(right[own].mean() - sure[own].mean())
    return error


def test_against_pixels_one_by_one():
    label, predicted, confidence = drawn(0)
    found = Calibration(*sums(label, predicted, confidence))
    assert found.error == pytest.approx(naive(label, predicted, confidence), abs=1e-6)
    for place in range(3):
        own = predicted == place
        expected = naive(label[own], predicted[own], confidence[own])
        assert found.class_errors[place] == pytest.approx(expected, abs=1e-6)
    labeled = label != IGNORE
    assert found.pixels.sum() == labeled.sum()
    assert found.right.sum() == (label == predicted)[labeled].sum()


def test_by_hand():
    # Four pixels of class 0 said at 0.9, three of them right; one of class 1 at 1, which is wrong.
    label = np.array([0, 0, 0, 1, 0, IGNORE], np.uint8)
    predicted = np.array([0, 0, 0, 0, 1, 1], np.uint8)
    confidence = np.array([0.9, 0.9, 0.9, 0.9, 1.0, 0.5], np.float32)
    found = Calibration(*sums(label, predicted, confidence))
    np.testing.assert_allclose(found.class_errors, [0.15, 1, np.nan, np.nan], atol=1e-6)
    assert found.error == pytest.approx(4 / 5 * 0.15 + 1 / 5)
    said, right, share = found.diagram()
    np.testing.assert_allclose([said[13], right[13], share[13]], [0.9, 0.75, 0.8], atol=1e-6)
    np.testing.assert_allclose([said[14], right[14], share[14]], [1, 0, 0.2], atol=1e-6)
    assert np.isnan(said[:13]).all()
    assert not share[:13].any()


def test_no_pixel_at_all():
    empty = np.full(5, IGNORE, np.uint8)
    found = Calibration(*sums(empty, np.zeros(5, np.uint8), np.ones(5, np.float32)))
    assert np.isnan(found.error)
    assert np.isnan(found.class_errors).all()


def test_batches_add_up_in_any_order():
    batches = [sums(*drawn(seed)) for seed in range(3)]
    whole = sums(*(np.concatenate(part) for part in zip(*map(drawn, range(3)), strict=True)))
    np.testing.assert_array_equal(batches[2] + batches[0] + batches[1], whole)
    assert whole[2].max() > UNIT, "the case should have bins of several pixels"


def test_results_keep_it_through_json():
    confusion = np.eye(4, dtype=np.int64)
    measured = Calibration(*sums(*drawn(0)))
    spoiled = EvaluationResult(2 * confusion, LABEL_MAP, 1, {}, None, measured)
    whole = EvaluationResult(confusion, LABEL_MAP, 1, {}, None, measured, {"fog": {3: spoiled}})
    data = json.loads(json.dumps(whole.to_json()))
    again = EvaluationResult.from_json(data)
    assert again.to_json() == data
    np.testing.assert_array_equal(again.corrupted["fog"][3].confusion, spoiled.confusion)
    assert again.calibration.error == measured.error
    assert data["calibration"]["by_class"]["sky"] is None
    data["calibration"]["counts"]["pixels"] = [[1] * BINS] * 3
    with pytest.raises(schema.SchemaError, match="calibration"):
        EvaluationResult.from_json(data)
