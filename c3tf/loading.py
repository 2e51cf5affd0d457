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
        UserError: there is nothing at `path`, it is something else, it holds several runs, it
            cannot be read, it was exported in other formats alone, or `weights` is named for a
            SavedModel, which holds one network.
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

    check_run(path, "--model", _or_saved_model(path))
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


def check_run(path: str, flag: str, otherwise: str = "") -> None:
    """Refuses what is neither a run's folder nor a checkpoint, and says what to name instead.

    Args:
        path: what the user named; whether it exists is not checked.
        flag: what the user named it with.
        otherwise: what else the flag takes.

    Raises:
        UserError: `path` is another kind of file, or the folder that runs lie in.
    """
    from c3tf.training import checkpoint, run_dir

    if os.path.isfile(path) and not path.endswith(checkpoint.SUFFIX):
        raise UserError(
            f"`{flag}` must name a run's folder or a checkpoint (*{checkpoint.SUFFIX}){otherwise}. "
            f"Received: {flag}={path}"
        )
    runs = run_dir.below(path)
    if runs and not os.path.isdir(os.path.join(path, checkpoint.FOLDER)):
        raise UserError(
            f"`{flag}` must name one run, and {path} holds {len(runs)}: give "
            f"{' or '.join(f'{flag}={run}' for run in runs)}"
        )


def _or_saved_model(path: str) -> str:
    folder = os.path.dirname(path) or os.curdir
    advice = "`python -m c3tf.export --run=RUN --output=FOLDER` makes one of a run"
    if serving.is_saved_model(folder):
        advice = f"give --model={folder}"
    return f", or the folder of a SavedModel ({advice})"
