"""Adam with a rate per layer."""

import keras
import numpy as np
import pytest

import references
import tiny_segmenter
from c3tf.config import Config
from c3tf.training import optimizer
from c3tf.training.optimizer import LayerwiseAdam

pytestmark = pytest.mark.smoke

SHAPES = {"backbone_a": (3, 2), "head": (4,), "backbone_b": (2,)}


@pytest.fixture(autouse=True)
def float64():
    with tiny_segmenter.precision("float64"):
        yield


def variables():
    rng = np.random.default_rng(0)
    return [keras.Variable(rng.normal(size=shape), name=name) for name, shape in SHAPES.items()]


def gradients(steps):
    rng = np.random.default_rng(1)
    return [
        [keras.ops.convert_to_tensor(rng.normal(size=shape)) for shape in SHAPES.values()]
        for _ in range(steps)
    ]


def run(**options):
    return Config().with_options(method="supervised", **options)


def is_backbone(variable):
    return "backbone" in variable.name


def trained(adam, own, steps=5, pick=slice(None)):
    adam.build(own)
    for gradient in gradients(steps):
        adam.apply(gradient[pick], own)
    return [variable.numpy() for variable in own]


def test_a_factor_equals_two_adams():
    rates = {True: 0.1 * 0.02, False: 0.02}
    joint = trained(
        LayerwiseAdam(0.02, factor=lambda v: 0.1 if is_backbone(v) else 1.0), variables()
    )
    for backbone, pick in ((True, slice(0, 3, 2)), (False, slice(1, 2))):
        alone = trained(keras.optimizers.Adam(rates[backbone]), variables()[pick], pick=pick)
        for one, other in zip(joint[pick], alone, strict=True):
            np.testing.assert_allclose(one, other, rtol=0, atol=1e-15)


def test_without_a_factor_it_is_adam():
    ours = trained(LayerwiseAdam(0.02), variables())
    for one, other in zip(ours, trained(keras.optimizers.Adam(0.02), variables()), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("multiplier", [1.0, 0.2, 0.0])
def test_a_run_against_the_algorithm(multiplier):
    """Adam's Algorithm 1, with the polynomial rate of the step and the factor of the layer."""
    options = {"poly_power": 0.9, "backbone_lr_multiplier": multiplier}
    config = run(learning_rate=0.01, steps=8, **options)
    ours = trained(optimizer.build(config, is_backbone, lambda v: False), variables(), steps=8)
    states = [references.Adam(v.numpy(), epsilon=1e-7) for v in variables()]
    factors = [multiplier, 1.0, multiplier]
    for step, gradient in enumerate(gradients(8)):
        rate = references.polynomial_rate(0.01, step, 8)
        for state, own, factor in zip(states, gradient, factors, strict=True):
            state.step(own.numpy(), factor * rate)
    for value, state in zip(ours, states, strict=True):
        # Keras holds the rate and the decays in float32, of which 1 - 0.999 loses the most.
        np.testing.assert_allclose(value, state.value, rtol=0, atol=1e-6)


def test_backbone_lr_multiplier_0_freezes_the_backbone_alone():
    config = run(learning_rate=0.01, steps=8, backbone_lr_multiplier=0.0)
    new = trained(optimizer.build(config, is_backbone, lambda v: False), variables())
    for variable, value in zip(variables(), new, strict=True):
        assert (value == variable.numpy()).all() == is_backbone(variable)


def test_the_factor_survives_the_compiled_step():
    model = keras.Sequential(
        [
            keras.Input((3,)),
            keras.layers.Dense(4, name="backbone"),
            keras.layers.Dense(1, name="head"),
        ]
    )
    before = [weight.numpy() for weight in model.weights]
    config = run(learning_rate=0.01, steps=8, backbone_lr_multiplier=0.0)
    model.compile(
        optimizer.build(config, lambda v: "backbone" in v.path, lambda v: False), loss="mse"
    )
    model.fit(np.ones((4, 3)), np.ones((4, 1)), verbose=0)
    changed = [
        (weight.numpy() != old).any() for weight, old in zip(model.weights, before, strict=True)
    ]
    assert changed == [False, False, True, True]


def test_every_variable_is_asked_once_by_its_own_identity():
    asked = []
    own = variables()
    LayerwiseAdam(0.1, factor=lambda v: asked.append(v.name) or 1.0).build(own)
    assert asked == list(SHAPES)


def test_a_variable_that_starts_late_is_updated_like_one_of_a_new_optimizer():
    """Zero gradients of the supervised phase must not use up the bias correction."""
    waiting, steps = 30, 5
    late = variables()[1:2]
    adam = LayerwiseAdam(0.02, first_step=lambda v: waiting)
    adam.build(late)
    for _ in range(waiting):
        adam.apply([keras.ops.zeros_like(late[0])], late)
    new = variables()[1:2]
    fresh = keras.optimizers.Adam(0.02)
    fresh.build(new)
    for gradient in gradients(steps):
        adam.apply(gradient[1:2], late)
        fresh.apply(gradient[1:2], new)
        # Adam's epsilon of 1e-7 stands outside the correction; without it, steps differ by 6 times.
        np.testing.assert_allclose(late[0].numpy(), new[0].numpy(), rtol=0, atol=1e-7)
