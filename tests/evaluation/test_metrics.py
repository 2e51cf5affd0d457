"""Metrics against values computed by hand and against the official Cityscapes script."""

import numpy as np
import pytest
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling

from c3tf.evaluation import metrics
from c3tf.labels import CITYSCAPES, IGNORE

pytestmark = pytest.mark.smoke

OFFICIAL = evalPixelLevelSemanticLabeling
# Class 2 is predicted and never true; class 3 is neither.
HAND = np.array([[6, 2, 0, 0], [1, 3, 4, 0], [0, 0, 0, 0], [0, 0, 0, 0]])
HAND_IOU = [6 / 9, 3 / 10, 0.0, np.nan]


def test_hand_case():
    np.testing.assert_allclose(metrics.iou(HAND), HAND_IOU, rtol=0, atol=1e-15)
    assert metrics.mean_iou(HAND, "cityscapes") == pytest.approx((6 / 9 + 0.3 + 0) / 3, abs=1e-15)
    assert metrics.mean_iou(HAND, "bdd100k") == pytest.approx((6 / 9 + 0.3) / 2, abs=1e-15)
    assert metrics.mean_iou(HAND) == metrics.mean_iou(HAND, "cityscapes")
    assert metrics.pixel_accuracy(HAND) == pytest.approx(9 / 16, abs=1e-15)
    expected = (8 * 6 / 9 + 8 * 0.3) / 16
    assert metrics.frequency_weighted_iou(HAND) == pytest.approx(expected, abs=1e-15)


def test_nothing_counted_is_undefined_without_warnings(recwarn):
    empty = np.zeros((3, 3), np.int64)
    assert np.isnan(metrics.iou(empty)).all()
    for rule in metrics.AVERAGING:
        assert np.isnan(metrics.mean_iou(empty, rule))
    assert np.isnan(metrics.pixel_accuracy(empty))
    assert np.isnan(metrics.frequency_weighted_iou(empty))
    assert not recwarn.list


def test_large_counts_do_not_overflow():
    counts = np.array([[2**31 - 1, 2**31 - 1], [0, 2**31 - 1]], np.int32)
    np.testing.assert_allclose(metrics.iou(counts), [1 / 2, 1 / 2])


def test_official_cityscapes_script_agrees(monkeypatch):
    args = OFFICIAL.args
    args.evalLabels = [label.id for label in OFFICIAL.labels if label.id >= 0]
    rng = np.random.default_rng(5)
    counts = rng.integers(0, 1000, (19, 19))
    counts[3, :] = 0  # predicted, never true
    counts[7, :] = counts[:, 7] = 0  # absent
    official = np.zeros((max(args.evalLabels) + 1,) * 2, np.ulonglong)
    official[np.ix_(CITYSCAPES.raw_ids, CITYSCAPES.raw_ids)] = counts
    scores = {
        name: OFFICIAL.getIouScoreForLabel(raw, official, args)
        for raw, name in zip(CITYSCAPES.raw_ids, CITYSCAPES.class_names, strict=True)
    }
    np.testing.assert_allclose(metrics.iou(counts), list(scores.values()), rtol=0, atol=1e-12)
    average = OFFICIAL.getScoreAverage(scores, args)
    assert metrics.mean_iou(counts, "cityscapes") == pytest.approx(average, abs=1e-12)


def test_bdd100k_rule_is_the_toolkits():
    """What `bdd100k.eval.seg.evaluate_sem_seg` of bdd100k 1.0.1 said of these four pairs."""
    rng = np.random.default_rng(0)
    counts = np.zeros((19, 19), np.int64)
    for _ in range(4):
        truth = rng.choice([*range(2, 19), IGNORE], (40, 56)).astype(np.uint8)
        truth[truth == 7] = 8
        found = rng.integers(0, 18, (40, 56)).astype(np.uint8)
        found[found == 7] = 3
        right = rng.random(truth.shape) < 0.5
        found[right] = np.where(truth[right] == IGNORE, 0, truth[right])
        valid = truth != IGNORE
        np.add.at(counts, (truth[valid], found[valid]), 1)
    toolkit = {"building": 36.7461430575035, "bus": 33.47222222222222, "bicycle": 50.70707070707071}
    for name, value in toolkit.items():
        iou = metrics.iou(counts)[CITYSCAPES.class_names.index(name)]
        assert 100 * iou == pytest.approx(value, abs=1e-9)
    # Its IoU of a class that is nowhere (7) is 0; classes 0 and 1 are found and never true.
    assert np.isnan(metrics.iou(counts)[7])
    assert (metrics.iou(counts)[:2] == 0).all()
    assert 100 * metrics.mean_iou(counts, "bdd100k") == pytest.approx(36.94224876483677, abs=1e-9)
    frequency_weighted = 100 * metrics.frequency_weighted_iou(counts)
    assert frequency_weighted == pytest.approx(37.216645559855785, abs=1e-9)
    assert 100 * metrics.pixel_accuracy(counts) == pytest.approx(52.098356779761204, abs=1e-9)


@pytest.mark.parametrize(
    "bad", [np.zeros((2, 3), int), np.zeros(4, int), np.eye(2), np.array([[1, -1], [0, 1]])]
)
def test_refuses_what_is_no_confusion_matrix(bad):
    with pytest.raises(ValueError, match="`confusion` must"):
        metrics.iou(bad)


def test_refuses_an_unknown_averaging_rule():
    with pytest.raises(ValueError, match="`averaging` must be one of"):
        metrics.mean_iou(HAND, "pascal")


def test_table_shows_every_column_and_marks_the_undefined():
    text = metrics.table({"student": HAND, "teacher": np.diag([1, 1, 1, 1])}, "abcd")
    rows = {line.rsplit(None, 2)[0].strip(): line.split()[-2:] for line in text.splitlines()}
    assert rows["a"] == ["66.67", "100.00"]
    assert rows["d"] == ["-", "100.00"]
    assert rows["mean IoU (cityscapes rule)"] == ["32.22", "100.00"]
    assert rows["mean IoU (bdd100k rule)"] == ["48.33", "100.00"]
    assert rows["pixel accuracy"] == ["56.25", "100.00"]
    assert len({len(line) for line in text.splitlines()}) == 1
