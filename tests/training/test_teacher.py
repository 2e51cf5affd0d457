"""The teacher's moving average."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tiny_segmenter
from c3tf.training import teacher

pytestmark = pytest.mark.smoke


@pytest.fixture
def networks():
    """A student and a teacher that differ in every weight, in float64."""
    with tiny_segmenter.precision("float64"):
        yield tuple(shuffled(batch_norm(name), seed) for seed, name in enumerate(("s", "t")))


def batch_norm(name):
    images = keras.Input((4, 4, 3))
    x = keras.layers.Conv2D(2, 3, name="stem")(images)
    x = keras.layers.BatchNormalization(name="frozen", trainable=False)(x)
    x = keras.layers.BatchNormalization(name="live")(x)
    inner = keras.Sequential([keras.Input((2, 2, 2)), keras.layers.BatchNormalization(name="deep")])
    return keras.Model(images, inner(x), name=name)


def shuffled(network, seed):
    rng = np.random.default_rng(seed)
    for weight in network.weights:
        weight.assign(rng.random(weight.shape))
    return network


def values(network):
    return {f"{i} {w.path}": w.numpy() for i, w in enumerate(network.weights)}


def test_initialise_copies_every_weight_and_nothing_more(networks):
    student, copy = networks
    before = values(student)
    teacher.initialise(copy, student)
    for one, other in zip(values(copy).values(), before.values(), strict=True):
        np.testing.assert_array_equal(one, other)
    teacher.update(copy, student, tf.constant(0.5, tf.float64))
    student.weights[0].assign_add(tf.ones_like(student.weights[0]))
    np.testing.assert_array_equal(copy.weights[0], before[next(iter(before))])


@pytest.mark.parametrize("alpha", [0.0, 0.5, 0.99, 1.0])
def test_update_is_the_formula_for_what_training_changes(networks, alpha):
    student, average = networks
    s, t = values(student), values(average)
    teacher.update(average, student, tf.constant(alpha, tf.float64))
    for (path, new), from_student, from_teacher in zip(
        values(average).items(), s.values(), t.values(), strict=True
    ):
        expected = alpha * from_teacher + (1 - alpha) * from_student
        if "frozen" in path:
            expected = from_teacher
        np.testing.assert_allclose(new, expected, rtol=0, atol=1e-15, err_msg=path)
    for one, other in zip(values(student).values(), s.values(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_many_updates_are_the_exponential_average(networks):
    student, average = networks
    start, seen = average.weights[0].numpy(), []
    for i in range(5):
        student.weights[0].assign(np.full(start.shape, float(i)))
        seen.append(float(i))
        teacher.update(average, student, tf.constant(0.9, tf.float64))
    expected = 0.9**5 * start + sum(0.1 * 0.9 ** (4 - i) * v for i, v in enumerate(seen))
    np.testing.assert_allclose(average.weights[0], expected, rtol=1e-13)


def test_statistics_of_live_batch_norm_follow_as_well(networks):
    student, _ = networks
    changing = [weight.path for weight in teacher.changing_weights(student)]
    for name, count in (("live", 4), ("deep", 4), ("stem", 2), ("frozen", 0)):
        assert sum(name in path for path in changing) == count
    assert len(changing) == len(set(changing))


def test_a_frozen_teacher_is_moved_all_the_same(networks):
    """The segmenter freezes the teacher against gradients, not against the average."""
    student, average = networks
    average.trainable = False
    teacher.update(average, student, tf.constant(0.0, tf.float64))
    np.testing.assert_array_equal(average.weights[0], student.weights[0])


def test_the_average_keeps_the_dtype_of_the_weights():
    with tiny_segmenter.precision("float32"):
        student, average = (shuffled(batch_norm(name), i) for i, name in enumerate("st"))
    s, t = student.weights[0].numpy(), average.weights[0].numpy()
    teacher.update(average, student, tf.constant(0.99, tf.float64))
    assert average.weights[0].dtype == "float32"
    np.testing.assert_allclose(average.weights[0], 0.99 * t + 0.01 * s, rtol=1e-6)
