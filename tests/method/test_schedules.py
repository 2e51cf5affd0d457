"""Ramp, decay and learning rate over the steps against Section 4.1 and the authors' numbers."""

import math

import keras
import numpy as np
import pytest
import tensorflow as tf

import references
from c3tf.config import Config
from c3tf.method import schedules
from c3tf.training import optimizer

pytestmark = pytest.mark.smoke


def ramp(step, length):
    return float(schedules.sigmoid_ramp(tf.constant(step), length, tf.float64))


def decay(step, warmup, alpha=0.99):
    return float(schedules.ema_decay(tf.constant(step), alpha, warmup, tf.float64))


def test_authors_ramp(authors):
    for length, expected in zip(authors["d_rampup_length"], authors["d_rampup_value"], strict=True):
        values = [ramp(step, int(length)) for step in authors["d_rampup_current"].tolist()]
        np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_ramp_of_the_paper():
    """lambda1 = 50 exp(-5 (1 - step / 4000)^2)."""
    for step in (0, 1, 2000, 3999, 4000, 20000):
        assert ramp(step, 4000) == pytest.approx(references.sigmoid_ramp(step, 4000), rel=1e-12)
    assert ramp(0, 4000) == pytest.approx(math.exp(-5))
    assert ramp(2000, 4000) == pytest.approx(math.exp(-1.25))
    assert ramp(4000, 4000) == ramp(10**6, 4000) == 1


def test_ramp_of_length_0_is_1_at_once():
    assert ramp(0, 0) == 1


def test_ramp_takes_integer_steps_as_the_optimizer_counts_them():
    value = schedules.sigmoid_ramp(tf.constant(7, tf.int64), 10)
    assert value.dtype == tf.float32
    assert float(value) == pytest.approx(references.sigmoid_ramp(7, 10), rel=1e-6)


def test_authors_ema_decay(authors):
    values = [decay(step, warmup=True) for step in authors["d_ema_times"].tolist()]
    np.testing.assert_allclose(values, authors["d_ema_alpha"], rtol=1e-12)


def test_ema_decay_of_the_paper_is_constant():
    assert [decay(step, warmup=False) for step in (0, 1, 10**6)] == [0.99] * 3


def test_warm_up_starts_with_a_copy_of_the_student():
    assert decay(0, warmup=True) == 0
    assert decay(1, warmup=True) == 0.5
    assert decay(98, warmup=True) == pytest.approx(1 - 1 / 99)
    assert decay(10**6, warmup=True) == 0.99


def run(**options):
    return Config().with_options(method="supervised", **options)


def rates(base, steps, at, power=0.9):
    config = run(learning_rate=base, steps=steps, poly_power=power)
    adam = optimizer.build(config, lambda _: False, lambda _: False)
    adam.build([keras.Variable(0.0)])
    result = []
    for step in at:
        adam.iterations.assign(step)
        result.append(float(adam.learning_rate))
    return result


@pytest.mark.parametrize("case", ["small", "official"])
def test_authors_learning_rates(authors, case):
    """Their number i is what the optimizer holds after i + 1 steps."""
    epochs, iterations, base = authors[f"d_poly_{case}_epochs_iters_base"].tolist()
    steps, at = int(epochs * iterations), authors[f"d_poly_{case}_at"]
    assert (at[0], at[-1]) == (0, steps - 1)
    expected = authors[f"d_poly_{case}_lr"]
    np.testing.assert_allclose(rates(base, steps, at + 1), expected, rtol=1e-4, atol=1e-6 * base)


@pytest.mark.parametrize("power", [0.0, 0.9, 2.0])
def test_polynomial_rate(power):
    at = [0, 1, 50, 99]
    expected = [references.polynomial_rate(0.00012, step, 100, power) for step in at]
    np.testing.assert_allclose(rates(0.00012, 100, at, power), expected, rtol=1e-5)
