"""The executable paper against the NumPy references, and the train step against its Eq. 7."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import references
import tiny_segmenter
from c3tf.labels import IGNORE
from c3tf.method import cutmix, plain
from tiny_segmenter import HEIGHT, NUM_CLASSES, STRIDE, WIDTH


def random_case(seed=0):
    rng = np.random.default_rng(seed)
    y = rng.choice([0, 1, 2, 3, 4, IGNORE], (3, 5, 6))
    logits, teacher = rng.normal(0, 3, (2, 3, 5, 6, 5))
    valid = rng.random(y.shape) < np.array([0.0, 0.4, 0.9])[:, None, None]
    return y, logits, references.softmax(teacher), valid


def test_eq_1():
    y, logits, *_ = random_case()
    loss = plain.supervised(tf.constant(y), tf.nn.log_softmax(logits))
    assert float(loss) == pytest.approx(references.supervised_loss(y, logits)[0], rel=1e-12)


def test_eq_2():
    _, logits, f_hat, confident = random_case()
    loss = plain.consistency(f_hat, tf.nn.log_softmax(logits), confident)
    expected, _ = references.masked_cross_entropy(f_hat, logits, confident)
    assert float(loss) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("teacher_keys", [False, True], ids=["Eq. 3", "Eq. 5"])
def test_eq_3_and_5(teacher_keys):
    rng = np.random.default_rng(0)
    f, f_hat = rng.normal(size=(2, 12, 4))
    f_hat = f_hat if teacher_keys else f
    c = rng.integers(0, 3, 12)
    loss = plain.contrast(tf.constant(f), tf.constant(f_hat), tf.constant(c), 0.15)
    units = references.unit_norm(f), references.unit_norm(f_hat)
    expected, _ = references.contrastive_loss(units[0], c, units[1], c, 0.15)
    assert float(loss) == pytest.approx(expected.mean(), rel=1e-12)


@pytest.mark.parametrize("count", [1, 4, 7])
def test_sampling_of_section_3_3(count):
    rng = np.random.default_rng(count)
    c = rng.choice([0, 1, 2, IGNORE], (3, 40), p=[0.6, 0.3, 0.05, 0.05])
    hard, r = rng.random(c.shape) < 0.3, rng.random(c.shape)
    pixels, classes = plain.sample(c, hard, r, 3, count)
    expected = references.sample(c, hard, r, 3, count)
    assert pixels.numpy().tolist() == [
        40 * b + n for (b, _), kinds in expected.items() for kind in kinds for n in kind
    ]
    assert classes.numpy().tolist() == [
        k for (_, k), kinds in expected.items() for kind in kinds for _ in kind
    ]


def test_eq_4():
    rng = np.random.default_rng(0)
    x, u = rng.integers(0, 256, (2, 4, 16, 24, 3)).astype(np.uint8)
    order = cutmix.draw_order(tf.constant(rng.random((2, 4))), "cross_set")
    boxes = cutmix.boxes_from_uniform(tf.constant(rng.random((2, 2, 3))), 16, 24)
    M = plain.masks(tf.reshape(boxes, [-1, 4]), 16, 24, tf.uint8)  # noqa: N806
    first = references.mix_pair(x[0], u[0], boxes[0, 0].numpy())
    np.testing.assert_array_equal(plain.mix(x[0], u[0], M[0]), first)
    mixed = plain.mix_batch(tf.constant(x), tf.constant(u), order, M)
    expected = references.mix_groups(x, u, order.numpy(), boxes.numpy())
    np.testing.assert_array_equal(mixed, expected)
    back = plain.unmix_batch(mixed, order, M)
    np.testing.assert_array_equal(back, [x, u])
    # Predictions are new values: each goes to the image that its pixel came from.
    predictions = rng.normal(size=(8, 16, 24, 2))
    source = references.sources(order.numpy(), boxes.numpy(), 16, 24)
    apart = plain.unmix_batch(predictions, order, tf.cast(M, tf.float64))
    np.testing.assert_array_equal(np.concatenate(apart), references.take_apart(predictions, source))


def test_masks_at_a_stride_are_those_of_the_middle_pixels():
    boxes = tf.constant([[3, 5, 8, 11], [0, 0, 16, 24], [15, 23, 1, 1]])
    full = plain.masks(boxes, 16, 24, tf.int32)
    np.testing.assert_array_equal(
        plain.masks(boxes, 16, 24, tf.int32, stride=4), full[:, 2::4, 2::4]
    )


def test_eq_6():
    _, _, f_hat, valid = random_case()
    valid[..., :] &= f_hat.argmax(-1) != 2
    start = np.linspace(0.1, 0.9, 5)
    delta_hat = plain.thresholds(start, f_hat, valid, s=0.8, beta=0.9)
    expected = references.update_thresholds(start, f_hat, valid, 0.8, 0.9)
    np.testing.assert_allclose(delta_hat, expected, rtol=1e-12)
    assert delta_hat[2] == start[2]
    np.testing.assert_array_equal(
        plain.confident_region(delta_hat, f_hat, valid),
        references.confident_region(expected, f_hat, valid),
    )


def test_ramp_and_moving_average():
    for t in (0, 3, 10, 11):
        assert float(plain.ramp(t, 10)) == pytest.approx(references.sigmoid_ramp(t, 10), rel=1e-6)
    (moved,) = plain.moving_average([tf.constant(1.0)], [tf.constant(3.0)], 0.75)
    assert float(moved) == 1.5


@pytest.mark.parametrize("phase_step", [0, 2, 9])
def test_the_train_step_is_eq_7(phase_step):
    """One step of plain gradient descent is that of the executable paper, forward and backward."""
    settings = tiny_segmenter.config(consistency_weight=2.0, contrast_weight=0.5)
    method = settings.method
    with tiny_segmenter.precision("float32"):
        trainer = tiny_segmenter.segmenter(
            settings, adam=lambda: keras.optimizers.SGD(learning_rate=1.0)
        )
        student = tiny_segmenter.network("student", seed=1)
        teacher = tiny_segmenter.network("teacher", seed=2)
    trainer.begin_semi_supervised(copy_student=False)
    trainer.optimizer.iterations.assign(method.supervised_steps + phase_step)
    start = trainer.thresholds.numpy()
    theta_hat = plain.moving_average(
        [v.value for v in teacher.trainable_variables],
        [v.value for v in student.trainable_variables],
        method.ema_decay,
    )
    for variable, value in zip(teacher.trainable_variables, theta_hat, strict=True):
        variable.assign(value)
    batch = tiny_segmenter.tensors(tiny_segmenter.semi_batch(settings))
    logs = trainer.train_step(batch)

    grid = [2, HEIGHT // STRIDE, WIDTH // STRIDE]
    draws = tf.stack([tf.random.stateless_uniform(grid, seed) for seed in batch.seed], axis=1)
    plan = batch.mix_plan(method.mix_group)
    variables = [v.value for v in student.trainable_variables]
    with tf.GradientTape() as tape:
        loss = plain.total_loss(
            lambda images: student(tf.cast(images, tf.float32)),
            lambda images: teacher(tf.cast(images, tf.float32)),
            *batch[:5],
            *plan,
            draws,
            tf.constant(start),
            t=phase_step,
            s=method.dcrs_ratio,
            beta=method.dcrs_decay,
            tau=method.temperature,
            K=method.contrast_samples,
            # Training divides Eq. 2 by the number of classes, to which lambda1 belongs.
            lambda1=method.consistency_weight / NUM_CLASSES,
            T=method.consistency_ramp_steps,
            lambda2=method.contrast_weight,
        )
    assert float(logs["loss"]) == pytest.approx(float(loss), rel=1e-5)
    assert start.size == NUM_CLASSES
    pairs = zip(trainer.student.trainable_variables, variables, strict=True)
    for (ours, before), slope in zip(pairs, tape.gradient(loss, variables), strict=True):
        np.testing.assert_allclose(before - ours.value, slope, rtol=0, atol=2e-5)
        assert np.abs(slope).max() > 1e-3
