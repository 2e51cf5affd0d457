"""Settings from outside the configuration that decide results: set by commands, else refused.

TensorFlow and Keras read variables of the environment and `keras.json`. What a run computes must
follow from its recorded configuration alone. A command therefore sets these before it imports
either; in a program of the user's, who may have set them on purpose, they are refused by name.
"""

import json
import math
import os
import platform
import sys
from typing import Any

from c3tf.errors import UserError

_BACKEND = "tensorflow"
# By variable, what it would decide.
_REMOVED = {
    "KERAS_MAX_EPOCHS": "how long training lasts",
    "KERAS_MAX_STEPS_PER_EPOCH": "how long training lasts",
    "KERAS_NNX_ENABLED": "how Keras keeps weights",
    "TF_USE_LEGACY_KERAS": "which Keras computes",
    "NVIDIA_TF32_OVERRIDE": "the precision of convolutions",
    "TF_ENABLE_AUTO_MIXED_PRECISION": "the precision of networks",
    "TF_ENABLE_AUTO_MIXED_PRECISION_GRAPH_REWRITE": "the precision of networks",
    "TF_FP16_CONV_USE_FP32_COMPUTE": "the precision of convolutions",
    "TF_FP16_MATMUL_USE_FP32_COMPUTE": "the precision of products",
    "TF_ENABLE_CUBLAS_TENSOR_OP_MATH_FP32": "the precision of products",
    "TF_ENABLE_CUDNN_TENSOR_OP_MATH_FP32": "the precision of convolutions",
    "TF_SET_ONEDNN_FPMATH_MODE": "the precision of products",
    "ONEDNN_DEFAULT_FPMATH_MODE": "the precision of products",
    "DNNL_DEFAULT_FPMATH_MODE": "the precision of products",
}
# Variables that hold flags; of these only what decides no result may stay: dumps for debugging,
# where CUDA lies, and how many devices a CPU plays.
_HARMLESS = {
    "XLA_FLAGS": (
        "--xla_dump_",
        "--xla_gpu_cuda_data_dir",
        "--xla_force_host_platform_device_count",
        "--xla_gpu_deterministic_ops",
    ),
    "TF_XLA_FLAGS": ("--tf_dump_graph_prefix", "--tf_xla_clustering_debug"),
}
# What makes TensorFlow faster and changes results by rounding alone; the user's own value stays.
# It turns oneDNN on by itself only where the processor has AVX-512.
_FASTER = {"TF_ENABLE_ONEDNN_OPTS": "1"}
_X86 = ("x86_64", "AMD64")
# What Keras must be set to, by the name in `keras.json` and in `keras.config`.
_KERAS = {"floatx": "float32", "epsilon": 1e-7, "image_data_format": "channels_last"}
_KERAS_FILE = "keras.json"
# How TensorFlow's own rewrites to shorter numbers begin.
_MIXED = "auto_mixed_precision"

_is_pinned = False


def pin() -> list[str]:
    """Sets what a command's results depend on in its environment, before TensorFlow is imported.

    Commands that this one starts inherit it.

    Returns:
        What was set aside, `NAME=value` each.
    """
    global _is_pinned
    _is_pinned = True
    aside = _deviations()
    os.environ["KERAS_BACKEND"] = _BACKEND
    if platform.machine() in _X86:
        for name, value in _FASTER.items():
            os.environ.setdefault(name, value)
    for name in _REMOVED:
        os.environ.pop(name, None)
    for name in _HARMLESS:
        words = os.environ.pop(name, "").split()
        if kept := [word for word in words if _stays(name, word)]:
            os.environ[name] = " ".join(kept)
    return aside


def check_keras_file() -> None:
    """Refuses a `keras.json` that Keras cannot be imported with.

    Raises:
        UserError: names the file and the value.
    """
    path, held = _keras_file()
    allowed = {
        "floatx": ("float16", "float32", "float64"),
        "image_data_format": ("channels_last", "channels_first"),
    }
    problem = None if isinstance(held, dict) else "it holds no object"
    for name, values in allowed.items():
        if not problem and (value := held.get(name, values[0])) not in values:
            problem = f"`{name}` must be one of {', '.join(values)}. Received: {value!r}"
    if not problem and not isinstance(value := held.get("epsilon", 1e-7), float):
        problem = f"`epsilon` must be a number with a point. Received: {value!r}"
    if problem:
        raise UserError(f"{path} keeps Keras from starting: {problem}. Mend or delete the file.")


def check_backend() -> None:
    """Refuses another backend than TensorFlow before Keras starts with it, or fails to.

    Raises:
        UserError: in a program of the user's, the environment or `keras.json` names another.
    """
    if "keras" in sys.modules:
        # `settle` asks it.
        return
    path, held = _keras_file()
    of_file = held.get("backend") if isinstance(held, dict) else None
    for place, backend in ("KERAS_BACKEND", os.environ.get("KERAS_BACKEND")), (path, of_file):
        if backend == _BACKEND:
            return
        if backend:
            raise UserError(
                f"Keras must run on TensorFlow, and {place} says {backend}. Set KERAS_BACKEND="
                f"{_BACKEND} in the environment before Keras is imported."
            )


def settle() -> None:
    """Makes Keras compute as configurations assume: sets it in a command, else checks it.

    Raises:
        UserError: in a program of the user's a setting is another; names it.
    """
    import keras
    import tensorflow as tf

    if _is_pinned and keras.config.backend() == _BACKEND:
        keras.config.set_floatx(_KERAS["floatx"])
        keras.config.set_epsilon(_KERAS["epsilon"])
        keras.config.set_image_data_format(_KERAS["image_data_format"])
        keras.config.set_dtype_policy(_KERAS["floatx"])
        keras.config.set_max_epochs(None)
        keras.config.set_max_steps_per_epoch(None)
        return
    found = [f"{deviation} in the environment" for deviation in _deviations()]
    stated: dict[str, tuple[Any, Any]] = {
        "backend": (keras.config.backend(), _BACKEND),
        **{name: (getattr(keras.config, name)(), value) for name, value in _KERAS.items()},
        "dtype_policy": (keras.config.dtype_policy().name, _KERAS["floatx"]),
        "max_epochs": (keras.config.max_epochs(), None),
        "max_steps_per_epoch": (keras.config.max_steps_per_epoch(), None),
    }
    for name, (value, wanted) in stated.items():
        same = math.isclose(value, wanted) if isinstance(wanted, float) else value == wanted
        if not same:
            found.append(f"keras.config.{name}() = {value} in place of {wanted}")
    if tf.config.optimizer.get_jit():
        found.append("tf.config.optimizer.set_jit, in place of `--jit`")
    for name, value in tf.config.optimizer.get_experimental_options().items():
        if value and name.startswith(_MIXED):
            found.append(f"{name} of tf.config.optimizer.set_experimental_options")
    if not tf.config.experimental.tensor_float_32_execution_enabled():
        found.append("tf.config.experimental.enable_tensor_float_32_execution(False)")
    if found:
        raise UserError(
            "Settings from outside the configuration would decide the results: "
            f"{'; '.join(found)}. Unset them before TensorFlow and Keras are imported, or mend "
            f"{_KERAS_FILE}; the commands (`c3tf train` ...) set them themselves."
        )


def _keras_file() -> tuple[str, Any]:
    """Returns where `keras.json` lies and what it holds; nothing where it cannot be read."""
    path = os.path.expanduser(os.path.join(os.environ.get("KERAS_HOME", "~/.keras"), _KERAS_FILE))
    try:
        with open(path, encoding="utf-8") as file:
            return path, json.load(file)
    except (OSError, ValueError, RecursionError):
        # Absent, or passed over by Keras too.
        return path, {}


def _deviations() -> list[str]:
    """Lists variables that would decide results, `NAME=value` each."""
    found = [f"{name}={os.environ[name]}" for name in _REMOVED if os.environ.get(name)]
    if (backend := os.environ.get("KERAS_BACKEND") or _BACKEND) != _BACKEND:
        found.append(f"KERAS_BACKEND={backend}")
    for name in _HARMLESS:
        words = [w for w in os.environ.get(name, "").split() if not _stays(name, w)]
        if words:
            found.append(f"{name}={' '.join(words)}")
    return found


def _stays(name: str, word: str) -> bool:
    return word.startswith(_HARMLESS[name])
