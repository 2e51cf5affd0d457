"""Networks ready to predict: opened from a run's folder, a checkpoint or a SavedModel.

Above `runs` and `serving`, because it knows both.
"""

import dataclasses
import os
from typing import Any

import numpy as np

from c3tf.errors import UserError
from c3tf.inference import networks
from c3tf.inference.networks import Predictor, Probabilities
from c3tf.io import run_files
from c3tf.labels import LabelMap
from c3tf.serving import saved_model

WEIGHTS = ("student", "teacher")


@dataclasses.dataclass(frozen=True)
class InferenceModel:
    """A network with its classes, ready to predict.

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


def load(path: str | os.PathLike, weights: str | None = None) -> InferenceModel:
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
    if saved_model.is_saved_model(path):
        if weights is not None:
            raise UserError(
                f"`--weights` chooses within a checkpoint, but {path} is a SavedModel, which "
                f"holds one network. Received: --weights={weights}"
            )
        served = saved_model.load(path)
        source = {"model": path, "kind": "saved_model", "exported_from": served.card["source"]}
        return InferenceModel(served.predict, served.probabilities, served.label_map, source)
    if os.path.isfile(os.path.join(path, saved_model.MODEL_CARD_FILE)):
        raise UserError(
            f"{path} was exported without a SavedModel. Export it again with "
            f"--format={saved_model.SAVED_MODEL}, or name the run."
        )
    # Imported here because a SavedModel must do without what networks are built from.
    from c3tf.runs import checkpoints

    check_run(path, "--model", _or_saved_model(path))
    weights = weights or WEIGHTS[0]
    loaded = checkpoints.load_network(path, weights=weights)
    source = {"model": path, "kind": "checkpoint", "weights": weights, "step": loaded.step}
    return InferenceModel(
        networks.predictor(loaded.model),
        networks.probabilities(loaded.model),
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
    from c3tf.runs import run_dir

    if os.path.isfile(path) and not path.endswith(run_files.CHECKPOINT_SUFFIX):
        raise UserError(
            f"`{flag}` must name a run's folder or a checkpoint (*{run_files.CHECKPOINT_SUFFIX})"
            f"{otherwise}. Received: {flag}={path}"
        )
    runs = run_dir.below(path)
    if runs and not os.path.isdir(os.path.join(path, run_files.CHECKPOINTS)):
        raise UserError(
            f"`{flag}` must name one run, and {path} holds {len(runs)}: give "
            f"{' or '.join(f'{flag}={run}' for run in runs)}"
        )


def _or_saved_model(path: str) -> str:
    folder = os.path.dirname(path) or os.curdir
    advice = "`python -m c3tf.export --model=RUN --output=FOLDER` makes one of a run"
    if saved_model.is_saved_model(folder):
        advice = f"give --model={folder}"
    return f", or the folder of a SavedModel ({advice})"
