"""Measures a network on a labeled split: every image once, as a whole, in integer counts."""

import dataclasses
from collections.abc import Callable, Collection, Iterable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from c3tf import inference
from c3tf.errors import UserError
from c3tf.evaluation import metrics
from c3tf.evaluation.confusion import confusion_counts
from c3tf.labels import LabelMap

# What was done to get from an image to the counts; stated in every result.
PROTOCOL = {
    "inference": "whole image",
    "input_size": "record",
    "output_size": "label",
    "resize": "logits, bilinear, half-pixel centres",
}


class EvaluationError(UserError):
    """A data set cannot be evaluated as it is."""


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluationResult:
    """The counts of one evaluation and what follows from them.

    Attributes:
        confusion: `(C, C)` int64; rows are the true class, columns the predicted one.
        label_map: the `C` classes.
        images: number of images.
        protocol: how the counts were made.
    """

    confusion: np.ndarray
    label_map: LabelMap
    images: int
    protocol: dict[str, Any]

    @property
    def iou(self) -> np.ndarray:
        """IoU per class, `(C,)` float64, NaN where undefined."""
        return metrics.iou(self.confusion)

    def mean_iou(self, averaging: str = "cityscapes") -> float:
        """Averages the IoU by one of the rules in `metrics.AVERAGING`."""
        return metrics.mean_iou(self.confusion, averaging)

    def table(self, heading: str = "IoU") -> str:
        """Lays the numbers out as printable text."""
        return metrics.table({heading: self.confusion}, self.label_map.class_names)

    def to_json(self) -> dict[str, Any]:
        """Returns plain data; numbers that are undefined are `None`."""
        return {
            "images": self.images,
            "protocol": self.protocol,
            "metrics": {
                **{f"mean_iou_{rule}": _number(self.mean_iou(rule)) for rule in metrics.AVERAGING},
                "frequency_weighted_iou": _number(metrics.frequency_weighted_iou(self.confusion)),
                "pixel_accuracy": _number(metrics.pixel_accuracy(self.confusion)),
                "iou": dict(zip(self.label_map.class_names, map(_number, self.iou), strict=True)),
            },
            "label_map": self.label_map.to_json(),
            "confusion": self.confusion.tolist(),
        }


class Evaluator:
    """Counts what one predictor gets right; compiled once, used as often as wanted."""

    def __init__(self, model: keras.Model | inference.Predictor, label_map: LabelMap) -> None:
        """Prepares the compiled step.

        Args:
            model: a functional network with the output `"logits"`, whose later changes of
                weights are followed, or a predictor (`inference.predictor`, `serving.load`).
            label_map: the classes of the labels and of the network.
        """
        predict = inference.predictor(model) if isinstance(model, keras.Model) else model
        self._label_map = label_map

        # One trace serves all batch, image and label sizes.
        @tf.function(
            input_signature=[
                tf.TensorSpec([None, None, None, 3], tf.uint8, name="image"),
                tf.TensorSpec([None, None, None, 1], tf.uint8, name="label"),
            ]
        )
        def count(image: tf.Tensor, label: tf.Tensor) -> tf.Tensor:
            class_map = predict(image, tf.shape(label)[1:3])
            return confusion_counts(label, class_map, label_map.num_classes)

        self._count = count

    def run(
        self,
        dataset: Iterable[dict[str, tf.Tensor]],
        *,
        names: Collection[str] | None = None,
        protocol: dict[str, Any] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> EvaluationResult:
        """Evaluates every image of a data set once.

        Args:
            dataset: batches with `"image"` uint8 `(B, H, W, 3)`, `"label"` uint8
                `(B, h, w, 1)` (train ids or `IGNORE`) and `"name"` string `(B,)`.
            names: the names that must be seen, each once; any distinct ones when absent.
            protocol: facts to state in the result beside `PROTOCOL` (model, data, split).
            progress: called after every batch with the number of images so far.

        Returns:
            The result over all images.

        Raises:
            EvaluationError: there is no image, an image comes twice or is missing, or a record
                cannot be read or counted; nothing is measured on a part of the data.
        """
        classes = self._label_map.num_classes
        total = np.zeros((classes, classes), np.int64)
        seen: set[str] = set()
        for batch_names, counts in self._counted(dataset):
            total += counts
            for name in batch_names:
                if name in seen:
                    raise EvaluationError(f"Image {name!r} comes twice in the data set.")
                seen.add(name)
            if progress:
                progress(len(seen))
        _check_names(seen, names)
        return EvaluationResult(total, self._label_map, len(seen), {**PROTOCOL, **(protocol or {})})

    def _counted(self, dataset: Iterable) -> Iterable[tuple[list[str], np.ndarray]]:
        """Yields the names and counts of each batch, and says where a failure happened."""
        last = "the start"
        iterator = iter(dataset)
        while True:
            try:
                batch = next(iterator)
            except StopIteration:
                return
            except (tf.errors.InvalidArgumentError, tf.errors.DataLossError) as error:
                raise EvaluationError(
                    f"The data set cannot be read after {last}: {_reason(error)}"
                ) from error
            names = [name.decode() for name in np.asarray(batch["name"])]
            try:
                counts = self._count(batch["image"], batch["label"]).numpy()
            except tf.errors.InvalidArgumentError as error:
                raise EvaluationError(
                    f"Cannot evaluate {', '.join(names)}: {_reason(error)}"
                ) from error
            last = names[-1]
            yield names, counts


def evaluate(
    model: keras.Model | inference.Predictor,
    dataset: Iterable[dict[str, tf.Tensor]],
    label_map: LabelMap,
    *,
    names: Collection[str] | None = None,
    protocol: dict[str, Any] | None = None,
    progress: Callable[[int], None] | None = None,
) -> EvaluationResult:
    """Evaluates a network once; see `Evaluator` and `Evaluator.run` for the arguments."""
    evaluator = Evaluator(model, label_map)
    return evaluator.run(dataset, names=names, protocol=protocol, progress=progress)


def _check_names(seen: set[str], names: Collection[str] | None) -> None:
    if not seen:
        raise EvaluationError("The data set holds no image to evaluate.")
    if names is None or seen == set(names):
        return
    missing, extra = sorted(set(names) - seen), sorted(seen - set(names))
    raise EvaluationError(
        f"The records do not hold the images that the data set lists: {len(missing)} missing "
        f"{missing[:3]}, {len(extra)} unknown {extra[:3]}. Convert the data set again."
    )


def _reason(error: tf.errors.OpError) -> str:
    """Keeps the sentence of a TensorFlow error, not the listing of the graph after it."""
    lines = [line.strip() for line in str(error.message).splitlines() if line.strip()]
    said = [line for line in lines if "Received:" in line or "assertion failed" in line]
    return (said or lines or [type(error).__name__])[0]


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
