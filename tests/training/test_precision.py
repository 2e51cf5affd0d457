"""Half precision: what computes in it, what does not, and that the steps stay close."""

import keras
import numpy as np
import pytest

import tiny_segmenter
from c3tf.config import ConfigError
from c3tf.training import precision
from c3tf.training.optimizer import INITIAL_SCALE, LayerwiseAdam, LossScaledAdam

STEPS = 3


def run(policy):
    settings = tiny_segmenter.config(supervised_steps=1, precision=policy, ema_decay=0.5)
    batches = [tiny_segmenter.semi_batch(settings, seed) for seed in range(STEPS)]
    with precision.policy(policy):
        model = tiny_segmenter.segmenter(settings)
    scalars = []
    record = keras.callbacks.LambdaCallback(
        on_train_batch_end=lambda batch, logs: scalars.append(dict(logs))
    )
    fit = {"epochs": 1, "verbose": 0, "shuffle": False, "callbacks": [record]}
    labeled = tiny_segmenter.dataset(batches, supervised=True)
    model.fit(labeled, steps_per_epoch=1, **fit)
    model.begin_semi_supervised(copy_student=True)
    model.fit(tiny_segmenter.dataset(batches), steps_per_epoch=STEPS, **fit)
    return model, scalars


@pytest.fixture(scope="module")
def full():
    return run("float32")


@pytest.fixture(scope="module", params=["mixed_bfloat16", "mixed_float16"])
def half(request):
    return request.param, *run(request.param)


def test_networks_compute_in_half_precision_and_keep_float32_weights(half):
    policy, model, _ = half
    expected = policy.removeprefix("mixed_")
    for network in (model.student, model.teacher):
        assert network.get_layer("backbone_stem").compute_dtype == expected
        assert {weight.dtype for weight in network.weights} == {"float32"}
    assert model.thresholds.dtype == "float32"


def test_losses_stay_close_to_float32(half, full):
    _, _, scalars = half
    for name, tolerance in (("supervised", 0.02), ("consistency", 0.02), ("contrast", 0.05)):
        found = [float(entry[name]) for entry in scalars[1:]]
        expected = [float(entry[name]) for entry in full[1][1:]]
        np.testing.assert_allclose(found, expected, rtol=tolerance, err_msg=name)
        assert found != expected


def test_the_optimizer_fits_the_precision(half, full):
    policy, model, scalars = half
    assert type(full[0].optimizer) is LayerwiseAdam
    assert "loss_scale" not in full[1][-1]
    if policy == "mixed_float16":
        assert type(model.optimizer) is LossScaledAdam
        assert float(scalars[-1]["loss_scale"]) == INITIAL_SCALE
    else:
        assert type(model.optimizer) is LayerwiseAdam


def test_a_description_computes_in_full_precision(half):
    _, model, _ = half
    text = precision.full_precision(model.student.to_json())
    network = keras.models.model_from_json(text)
    assert {layer.compute_dtype for layer in network.layers} == {"float32"}
    network.set_weights(model.student.get_weights())
    images = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 3)).astype("float32")
    np.testing.assert_allclose(
        network(images)["logits"], model.student(images)["logits"], rtol=0.05, atol=0.1
    )


def test_a_twin_follows_its_network(half):
    _, model, _ = half
    full = precision.FullPrecision()
    twin = full.of(model.student)
    before = model.student.get_weights()
    try:
        model.student.set_weights([weight + 1 for weight in before])
        again = full.of(model.student)
        assert again is twin
        assert again is not full.of(model.teacher)
        assert {layer.compute_dtype for layer in twin.layers} == {"float32"}
        for one, two in zip(again.get_weights(), before, strict=True):
            np.testing.assert_array_equal(one, two + 1)
    finally:
        model.student.set_weights(before)


def test_a_float32_network_is_its_own_twin(full):
    student = full[0].student
    assert precision.FullPrecision().of(student) is student


def test_the_setting_of_keras_is_left_as_it_was():
    before = keras.config.dtype_policy()
    with precision.policy("mixed_bfloat16"):
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    assert keras.config.dtype_policy() == before


def test_float64_weights_are_refused_with_half_precision():
    with (
        tiny_segmenter.precision("float64"),
        pytest.raises(ConfigError, match="set to float64"),
        precision.policy("mixed_float16"),
    ):
        pass
    with tiny_segmenter.precision("float64"), precision.policy("float32"):
        assert keras.config.dtype_policy().name == "float64"
