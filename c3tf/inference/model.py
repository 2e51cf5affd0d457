"""A network with its classes, ready to predict, wherever it was opened from."""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from c3tf.inference import test_time
from c3tf.inference.networks import Predictor, Probabilities
from c3tf.inference.options import InferenceOptions
from c3tf.labels import LabelMap


@dataclasses.dataclass(frozen=True)
class InferenceModel:
    """A network with its classes, ready to predict.

    Attributes:
        predict: its class maps at any size.
        probabilities: its softmax at the images' size.
        label_map: its classes.
        source: where it comes from, plain data to be stated in results.
        thresholds: `(C,)` DCRS thresholds; None for a checkpoint without a teacher, and for an
            export of one.
    """

    predict: Predictor
    probabilities: Probabilities
    label_map: LabelMap
    source: dict[str, Any]
    thresholds: np.ndarray | None = None

    def scorer(self, options: InferenceOptions) -> Predictor:
        """Makes the function from images and a size to probabilities, see `test_time.scorer`."""
        return test_time.scorer(self.probabilities, options, self.label_map.num_classes)

    def predictor(self, options: InferenceOptions) -> Predictor:
        """Makes the function from images and a size to class maps, by the options."""
        return test_time.predictor(self.scorer(options)) if options.averages else self.predict


# Opens a model on the device of the moment.
Opener = Callable[[], InferenceModel]
