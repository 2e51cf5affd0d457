"""Measures a network on a labeled split: every image once, in integer counts."""

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from c3tf.evaluation import steps
from c3tf.evaluation.result import EvaluationResult
from c3tf.evaluation.walk import EvaluationError, Step, Walk
from c3tf.inference import networks
from c3tf.inference.test_time import InferenceOptions
from c3tf.labels import LabelMap

__all__ = ["EvaluationError", "EvaluationResult", "Evaluator", "evaluate"]

# What was done to get from an image to the counts, unless something else is stated.
PROTOCOL = {**InferenceOptions().to_json(), "input_size": "record", "label_size": steps.ORIGINAL}

# Takes the names of a batch, its class maps and its labels, both (B, h, w) uint8.
Observer = Callable[[list[str], np.ndarray, np.ndarray], None]


class Evaluator:
    """Counts what one network gets right; compiled once, used as often as wanted."""

    def __init__(
        self,
        model: keras.Model | networks.Predictor | Sequence[Step],
        label_map: LabelMap,
        devices: Sequence[str | None] = (None,),
    ) -> None:
        """Prepares the compiled step.

        Args:
            model: a functional network with the output `"logits"`, whose later changes of
                weights are followed, a predictor (`inference.predictor`, `serving.load`), or
                one step of `c3tf.evaluation.steps` per device.
            label_map: the classes of the labels and of the network.
            devices: where the steps run, see `Walk`.
        """
        self._label_map = label_map
        if isinstance(model, keras.Model):
            model = networks.predictor(model)
        if callable(model):
            model = [steps.counts(model, label_map.num_classes)]
        self._walk = Walk(model, devices)

    def run(
        self,
        dataset: Iterable[dict[str, tf.Tensor]],
        *,
        names: Collection[str] | None = None,
        protocol: dict[str, Any] | None = None,
        progress: Callable[[int], None] | None = None,
        observe: Observer | None = None,
    ) -> EvaluationResult:
        """Evaluates every image of a data set once.

        Args:
            dataset: batches with `"image"` uint8 `(B, H, W, 3)`, `"label"` uint8
                `(B, h, w, 1)` (train ids or `IGNORE`) and `"name"` string `(B,)`.
            names: the names that must be seen, each once; any distinct ones when absent.
            protocol: facts to state in the result beside `PROTOCOL` (model, data, split).
            progress: called after every batch with the number of images so far.
            observe: called after every batch with what `Observer` says.

        Returns:
            The result over all images.

        Raises:
            EvaluationError: there is no image, an image comes twice or is missing, or a record
                cannot be read or counted; nothing is measured on a part of the data.
        """
        total: np.ndarray | None = None
        seen: set[str] = set()
        for batch_names, (counts, class_maps, labels) in self._walk.over(dataset):
            total = counts.numpy() if total is None else total + counts.numpy()
            for name in batch_names:
                if name in seen:
                    raise EvaluationError(f"Image {name!r} comes twice in the data set.")
                seen.add(name)
            if observe:
                observe(batch_names, class_maps.numpy(), labels.numpy())
            if progress:
                progress(len(seen))
        _check_names(seen, names)
        stated = {**PROTOCOL, **(protocol or {})}
        confident = total[1] if len(total) > 1 else None
        return EvaluationResult(total[0], self._label_map, len(seen), stated, confident)


def evaluate(
    model: keras.Model | networks.Predictor,
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
