"""Settings from outside the configuration: commands set them, programs are told of them."""

import os
import platform
import sys

import keras
import pytest
import tensorflow as tf

import c3tf
from c3tf.config import environment
from c3tf.errors import UserError
from c3tf.nets import deeplab

VARIABLES = {
    "KERAS_MAX_STEPS_PER_EPOCH": "3",
    "KERAS_MAX_EPOCHS": "1",
    "KERAS_BACKEND": "jax",
    "TF_USE_LEGACY_KERAS": "1",
    "NVIDIA_TF32_OVERRIDE": "0",
    "TF_ENABLE_AUTO_MIXED_PRECISION": "1",
    "ONEDNN_DEFAULT_FPMATH_MODE": "BF16",
    "TF_XLA_FLAGS": "--tf_xla_auto_jit=2",
    "XLA_FLAGS": "--xla_cpu_enable_fast_math=true",
}
KERAS = {
    "floatx": "float16",
    "image_data_format": "channels_first",
    "epsilon": 1e-3,
    "max_epochs": 1,
    "max_steps_per_epoch": 3,
    "dtype_policy": "mixed_bfloat16",
}


@pytest.fixture(autouse=True)
def own_settings(monkeypatch):
    """Keeps this process's settings, whatever a test does to them."""
    monkeypatch.setattr(os, "environ", dict(os.environ))
    for name in VARIABLES:
        os.environ.pop(name, None)
    monkeypatch.setattr(environment, "_is_pinned", False)
    before = {name: getattr(keras.config, name)() for name in KERAS}
    yield
    for name, value in before.items():
        getattr(keras.config, f"set_{name}")(value)


def test_a_command_sets_aside_what_decides_results_and_says_so():
    os.environ |= VARIABLES
    os.environ["XLA_FLAGS"] += " --xla_dump_to=graphs"
    aside = environment.pin()
    assert sorted(aside) == sorted(f"{name}={value}" for name, value in VARIABLES.items())
    left = {name: os.environ[name] for name in VARIABLES if name in os.environ}
    assert left == {"KERAS_BACKEND": "tensorflow", "XLA_FLAGS": "--xla_dump_to=graphs"}
    assert environment.pin() == []


@pytest.mark.parametrize(
    ("machine", "given", "expected"),
    [("x86_64", None, "1"), ("x86_64", "0", "0"), ("aarch64", None, None)],
)
def test_a_command_turns_onednn_on_unless_told_otherwise(monkeypatch, machine, given, expected):
    monkeypatch.setattr(platform, "machine", lambda: machine)
    os.environ.pop("TF_ENABLE_ONEDNN_OPTS", None)
    if given:
        os.environ["TF_ENABLE_ONEDNN_OPTS"] = given
    assert environment.pin() == []
    assert os.environ.get("TF_ENABLE_ONEDNN_OPTS") == expected


@pytest.mark.parametrize("place", ["environment", "file"])
def test_a_program_is_told_of_another_backend_before_keras_starts_with_it(
    monkeypatch, tmp_path, place
):
    """Keras would end with a ModuleNotFoundError where that backend is not installed."""
    monkeypatch.delitem(sys.modules, "keras")
    os.environ["KERAS_HOME"] = str(tmp_path)
    environment.check_backend()
    if place == "file":
        (tmp_path / "keras.json").write_text('{"backend": "jax"}')
    else:
        os.environ["KERAS_BACKEND"] = "jax"
    with pytest.raises(UserError, match=r"(KERAS_BACKEND|keras\.json) says jax.*=tensorflow"):
        c3tf.__getattr__("load")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    environment.check_backend()


def test_a_command_sets_keras():
    for name, value in KERAS.items():
        getattr(keras.config, f"set_{name}")(value)
    environment.pin()
    environment.settle()
    assert (keras.config.floatx(), keras.config.image_data_format()) == ("float32", "channels_last")
    assert (keras.config.epsilon(), keras.config.dtype_policy().name) == (1e-7, "float32")
    assert keras.config.max_epochs() is keras.config.max_steps_per_epoch() is None


@pytest.mark.parametrize("name", KERAS)
def test_a_program_is_told_of_a_setting_of_keras(name):
    environment.settle()
    getattr(keras.config, f"set_{name}")(KERAS[name])
    with pytest.raises(UserError, match=rf"keras\.config\.{name}\(\) = .* in place of"):
        environment.settle()


def test_a_program_is_told_of_precisions_of_tensorflow():
    name = "auto_mixed_precision_onednn_bfloat16"
    try:
        tf.config.optimizer.set_experimental_options({name: True})
        tf.config.experimental.enable_tensor_float_32_execution(False)
        with pytest.raises(UserError, match=rf"results: {name} of .*; tf.config.*float_32"):
            environment.settle()
    finally:
        tf.config.optimizer.set_experimental_options({name: False})
        tf.config.experimental.enable_tensor_float_32_execution(True)
    environment.settle()


@pytest.mark.parametrize("name", VARIABLES)
def test_a_program_is_told_of_a_variable(name):
    os.environ[name] = VARIABLES[name]
    with pytest.raises(UserError, match=f"{name}={VARIABLES[name]} in the environment"):
        environment.settle()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('{"floatx": "float8"}', "`floatx` must be one of float16, float32, float64. Received: 'f"),
        ('{"image_data_format": 1}', "`image_data_format` must be one of"),
        ('{"epsilon": 1}', "`epsilon` must be a number with a point. Received: 1"),
        ("[]", "it holds no object"),
    ],
)
def test_a_file_that_keras_cannot_start_with_is_named(tmp_path, text, said):
    os.environ["KERAS_HOME"] = str(tmp_path)
    environment.check_keras_file()
    (tmp_path / "keras.json").write_text(text)
    with pytest.raises(UserError, match=r"keras\.json keeps Keras from starting") as error:
        environment.check_keras_file()
    assert said in str(error.value)
    # Keras itself takes what is no JSON for nothing.
    (tmp_path / "keras.json").write_text("{")
    environment.check_keras_file()


def test_a_network_is_not_built_in_another_layout():
    keras.config.set_image_data_format("channels_first")
    with pytest.raises(ValueError, match="must be 'channels_last'"):
        deeplab.build("resnet50", 3, backbone_weights="random")
