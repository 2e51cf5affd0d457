"""DCRS (Eq. 6) against sorting, the authors' numbers and cases done by hand."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import references
from c3tf.method import confidence

pytestmark = pytest.mark.smoke

# A threshold is known to one bin.
RESOLUTION = 1 / confidence.BINS


def teacher_probabilities(seed=0, shape=(2, 16, 16), num_classes=5):
    rng = np.random.default_rng(seed)
    return references.softmax(rng.normal(0, 2, (*shape, num_classes)))


def outputs(probabilities):
    highest = tf.reduce_max(probabilities, axis=-1)
    return highest, tf.argmax(probabilities, axis=-1, output_type=tf.int32)


def updated(thresholds, probabilities, valid=None, ratio=0.8, decay=0.9):
    if valid is None:
        valid = np.ones(probabilities.shape[:3], bool)
    return confidence.update_thresholds(
        tf.constant(thresholds), *outputs(probabilities), valid, ratio=ratio, decay=decay
    ).numpy()


def test_authors_numbers(authors):
    start, decay, ratio, _ = authors["b_init_ema_end_percent_gamma"]
    thresholds = np.full(authors["b_thresholds"].shape[-1], start)
    calls = zip(
        np.float64(authors["b_confidence"]),
        authors["b_class"].astype(np.int32),
        authors["b_thresholds"],
        strict=True,
    )
    for highest, predicted, expected in calls:
        thresholds = confidence.update_thresholds(
            tf.constant(thresholds),
            tf.constant(highest),
            tf.constant(predicted),
            np.ones(predicted.shape, bool),
            ratio=ratio,
            decay=decay,
        ).numpy()
        # The bin's lower edge: never above the element, and less than a bin below it; in the
        # moving average each call's error enters with 1 - decay.
        assert (thresholds <= expected + 1e-8).all()
        assert (thresholds > expected - (1 - decay**2) * RESOLUTION - 1e-8).all()
    absent = np.flatnonzero(authors["b_thresholds"][-1] == start)
    np.testing.assert_array_equal(thresholds[absent], start)
    assert absent.size


@pytest.mark.parametrize("case", ["c0", "c1"])
def test_authors_thresholds_and_region_of_a_single_call(authors, case):
    logits = np.float64(authors[f"{case}_teacher_logits"]).transpose(0, 2, 3, 1)
    probabilities = references.softmax(logits)
    start = np.full(logits.shape[-1], float(authors[f"{case}_start_threshold"]))
    thresholds = updated(start, probabilities)
    np.testing.assert_allclose(
        thresholds, authors[f"{case}_thresholds"], rtol=0, atol=0.1 * RESOLUTION + 1e-7
    )
    region = confidence.confident_region(
        tf.constant(thresholds), *outputs(probabilities), np.ones(logits.shape[:3], bool)
    ).numpy()
    # At most a pixel per class may lie between the threshold and the edge of its bin.
    assert (region != (authors[f"{case}_mask"][:, 0] == 1)).sum() <= logits.shape[-1]


@pytest.mark.parametrize("ratio", [0.05, 0.4, 0.8, 0.99])
@pytest.mark.parametrize("decay", [0.0, 0.9])
def test_eq_6_to_one_bin(ratio, decay):
    probabilities = teacher_probabilities()
    valid = np.random.default_rng(1).random(probabilities.shape[:3]) < 0.8
    start = np.linspace(0.1, 0.9, probabilities.shape[-1])
    expected = references.update_thresholds(start, probabilities, valid, ratio, decay)
    thresholds = updated(start, probabilities, valid, ratio, decay)
    assert (thresholds <= expected).all()
    assert (expected - thresholds < (1 - decay) * RESOLUTION).all()


def test_the_element_is_counted_from_the_top():
    # int(0.8 * 5) = 4: the fifth of five; int(0.5 * 5) = 2: the third.
    highest = tf.constant([[[0.9, 0.8, 0.7, 0.6, 0.5]]], tf.float64)
    predicted, valid = tf.zeros([1, 1, 5], tf.int32), tf.ones([1, 1, 5], tf.bool)
    counts = confidence.confidence_counts(highest, predicted, valid, 1)
    for ratio, expected in ((0.8, 0.5), (0.5, 0.7), (0.1, 0.9)):
        threshold = confidence.class_thresholds(counts, ratio, tf.float64).numpy()
        assert 0 <= expected - threshold[0] < RESOLUTION


def test_the_region_keeps_about_the_ratio_of_each_class():
    probabilities = teacher_probabilities(shape=(4, 40, 40))
    valid = np.ones(probabilities.shape[:3], bool)
    thresholds = updated(np.zeros(5), probabilities, ratio=0.6, decay=0.0)
    highest, predicted = outputs(probabilities)
    region = confidence.confident_region(thresholds, highest, predicted, valid).numpy()
    np.testing.assert_array_equal(
        region, references.confident_region(thresholds, probabilities, valid)
    )
    for c in range(5):
        assert region[predicted == c].mean() == pytest.approx(0.6, abs=0.01)


def test_ratio_1_keeps_every_valid_pixel():
    probabilities = teacher_probabilities()
    valid = np.random.default_rng(1).random(probabilities.shape[:3]) < 0.5
    thresholds = updated(np.full(5, 0.9), probabilities, valid, ratio=1.0)
    assert not thresholds.any()
    region = confidence.confident_region(thresholds, *outputs(probabilities), valid)
    np.testing.assert_array_equal(region, valid)


def test_absent_classes_keep_their_threshold_class_0_moves():
    probabilities = np.zeros((1, 2, 2, 3))
    probabilities[..., 0] = 1.0
    thresholds = updated(np.array([0.5, 0.6, 0.7]), probabilities)
    top = 1 - RESOLUTION
    np.testing.assert_allclose(thresholds, [0.9 * 0.5 + 0.1 * top, 0.6, 0.7], rtol=1e-12)


def test_no_valid_pixel_changes_nothing_and_selects_nothing():
    probabilities = teacher_probabilities()
    nowhere = np.zeros(probabilities.shape[:3], bool)
    start = np.linspace(0.1, 0.9, 5)
    np.testing.assert_array_equal(updated(start, probabilities, nowhere), start)
    region = confidence.confident_region(start, *outputs(probabilities), nowhere)
    assert not region.numpy().any()


def test_no_pixel_reaches_a_high_threshold():
    probabilities = teacher_probabilities()
    everywhere = np.ones(probabilities.shape[:3], bool)
    region = confidence.confident_region(np.ones(5), *outputs(probabilities), everywhere)
    assert not region.numpy().any()


def test_one_pixel_and_one_class():
    thresholds = updated(np.array([0.9]), np.ones((1, 1, 1, 1)), decay=0.0)
    np.testing.assert_allclose(thresholds, 1 - RESOLUTION, rtol=1e-12)


def test_a_pixel_on_the_threshold_is_kept():
    highest = tf.constant([[[0.5, 0.25]]])
    region = confidence.confident_region(
        tf.constant([0.5]), highest, tf.zeros([1, 1, 2], tf.int32), tf.ones([1, 1, 2], tf.bool)
    )
    assert region.numpy().tolist() == [[[True, False]]]


def test_counts_of_two_replicas_give_the_thresholds_of_the_whole_batch():
    probabilities = teacher_probabilities(shape=(4, 16, 16))
    highest, predicted = outputs(probabilities)
    valid = np.ones(highest.shape, bool)
    halves = [
        confidence.confidence_counts(highest[s], predicted[s], valid[s], 5)
        for s in (slice(0, 2), slice(2, 4))
    ]
    thresholds = confidence.update_thresholds(
        tf.fill([5], tf.constant(0.9, tf.float64)),
        highest[:2],
        predicted[:2],
        valid[:2],
        ratio=0.8,
        decay=0.9,
        global_sum=lambda x: x + halves[1],
    )
    np.testing.assert_array_equal(thresholds, updated(np.full(5, 0.9), probabilities))


def test_every_valid_pixel_is_counted_once():
    probabilities = teacher_probabilities()
    highest, predicted = outputs(probabilities)
    valid = np.random.default_rng(1).random(highest.shape) < 0.7
    counts = confidence.confidence_counts(highest, predicted, valid, 5).numpy()
    np.testing.assert_array_equal(
        counts.sum(axis=1), np.bincount(predicted.numpy()[valid], minlength=5)
    )


@settings(deadline=None, max_examples=40)
@given(
    logits=hnp.arrays(
        np.float32, (2, 3, 3, 4), elements=st.floats(-1e4, 1e4, width=32, allow_subnormal=False)
    ),
    valid=hnp.arrays(bool, (2, 3, 3)),
    ratio=st.floats(0.01, 1.0),
    start=st.floats(0, 1),
)
def test_thresholds_stay_in_range_and_near_the_sorted_element(logits, valid, ratio, start):
    probabilities = tf.nn.softmax(logits).numpy()
    initial = np.full(4, start, np.float32)
    thresholds = updated(initial, probabilities, valid, ratio)
    assert ((thresholds >= 0) & (thresholds <= 1)).all()
    if ratio < 1:
        expected = references.update_thresholds(initial, probabilities, valid, ratio, 0.9)
        np.testing.assert_allclose(thresholds, expected, rtol=0, atol=0.1 * RESOLUTION + 1e-6)
