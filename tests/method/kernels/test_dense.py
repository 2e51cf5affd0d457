"""Losses and targets in blocks against the same at full size, gradients included."""

import numpy as np
import pytest
import tensorflow as tf

from c3tf.labels import IGNORE
from c3tf.method import cutmix, losses
from c3tf.method.kernels import dense
from c3tf.method.kernels.resize import bilinear
from gradients import with_gradient

TOLERANCE = {"float64": 1e-9, "float32": 1e-5}
HEIGHT, WIDTH, CLASSES = 24, 32, 5
OPTIONS = {"num_images": 4, "averaging": "image"}


@pytest.fixture(params=[2**21, 3 * CLASSES * WIDTH * 8], ids=["one block", "blocks of few rows"])
def blocks(request, monkeypatch):
    monkeypatch.setattr(dense, "_BLOCK_BYTES", request.param)


def drawn(dtype, images=4):
    rng = np.random.default_rng(0)
    logits = tf.constant(rng.normal(0, 3, (images, 3, 4, CLASSES)), dtype)
    labels = rng.integers(0, CLASSES, (images, HEIGHT, WIDTH))
    labels[rng.random(labels.shape) < 0.3] = IGNORE
    labels[-1] = IGNORE
    probabilities = tf.nn.softmax(rng.normal(0, 2, (images, HEIGHT, WIDTH, CLASSES)))
    return logits, tf.constant(labels), tf.cast(probabilities, dtype), rng


def assert_close(ours, expected, dtype):
    for one, other in zip(ours, expected, strict=True):
        assert one.dtype == dtype
        np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE[dtype])
    assert np.abs(expected[1]).max() > 1e-3


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("averaging", ["image", "group", "batch"])
@pytest.mark.parametrize(
    ("aligned", "class_weights"), [(False, None), (True, [0.5, 3.0, 1.0, 0.0, 2.0])]
)
def test_supervised_loss_is_that_at_full_size(dtype, averaging, aligned, class_weights):
    logits, labels, *_ = drawn(dtype)
    options = OPTIONS | {
        "averaging": averaging, "group_size": 2, "class_weights": class_weights
    }  # fmt: skip
    ours, expected = (
        with_gradient(
            lambda x, resize=resize: losses.supervised(
                labels, resize(x, HEIGHT, WIDTH, aligned), **options
            ),
            logits,
        )
        for resize in (dense.resized, bilinear)
    )
    assert_close(ours, expected, dtype)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("class_mean", [False, True])
def test_consistency_loss_is_that_at_full_size(dtype, class_mean):
    logits, labels, probabilities, _ = drawn(dtype)
    confident = labels != IGNORE
    planes = tf.transpose(probabilities, [0, 1, 3, 2])
    ours, expected = (
        with_gradient(
            lambda x, resize=resize, target=target: losses.consistency(
                target, resize(x, HEIGHT, WIDTH), confident, class_mean=class_mean, **OPTIONS
            ),
            logits,
        )
        for resize, target in ((dense.resized, planes), (bilinear, probabilities))
    )
    assert_close(ours, expected, dtype)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_both_losses_of_mixed_images_are_those_at_full_size(dtype):
    logits, labels, probabilities, rng = drawn(dtype, images=8)
    order = cutmix.draw_order(tf.constant(rng.random((2, 4))), "cross_set")
    boxes = cutmix.boxes_from_uniform(tf.constant(rng.random((2, 2, 3))), HEIGHT, WIDTH)
    plan = cutmix.MixPlan(order, boxes)
    labels, target = labels[:4], probabilities[4:]

    def loss(x_and_u, target):
        x, u = x_and_u
        confident = tf.ones([4, HEIGHT, WIDTH], tf.bool)
        return losses.supervised(labels, x, **OPTIONS) + 3 * losses.consistency(
            target, u, confident, **OPTIONS
        )

    ours = with_gradient(
        lambda x: loss(
            cutmix.unmix_resized(x, plan, HEIGHT, WIDTH), tf.transpose(target, [0, 1, 3, 2])
        ),
        logits,
    )
    expected = with_gradient(
        lambda x: loss(cutmix.unmix(bilinear(x, HEIGHT, WIDTH), plan), target), logits
    )
    assert_close(ours, expected, dtype)


@pytest.mark.usefixtures("blocks")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_softmax_is_that_at_full_size(dtype):
    logits, *_ = drawn(dtype)
    probabilities, highest, predicted = dense.softmax(dense.resized(logits, HEIGHT, WIDTH))
    expected = tf.nn.softmax(bilinear(logits, HEIGHT, WIDTH))
    np.testing.assert_allclose(
        tf.transpose(probabilities, [0, 1, 3, 2]), expected, rtol=0, atol=TOLERANCE[dtype]
    )
    np.testing.assert_array_equal(highest, tf.reduce_max(probabilities, axis=2))
    np.testing.assert_array_equal(predicted, tf.argmax(probabilities, axis=2))


def test_a_pixel_that_does_not_count_may_be_infinite():
    logits = tf.constant([[[[0.0, np.inf], [1.0, 2.0]]]])
    valid = tf.constant([[[False, True]]])
    value, slope = with_gradient(
        lambda x: tf.reduce_sum(
            dense.cross_entropy(
                dense.Wide(tf.ones([1, 1, 1]), tf.transpose(x, [0, 1, 3, 2])),
                tf.zeros([1, 1, 2], tf.int32),
                valid,
            )
        ),
        logits,
    )
    assert float(value) == pytest.approx(np.log1p(np.e), rel=1e-6)
    assert np.isfinite(slope).all()
