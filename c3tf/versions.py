"""The version of this package, and those of what a run's numbers and a saved model depend on."""

import platform

VERSION = "0.1.0"


def versions() -> dict[str, str]:
    """Returns version by name: this package, TensorFlow, Keras, Python."""
    # Imported here, so that whoever needs the version alone does not wait for TensorFlow.
    import keras
    import tensorflow as tf

    return {
        "c3tf": VERSION,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "python": platform.python_version(),
    }
