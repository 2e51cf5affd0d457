"""A network with its classes, ready to predict, wherever it was opened from."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
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
        image_height: rows of most images that it was trained on; None where that is not known.
        path: what the same network can be opened from again; of a run, which may go on, the
            checkpoint.
    """

    predict: Predictor
    probabilities: Probabilities
    label_map: LabelMap
    source: dict[str, Any]
    thresholds: np.ndarray | None = None
    image_height: int | None = None
    path: str = ""

    def advice(
        self, rows: Mapping[int, int], height: int, scales: Sequence[float] = (1.0,)
    ) -> str | None:
        """Says that it was shown images much smaller or larger than those of its training.

        Args:
            rows: how many images it was given, by their height.
            height: that they were shown at; 0 where that is their own.
            scales: factors of that at which the network saw each; one that fits is enough.
        """
        own = self.image_height
        if own is None:
            return None
        shown = {height: sum(rows.values())} if height else rows
        unlike = sum(
            count
            for seen, count in shown.items()
            if not any(own / 1.5 < seen * scale < own * 1.5 for scale in scales)
        )
        if not unlike:
            return None
        return (
            f"{unlike} of {sum(shown.values())} images were shown to the network much smaller or "
            f"larger than those it was trained on, {own} rows high: --height={own} shows them so"
        )

    def scorer(self, options: InferenceOptions) -> Predictor:
        """Makes the function from images and a size to probabilities, see `test_time.scorer`."""
        return test_time.scorer(self.probabilities, options, self.label_map.num_classes)

    def predictor(self, options: InferenceOptions) -> Predictor:
        """Makes the function from images and a size to class maps, by the options."""
        return test_time.predictor(self.scorer(options)) if options.averages else self.predict


# Opens a model on the device of the moment.
Opener = Callable[[], InferenceModel]
