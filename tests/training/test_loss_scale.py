"""The loss scale of float16 training, against Adam on the steps that were finite."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import references
from c3tf.training import optimizer
from c3tf.training.optimizer import INITIAL_SCALE, LossScaledAdam

pytestmark = pytest.mark.smoke

RATE = 0.02


def variables():
    rng = np.random.default_rng(0)
    return [keras.Variable(rng.normal(size=shape), name=f"v{shape}") for shape in ((3, 2), (4,))]


def gradients(steps):
    rng = np.random.default_rng(1)
    return [[rng.normal(size=s).astype("float32") for s in ((3, 2), (4,))] for _ in range(steps)]


def scaled(adam, gradient):
    return [tf.constant(part) * tf.convert_to_tensor(adam.loss_scale) for part in gradient]


def test_finite_steps_are_adams():
    own, adam = variables(), LossScaledAdam(RATE)
    adam.build(own)
    plain, other = variables(), keras.optimizers.Adam(RATE)
    for gradient in gradients(4):
        adam.apply(scaled(adam, gradient), own)
        other.apply([tf.constant(part) for part in gradient], plain)
    for one, two in zip(own, plain, strict=True):
        # A power of two scales without rounding.
        np.testing.assert_array_equal(one.numpy(), two.numpy())
    assert float(adam.loss_scale) == INITIAL_SCALE


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("overflows", [{0}, {2}, {0, 1, 3}])
def test_an_overflow_changes_nothing_and_halves_the_scale(overflows, bad):
    own, adam = variables(), LossScaledAdam(RATE)
    adam.build(own)
    states = [references.Adam(v.numpy().astype("float64"), epsilon=1e-7) for v in variables()]
    for step, gradient in enumerate(gradients(6)):
        raw = scaled(adam, gradient)
        if step in overflows:
            before = [v.numpy() for v in [*own, *adam._momentums, *adam._velocities]]
            # One number of one variable is enough.
            raw[1] = tf.tensor_scatter_nd_update(raw[1], [[2]], [bad])
            adam.apply(raw, own)
            after = [v.numpy() for v in [*own, *adam._momentums, *adam._velocities]]
            for old, new in zip(before, after, strict=True):
                np.testing.assert_array_equal(new, old)
        else:
            adam.apply(raw, own)
            for state, part in zip(states, gradient, strict=True):
                state.step(part, RATE)
        assert int(adam.iterations) == step + 1
    assert float(adam.loss_scale) == INITIAL_SCALE / 2 ** len(overflows)
    for variable, state in zip(own, states, strict=True):
        np.testing.assert_allclose(variable.numpy(), state.value, rtol=0, atol=2e-6)


def test_what_waits_counts_the_steps_from_its_own_first_one_on():
    """Skipped steps before it were none of its own, so they correct nothing."""
    waiting, overflows = 4, {1, 2, 5}
    own = variables()
    adam = LossScaledAdam(RATE, first_step=lambda v: waiting if v is own[1] else 0)
    adam.build(own)
    states = [references.Adam(v.numpy().astype("float64"), epsilon=1e-7) for v in variables()]
    for step, gradient in enumerate(gradients(9)):
        if step < waiting:
            gradient[1] *= 0
        raw = scaled(adam, gradient)
        if step in overflows:
            raw[0] *= np.inf
        adam.apply(raw, own)
        for state, part, first in zip(states, gradient, (0, waiting), strict=True):
            if step >= first and step not in overflows:
                state.step(part, RATE)
    for variable, state in zip(own, states, strict=True):
        np.testing.assert_allclose(variable.numpy(), state.value, rtol=0, atol=2e-6)


def test_the_scale_doubles_after_enough_finite_steps_in_a_row(monkeypatch):
    monkeypatch.setattr(optimizer, "GROWTH_STEPS", 3)
    own, adam = variables(), LossScaledAdam(RATE)
    adam.build(own)
    seen = []
    for finite in (1, 1, 0, 1, 1, 1, 1):
        adam.apply(
            [tf.constant(part) if finite else part * np.inf for part in gradients(1)[0]], own
        )
        seen.append(float(adam.loss_scale) / INITIAL_SCALE)
    assert seen == [1, 1, 0.5, 0.5, 0.5, 1, 1]


def test_the_scale_stays_at_least_one():
    own, adam = variables(), LossScaledAdam(RATE)
    adam.build(own)
    adam.loss_scale.assign(1.0)
    adam.apply([part * np.nan for part in gradients(1)[0]], own)
    assert float(adam.loss_scale) == 1.0


def test_it_scales_what_enters_the_gradient():
    adam = LossScaledAdam(RATE)
    adam.build(variables())
    assert float(adam.scale_loss(tf.constant(0.5))) == INITIAL_SCALE / 2
    assert adam.scale_loss(tf.constant(1.0, tf.float64)).dtype == tf.float64
