"""The versions of what a run's numbers and a saved model depend on."""

import platform

import keras
import tensorflow as tf

import c3tf


def versions() -> dict[str, str]:
    """Returns version by name: this package, TensorFlow, Keras, Python."""
    return {
        "c3tf": c3tf.__version__,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
    }
