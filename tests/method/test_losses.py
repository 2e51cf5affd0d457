"""Eq. 1 and Eq. 2 against the equations, the authors' numbers and cases done by hand."""

import math

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import references
from c3tf.labels import IGNORE
from c3tf.method import losses

pytestmark = pytest.mark.smoke

NUM_CLASSES = 5


def random_case(seed=0, num_images=3, height=6, width=7):
    rng = np.random.default_rng(seed)
    labels = rng.choice([*range(NUM_CLASSES), IGNORE], (num_images, height, width)).astype(np.uint8)
    # Denominators that differ between images tell the two averagings apart.
    labels[0, 1:] = IGNORE
    logits = rng.normal(0, 3, (num_images, height, width, NUM_CLASSES))
    teacher = references.softmax(rng.normal(0, 3, logits.shape))
    share = np.array([0.2, 0.5, 0.9, 0.3])[:num_images, None, None]
    confident = rng.random(labels.shape) < share
    return labels, logits, teacher, confident


def with_gradient(function, logits):
    logits = tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = function(logits)
    return loss.numpy(), tape.gradient(loss, logits).numpy()


@pytest.mark.parametrize("averaging", ["image", "group", "batch"])
def test_supervised_is_eq_1(averaging):
    labels, logits, _, _ = random_case(num_images=4)
    loss, gradient = with_gradient(
        lambda x: losses.supervised(labels, x, num_images=4, averaging=averaging, group_size=2),
        logits,
    )
    expected_loss, expected_gradient = references.supervised_loss(labels, logits, averaging, 2)
    np.testing.assert_allclose(loss, expected_loss, rtol=1e-12)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=0, atol=1e-13)


@pytest.mark.parametrize("averaging", ["image", "group", "batch"])
@pytest.mark.parametrize("class_mean", [False, True])
def test_consistency_is_eq_2(averaging, class_mean):
    _, logits, teacher, confident = random_case(num_images=4)
    options = {"averaging": averaging, "group_size": 2, "class_mean": class_mean}
    loss, gradient = with_gradient(
        lambda x: losses.consistency(teacher, x, confident, num_images=4, **options), logits
    )
    factor = 1 / NUM_CLASSES if class_mean else 1
    expected_loss, expected_gradient = references.masked_cross_entropy(
        teacher, logits, confident, averaging, 2
    )
    np.testing.assert_allclose(loss, factor * expected_loss, rtol=1e-12)
    np.testing.assert_allclose(gradient, factor * expected_gradient, rtol=0, atol=1e-13)


def test_the_averagings_differ():
    labels, logits, _, _ = random_case(num_images=4)
    image, group, batch = (
        losses.supervised(
            labels, tf.constant(logits), num_images=4, averaging=averaging, group_size=2
        )
        for averaging in ("image", "group", "batch")
    )
    assert min(abs(image - group), abs(image - batch), abs(group - batch)) > 0.005


def test_groups_of_one_and_of_all_are_the_other_averagings():
    labels, logits, _, _ = random_case(num_images=4)
    for group_size, averaging in ((1, "image"), (4, "batch")):
        group, same = (
            losses.supervised(
                labels, tf.constant(logits), num_images=4, averaging=kind, group_size=group_size
            )
            for kind in ("group", averaging)
        )
        np.testing.assert_allclose(group, same, rtol=1e-12)


@pytest.mark.parametrize("averaging", ["image", "group", "batch"])
def test_class_weights_scale_the_pixels_of_their_class(averaging):
    labels, logits, _, _ = random_case(num_images=4)
    options = {"num_images": 4, "averaging": averaging, "group_size": 2}
    weights = np.array([0.0, 0.5, 1.0, 2.5, 7.0])

    def loss(labels, weights):
        return with_gradient(
            lambda x: losses.supervised(labels, x, class_weights=weights, **options), logits
        )

    found, gradient = loss(labels, weights)
    # The loss is linear in the weights: a sum over the classes, each alone.
    parts = [loss(labels, np.eye(NUM_CLASSES)[c]) for c in range(NUM_CLASSES)]
    np.testing.assert_allclose(found, weights @ [part for part, _ in parts], rtol=1e-12)
    np.testing.assert_allclose(
        gradient, np.tensordot(weights, [g for _, g in parts], 1), rtol=0, atol=1e-14
    )
    # One class alone is the reference without the other labels' terms, but with their pixels.
    targets = references.one_hot(labels, NUM_CLASSES)
    targets[..., [0, 1, 2, 4]] = 0
    expected, own = references.masked_cross_entropy(targets, logits, labels != IGNORE, averaging, 2)
    np.testing.assert_allclose(parts[3][0], expected, rtol=1e-12)
    np.testing.assert_allclose(parts[3][1], own, rtol=0, atol=1e-14)


def test_weights_of_one_change_no_bit():
    labels, logits, _, _ = random_case()
    plain, ones = (
        losses.supervised(labels, tf.constant(logits), num_images=3, class_weights=weights)
        for weights in (None, np.ones(NUM_CLASSES))
    )
    np.testing.assert_array_equal(plain, ones)


@pytest.mark.parametrize("case", ["c0", "c1"])
def test_authors_numbers(authors, case):

    def array(name):
        values = np.float64(authors[f"{case}_{name}"])
        return values.transpose(0, 2, 3, 1) if values.ndim == 4 else values

    teacher = references.softmax(array("teacher_logits"))
    thresholds, labels = array("thresholds"), authors[f"{case}_target"]
    confident = references.confident_region(thresholds, teacher, np.ones(labels.shape, bool))
    np.testing.assert_array_equal(confident, array("mask")[..., 0] == 1)
    students = np.concatenate([array("student_logits_labeled"), array("student_logits")])
    parts = {}

    def total(logits):
        labeled, unlabeled = tf.split(logits, 2)
        # The authors' switches; a group is one GPU's images, here both.
        pooled = {"num_images": 2, "averaging": "group", "group_size": 2}
        parts["supervised"] = losses.supervised(labels, labeled, **pooled)
        parts["consistency"] = losses.consistency(
            teacher, unlabeled, confident, class_mean=True, **pooled
        )
        return tf.add_n(list(parts.values()))

    _, gradient = with_gradient(total, students)
    # The authors' numbers are float32.
    np.testing.assert_allclose(parts["supervised"], authors[f"{case}_sup_loss"], rtol=1e-6)
    np.testing.assert_allclose(parts["consistency"], authors[f"{case}_consist_loss"], rtol=1e-6)
    np.testing.assert_allclose(gradient, array("grad_sup_plus_consist"), rtol=1e-4, atol=1e-9)


def test_without_dcrs_as_the_authors_have_it(authors):
    for case in ("c0", "c1"):
        teacher, student = (
            np.float64(authors[f"{case}_{name}_logits"]).transpose(0, 2, 3, 1)
            for name in ("teacher", "student")
        )
        loss = losses.consistency(
            references.softmax(teacher),
            tf.constant(student),
            np.ones(student.shape[:3], bool),
            num_images=2,
            class_mean=True,
        )
        np.testing.assert_allclose(loss, authors[f"{case}_wo_cb_loss"], rtol=1e-6)


def test_uniform_logits_cost_log_of_the_classes():
    labels = np.array([[[0, 1, IGNORE, 4]]], np.uint8)
    loss = losses.supervised(labels, tf.zeros([1, 1, 4, NUM_CLASSES]), num_images=1)
    assert float(loss) == pytest.approx(math.log(NUM_CLASSES), rel=1e-6)


def test_class_0_is_a_class():
    labels = np.zeros((1, 1, 1), np.uint8)
    logits = tf.constant([[[[2.0, 0.0]]]])
    loss = losses.supervised(labels, logits, num_images=1)
    assert float(loss) == pytest.approx(math.log(1 + math.exp(-2)), rel=1e-6)


def edge_case(labels, confident=None):
    """Random logits and targets for given labels `(B, H, W)`."""
    rng = np.random.default_rng(7)
    labels = np.asarray(labels, np.uint8)
    logits = rng.normal(0, 2, (*labels.shape, NUM_CLASSES))
    teacher = references.softmax(rng.normal(0, 2, logits.shape))
    confident = labels != IGNORE if confident is None else np.asarray(confident, bool)
    return labels, logits, teacher, confident


EDGE_CASES = {
    "one pixel": ([[[3]]],),
    "one ignored pixel": ([[[IGNORE]]],),
    "class 0 alone": ([[[0, 0], [0, 0]]],),
    "one class in both images": ([[[2, 2]], [[2, IGNORE]]],),
    "a class in one image only": ([[[1, 1]], [[1, 4]]],),
    "no label in one image": ([[[1, 2]], [[IGNORE, IGNORE]]],),
    "no confident pixel in one image": ([[[1, 2]], [[3, 0]]], [[[0, 0]], [[1, 0]]]),
    "no confident pixel": ([[[1, 2]], [[3, 0]]], [[[0, 0]], [[0, 0]]]),
}


@pytest.mark.parametrize("averaging", ["image", "group", "batch"])
@pytest.mark.parametrize("case", EDGE_CASES.values(), ids=EDGE_CASES)
def test_edge_cases_are_the_equations(case, averaging):
    labels, logits, teacher, confident = edge_case(*case)
    size = len(labels)
    options = {"num_images": size, "averaging": averaging, "group_size": size}
    found = with_gradient(lambda x: losses.supervised(labels, x, **options), logits)
    expected = references.supervised_loss(labels, logits, averaging, size)
    for ours, reference in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, reference, rtol=1e-12, atol=1e-14)
    found = with_gradient(lambda x: losses.consistency(teacher, x, confident, **options), logits)
    expected = references.masked_cross_entropy(teacher, logits, confident, averaging, size)
    for ours, reference in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, reference, rtol=1e-12, atol=1e-14)


def test_one_class_costs_nothing():
    loss = losses.supervised(np.zeros((2, 2, 2), np.uint8), tf.ones([2, 2, 2, 1]), num_images=2)
    assert float(loss) == 0


@pytest.mark.parametrize("averaging", ["image", "group", "batch"])
def test_everything_ignored_is_0_without_gradient(averaging):
    _, logits, teacher, _ = random_case()
    nowhere = np.full(logits.shape[:3], IGNORE, np.uint8)
    for function in (
        lambda x: losses.supervised(nowhere, x, num_images=3, averaging=averaging, group_size=3),
        lambda x: losses.consistency(
            teacher, x, nowhere != IGNORE, num_images=3, averaging=averaging, group_size=3
        ),
    ):
        loss, gradient = with_gradient(function, logits)
        assert loss == 0
        assert not gradient.any()


def test_an_image_without_labels_still_counts_as_an_image():
    labels, logits, _, _ = random_case(num_images=2)
    alone = losses.supervised(labels[1:], tf.constant(logits[1:]), num_images=1)
    labels[0] = IGNORE
    both = losses.supervised(labels, tf.constant(logits), num_images=2)
    assert float(both) == pytest.approx(float(alone) / 2, rel=1e-12)
    pooled = losses.supervised(labels, tf.constant(logits), num_images=2, averaging="batch")
    assert float(pooled) == pytest.approx(float(alone), rel=1e-12)


def test_ignored_pixels_neither_count_nor_poison():
    labels = np.array([[[1, IGNORE]]], np.uint8)
    logits = np.array([[[[0.0, 1.0], [np.inf, -np.inf]]]])
    loss, gradient = with_gradient(lambda x: losses.supervised(labels, x, num_images=1), logits)
    expected, _ = references.supervised_loss(labels[:, :, :1], logits[:, :, :1])
    assert loss == pytest.approx(expected, rel=1e-12)
    assert np.isfinite(gradient[0, 0, 0]).all()


def test_no_gradient_reaches_the_teacher():
    _, logits, teacher, confident = random_case()
    teacher, logits = tf.constant(teacher), tf.constant(logits)
    with tf.GradientTape() as tape:
        tape.watch([teacher, logits])
        loss = losses.consistency(teacher, logits, confident, num_images=3)
    to_teacher, to_student = tape.gradient(loss, [teacher, logits])
    assert to_teacher is None
    assert to_student.numpy().any()


@pytest.mark.parametrize("averaging", ["image", "group", "batch"])
def test_parts_of_two_replicas_add_up(averaging):
    labels, logits, teacher, confident = random_case(num_images=4)
    options = {"num_images": 4, "averaging": averaging, "group_size": 2}
    for valid, part in (
        (
            labels != IGNORE,
            lambda s, g: losses.supervised(
                labels[s], tf.constant(logits[s]), global_sum=g, **options
            ),
        ),
        (
            confident,
            lambda s, g: losses.consistency(
                teacher[s],
                tf.constant(logits[s]),
                confident[s],
                global_sum=g,
                **options,
            ),
        ),
    ):
        total = tf.constant(float(valid.sum()), tf.float64)
        parts = [part(slice(i, i + 2), lambda _, total=total: total) for i in (0, 2)]
        whole = part(slice(None), lambda x: x)
        np.testing.assert_allclose(sum(parts), whole, rtol=1e-12)


def test_half_precision_is_widened():
    labels, logits, teacher, confident = random_case()
    narrow = tf.constant(logits, tf.float16)
    wide = tf.cast(narrow, tf.float32)
    for function in (
        lambda x: losses.supervised(labels, x, num_images=3),
        lambda x: losses.consistency(tf.constant(teacher, tf.float32), x, confident, num_images=3),
    ):
        assert function(narrow).dtype == tf.float32
        assert float(function(narrow)) == float(function(wide))


def test_unknown_averaging_is_named():
    labels, logits, _, _ = random_case()
    with pytest.raises(ValueError, match=r"`averaging` must be .* averaging='pixel'"):
        losses.supervised(labels, tf.constant(logits), num_images=3, averaging="pixel")


@settings(deadline=None, max_examples=40)
@given(
    logits=hnp.arrays(
        np.float32, (2, 2, 2, 3), elements=st.floats(-1e4, 1e4, width=32, allow_subnormal=False)
    ),
    labels=hnp.arrays(np.uint8, (2, 2, 2), elements=st.sampled_from([0, 1, 2, IGNORE])),
    dtype=st.sampled_from([tf.float16, tf.bfloat16, tf.float32, tf.float64]),
    averaging=st.sampled_from(["image", "batch"]),
)
def test_finite_input_gives_finite_losses_and_gradients(logits, labels, dtype, averaging):
    logits = tf.cast(logits, dtype)
    teacher = tf.nn.softmax(tf.cast(logits[::-1], tf.float32))
    confident = tf.reduce_max(teacher, axis=-1) > 0.5
    with tf.GradientTape() as tape:
        tape.watch(logits)
        loss = losses.supervised(labels, logits, num_images=2, averaging=averaging) + tf.cast(
            losses.consistency(teacher, logits, confident, num_images=2, averaging=averaging),
            tf.float64 if dtype == tf.float64 else tf.float32,
        )
    assert np.isfinite(float(loss))
    assert float(loss) >= 0
    assert np.isfinite(np.float64(tf.cast(tape.gradient(loss, logits), tf.float64))).all()
