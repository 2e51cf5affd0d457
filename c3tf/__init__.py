"""C3-SemiSeg (ICCV 2021): semi-supervised semantic segmentation in Keras 3 on TensorFlow.

The front door: what a notebook or a program needs. Importing it does not import TensorFlow, the
first use of something does.

    import c3tf

    experiment = c3tf.Experiment.from_flags("configs/demo.flags", steps=200)
    experiment.preview()
    print(experiment.train().table())
    model = c3tf.load(experiment.output)
    class_map = model.predict(image)
"""

import importlib
from typing import Any

from c3tf import versions

__version__ = versions.VERSION
__all__ = [
    "Config",
    "Experiment",
    "InferenceOptions",
    "TrainedModel",
    "__version__",
    "build_network",
    "load",
]

# Where each name comes from; `__init__.pyi` says it to type checkers. The commands, c3tf.train and
# so on, stay modules.
_HOMES = {
    "Config": ("c3tf.config", "Config"),
    "Experiment": ("c3tf.experiment", "Experiment"),
    "InferenceOptions": ("c3tf.inference.options", "InferenceOptions"),
    "TrainedModel": ("c3tf.models", "TrainedModel"),
    "build_network": ("c3tf.nets.deeplab", "build"),
    "load": ("c3tf.models", "load"),
}
# The settings, which can be looked at whatever backend Keras has.
_WITHOUT_KERAS = frozenset({"Config", "InferenceOptions"})


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from c3tf.config import environment

    if name not in _WITHOUT_KERAS:
        environment.check_backend()
    module, attribute = _HOMES[name]
    value = getattr(importlib.import_module(module), attribute)
    # The next access does not come here.
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
