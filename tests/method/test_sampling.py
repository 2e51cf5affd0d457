"""Segmentation-aware sampling against its rule, the authors' draws and cases done by hand."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import references
from c3tf.labels import IGNORE
from c3tf.method.sampling import sample_pixels

pytestmark = pytest.mark.smoke


def draw(labels, hard, priority=None, **options):
    labels = np.atleast_2d(np.asarray(labels, np.int32))
    hard = np.broadcast_to(np.asarray(hard, bool), labels.shape)
    if priority is None:
        priority = np.random.default_rng(0).random(labels.shape)
    options = {"num_classes": 3, "count": 4, **options}
    samples = sample_pixels(labels, hard, tf.constant(priority, tf.float32), **options)
    return type(samples)(*(x.numpy() for x in samples))


def as_lists(samples):
    """`{(image, class): (hard, easy)}`, as the reference answers."""
    result = {}
    for b, c in zip(*np.nonzero(samples.taken.any(axis=2)), strict=True):
        taken, hard = samples.taken[b, c], samples.hard[b, c]
        index = samples.index[b, c]
        result[b, c] = index[taken & hard].tolist(), index[taken & ~hard].tolist()
    return result


@pytest.mark.parametrize("count", [1, 4, 5, 20])
@pytest.mark.parametrize("min_pixels", [1, 9])
@pytest.mark.parametrize("hard_share", [0.0, 0.1, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("fill_up", [True, False])
def test_rule(count, min_pixels, hard_share, fill_up):
    rng = np.random.default_rng(0)
    labels = rng.choice([0, 1, 1, 2, IGNORE], (4, 40)).astype(np.int32)
    labels[3] = IGNORE
    hard, priority = rng.random(labels.shape) < hard_share, rng.random(labels.shape)
    priority = np.float32(priority)
    samples = draw(labels, hard, priority, count=count, min_pixels=min_pixels, fill_up=fill_up)
    expected = references.sample(labels, hard, priority, 3, count, min_pixels, fill_up)
    assert as_lists(samples) == expected
    assert samples.index.shape == samples.taken.shape == samples.hard.shape == (4, 3, count)


def test_authors_share_of_hard_samples(authors):
    """Their classes, their number of hard samples; which pixels is theirs to draw."""
    full, predicted = authors["a_full0_labels"], authors["a_full0_predict"]
    rows, columns = (
        np.arange(size) * whole // size
        for size, whole in zip(predicted.shape[1:], full.shape[1:], strict=True)
    )
    labels = full[:, rows][:, :, columns].reshape(len(full), -1)
    # Class 0 takes no part there, and a class needs more than 20 pixels.
    samples = draw(
        np.where(labels == 0, IGNORE, labels),
        labels != predicted.reshape(labels.shape),
        num_classes=int(predicted.max()) + 1,
        count=20,
        min_pixels=21,
    )
    drawn = as_lists(samples)
    assert list(drawn) == list(
        zip(authors["a_full0_anchor_image"], authors["a_full0_anchor_class"], strict=True)
    )
    assert [len(h) for h, _ in drawn.values()] == authors["a_full0_anchor_n_hard"].tolist()
    assert all(len(h) + len(e) == 20 for h, e in drawn.values())


@pytest.mark.parametrize(
    ("num_hard", "num_easy", "take_hard", "take_easy"),
    [
        (10, 10, 2, 2),
        (1, 10, 1, 3),
        (10, 1, 3, 1),
        (0, 10, 0, 4),
        (10, 0, 4, 0),
        (1, 1, 1, 1),
        (2, 1, 2, 1),
        (0, 0, 0, 0),
    ],
)
def test_half_hard_and_fill_up_in_both_directions(num_hard, num_easy, take_hard, take_easy):
    labels = [1] * (num_hard + num_easy) + [IGNORE]
    hard = [True] * num_hard + [False] * num_easy + [True]
    samples = draw(labels, hard)
    hards, easies = as_lists(samples).get((0, 1), ([], []))
    assert (len(hards), len(easies)) == (take_hard, take_easy)
    assert all(n < num_hard for n in hards)
    assert all(num_hard <= n < num_hard + num_easy for n in easies)


@pytest.mark.parametrize(
    ("num_hard", "num_easy", "take_hard", "take_easy"),
    [(10, 10, 2, 2), (1, 10, 1, 2), (10, 1, 2, 1), (0, 10, 0, 2), (10, 0, 2, 0), (1, 1, 1, 1)],
)
def test_without_filling_up_neither_kind_exceeds_its_half(num_hard, num_easy, take_hard, take_easy):
    labels = [1] * (num_hard + num_easy)
    hard = [True] * num_hard + [False] * num_easy
    hards, easies = as_lists(draw(labels, hard, fill_up=False))[0, 1]
    assert (len(hards), len(easies)) == (take_hard, take_easy)


def test_an_odd_count_gives_the_easy_pixels_the_extra_place():
    hards, easies = as_lists(draw([0] * 20, [True] * 10 + [False] * 10, count=5))[0, 0]
    assert (len(hards), len(easies)) == (2, 3)


def test_min_pixels_is_the_least_number_that_is_sampled():
    labels = [0] * 3 + [1] * 4 + [2] * 5
    assert [c for _, c in as_lists(draw(labels, False, min_pixels=4))] == [1, 2]


def test_lower_priority_is_drawn_first():
    priority = [[0.9, 0.1, 0.5, 0.3]]
    assert as_lists(draw([0] * 4, False, priority, count=2)) == {(0, 0): ([], [1, 3])}


def test_the_same_priorities_draw_the_same_pixels():
    rng = np.random.default_rng(1)
    labels, priority = rng.integers(0, 3, (2, 50)), rng.random((2, 50))
    first, second = (draw(labels, labels == 1, priority) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)
    other = draw(labels, labels == 1, 1 - priority)
    assert as_lists(other) != as_lists(first)


def test_images_do_not_touch_each_other():
    rng = np.random.default_rng(2)
    labels, hard = rng.integers(0, 3, (3, 50)), rng.random((3, 50)) < 0.5
    priority = rng.random((3, 50))
    together = as_lists(draw(labels, hard, priority))
    for b in range(3):
        alone = as_lists(draw(labels[b : b + 1], hard[b : b + 1], priority[b : b + 1]))
        assert {c: v for (_, c), v in alone.items()} == {
            c: v for (image, c), v in together.items() if image == b
        }


def test_every_pixel_is_drawn_equally_often():
    trials, pixels, count = 4000, 10, 4
    labels = np.zeros((trials, pixels), np.int32)
    samples = draw(labels, False, count=count, num_classes=1)
    drawn = np.bincount(samples.index[samples.taken], minlength=pixels)
    expected = trials * count / pixels
    # Chi-square over 10 pixels; 27.9 is its 99.9 % point for 9 degrees of freedom, and drawing
    # without replacement only makes it smaller.
    assert ((drawn - expected) ** 2 / expected).sum() < 27.9


def test_nothing_to_draw():
    samples = draw([IGNORE] * 5, True)
    assert not samples.taken.any()
    assert not samples.hard.any()


def test_the_last_priority_below_1_does_not_reach_the_next_kind():
    """Class, hardness and priority share one sort key, which must not round across its parts."""
    # The largest number that TensorFlow's uniform draws give.
    last = 1 - np.finfo(np.float32).eps
    num_classes = 19
    labels = np.array([[IGNORE, num_classes - 1]], np.int32)
    samples = draw(
        labels, False, np.array([[0.0, last]], np.float32), num_classes=num_classes, count=1
    )
    assert as_lists(samples) == {(0, num_classes - 1): ([], [1])}


@settings(deadline=None, max_examples=60)
@given(
    labels=hnp.arrays(np.int32, (2, 12), elements=st.sampled_from([0, 1, 2, IGNORE])),
    hard=hnp.arrays(bool, (2, 12)),
    seed=st.integers(0, 1000),
    count=st.integers(1, 15),
    min_pixels=st.integers(1, 6),
)
def test_invariants(labels, hard, seed, count, min_pixels):
    priority = np.random.default_rng(seed).random(labels.shape)
    samples = draw(labels, hard, priority, count=count, min_pixels=min_pixels)
    for b, c in np.ndindex(2, 3):
        taken = samples.index[b, c][samples.taken[b, c]]
        own = int((labels[b] == c).sum())
        assert len(taken) == (min(count, own) if own >= min_pixels else 0)
        assert len(set(taken.tolist())) == len(taken)
        # IGNORE is no class, so this also says that no such pixel is drawn.
        assert (labels[b][taken] == c).all()
        np.testing.assert_array_equal(samples.hard[b, c][samples.taken[b, c]], hard[b][taken])
        assert not (samples.hard[b, c] & ~samples.taken[b, c]).any()
