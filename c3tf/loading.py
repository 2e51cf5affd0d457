"""Opens what `--model` may name: a run's folder, a checkpoint, or a SavedModel."""

import dataclasses
import os
from typing import Any

import numpy as np

from c3tf import inference, serving
from c3tf.errors import UserError
from c3tf.inference import Predictor, Probabilities
from c3tf.labels import LabelMap

WEIGHTS = ("student", "teacher")


@dataclasses.dataclass(frozen=True)
class OpenedModel:
    """A network ready to predict.

    Attributes:
        predict: its class maps at any size.
        probabilities: its softmax at the images' size.
        label_map: its classes.
        source: where it comes from, plain data to be stated in results.
        thresholds: `(C,)` DCRS thresholds; None for a SavedModel, and for a checkpoint without
            a teacher.
    """

    predict: Predictor
    probabilities: Probabilities
    label_map: LabelMap
    source: dict[str, Any]
    thresholds: np.ndarray | None = None


def open_model(path: str | os.PathLike, weights: str | None = None) -> OpenedModel:
    """Opens a run's folder, a checkpoint or a SavedModel.

    Args:
        path: what to open.
        weights: one of `WEIGHTS`, for runs and checkpoints only; the student when absent.

    Raises:
        UserError: there is nothing at `path`, it cannot be read, it was exported in other formats
            alone, or `weights` is named for a SavedModel, which holds one network.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise UserError(f"There is no model at {path}.")
    if serving.is_saved_model(path):
        if weights is not None:
            raise UserError(
                f"`--weights` chooses within a checkpoint, but {path} is a SavedModel, which "
                f"holds one network. Received: --weights={weights}"
            )
        served = serving.load(path)
        source = {"model": path, "kind": "saved_model", "exported_from": served.card["source"]}
        return OpenedModel(served.predict, served.probabilities, served.label_map, source)
    if os.path.isfile(os.path.join(path, serving.MODEL_CARD_FILE)):
        raise UserError(
            f"{path} was exported without a SavedModel. Export it again with "
            f"--format={serving.SAVED_MODEL}, or name the run."
        )
    # Imported here because a SavedModel must do without what networks are built from.
    from c3tf.training import checkpoint

    weights = weights or WEIGHTS[0]
    loaded = checkpoint.load_network(path, weights=weights)
    source = {"model": path, "kind": "checkpoint", "weights": weights, "step": loaded.step}
    return OpenedModel(
        inference.predictor(loaded.model),
        inference.probabilities(loaded.model),
        loaded.label_map,
        source,
        loaded.thresholds,
    )
