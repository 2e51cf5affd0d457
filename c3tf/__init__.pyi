from c3tf.config import Config as Config
from c3tf.experiment import Experiment as Experiment
from c3tf.inference.options import InferenceOptions as InferenceOptions
from c3tf.models import TrainedModel as TrainedModel
from c3tf.models import load as load
from c3tf.nets.deeplab import build as build_network

__version__: str
__all__ = [
    "Config",
    "Experiment",
    "InferenceOptions",
    "TrainedModel",
    "__version__",
    "build_network",
    "load",
]
