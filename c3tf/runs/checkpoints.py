"""Checkpoints: everything a run needs to go on, or to be used, in one file.

A checkpoint holds one array per variable and facts about the run; `checkpoint_file` says how it
is stored.
"""

import dataclasses
import os
import shutil
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from absl import logging

from c3tf.config import Config, environment
from c3tf.io import files, run_files
from c3tf.labels import LabelMap
from c3tf.nets import description
from c3tf.runs import journal
from c3tf.runs.checkpoint_file import CheckpointError, Contents, read, write
from c3tf.runs.nonfinite import NonFiniteError
from c3tf.training import precision
from c3tf.training.optimizer import steps_done
from c3tf.versions import versions

# Kinds of NumPy's that weights and counts are stored in.
_NUMBERS = "biuf"


@dataclasses.dataclass(frozen=True)
class LoadedNetwork:
    """A network restored from a checkpoint.

    Attributes:
        model: the network, see `c3tf.nets.deeplab.build`.
        label_map: its classes.
        step: training steps it has seen.
        config: the run's configuration, as `Config.to_dict` gives it.
        thresholds: `(C,)` DCRS thresholds; None for a run without a teacher.
        split: hash of the labeled split; empty when the checkpoint does not say.
        sha256: of the checkpoint's file.
        image_height: rows of most images that it was trained on; None where that is not known.
        path: the checkpoint's file.
    """

    model: keras.Model
    label_map: LabelMap
    step: int
    config: dict[str, Any]
    thresholds: np.ndarray | None
    split: str = ""
    sha256: str = ""
    image_height: int | None = None
    path: str = ""


class CheckpointStore:
    """Writes and finds the checkpoints of one run."""

    def __init__(self, run_dir: str, keep: int) -> None:
        """Opens the store of a run directory, which keeps the `keep` newest beside the best."""
        self.folder = os.path.join(run_dir, run_files.CHECKPOINTS)
        self._keep = keep

    def steps(self) -> list[int]:
        """Returns the steps of all checkpoints, oldest first."""
        if not os.path.isdir(self.folder):
            return []
        steps = map(run_files.checkpoint_step, os.listdir(self.folder))
        return sorted(step for step in steps if step is not None)

    def path(self, step: int) -> str:
        """Returns the path of the checkpoint of a step."""
        return os.path.join(self.folder, run_files.checkpoint(step))

    def save(self, model: keras.Model, facts: dict[str, Any]) -> str:
        """Writes a checkpoint of the model at its current step and drops the oldest.

        Args:
            model: a `SemiSupervisedTrainer` with its optimizer.
            facts: JSON data to store with it.

        Returns:
            The path.

        Raises:
            NonFiniteError: a variable is not finite; nothing is written.
            StorageError: it cannot be written; those before it are untouched.
        """
        step = steps_done(model.optimizer)
        path = self.path(step)
        arrays = {name: _to_numpy(variable) for name, variable in _variables(model).items()}
        for name, array in arrays.items():
            if not np.all(np.isfinite(array)):
                raise NonFiniteError(f"After step {step} {name} is not finite.", step, {})
        with journal.writing(path, self._kept()):
            write(path, arrays, {**facts, "step": step})
            for other in self._superseded(step):
                os.remove(self.path(other))
        return path

    def _superseded(self, step: int) -> list[int]:
        """Returns the steps whose checkpoints a new one makes needless."""
        steps = self.steps()
        # A later one was damaged, or this step would not have been made again.
        later = [other for other in steps if other > step]
        return [*steps[: len(steps) - len(later)][: -self._keep], *later]

    def mark_best(self, path: str) -> None:
        """Keeps a checkpoint as the best one, whatever becomes of the newest ones."""
        best = os.path.join(self.folder, run_files.BEST_CHECKPOINT)
        with (
            journal.writing(best, self._kept()),
            open(path, "rb") as source,
            files.whole(best) as target,
        ):
            shutil.copyfileobj(source, target)

    def _kept(self) -> str:
        steps = self.steps()
        return f"The checkpoints up to step {steps[-1]} are whole." if steps else ""

    def restore(self, model: keras.Model) -> dict[str, Any] | None:
        """Restores the newest checkpoint into a model; a damaged one is passed over.

        Returns:
            The facts stored with it; None when there is no checkpoint.

        Raises:
            CheckpointError: all are damaged, or the newest readable one does not fit the model.
        """
        facts, arrays = self._fitting(model)
        if facts is not None:
            variables = _variables(model)
            if not (facts["has_teacher"] and model.moves_thresholds):
                # No step has moved them: they are the configuration's, which may be another now.
                variables.pop("thresholds", None)
            for name, variable in variables.items():
                variable.assign(arrays[name])
        return facts

    def check(self, model: keras.Model) -> dict[str, Any] | None:
        """Does as `restore`, and leaves the model as it is."""
        return self._fitting(model)[0]

    def _fitting(self, model: keras.Model) -> tuple[dict[str, Any] | None, dict[str, np.ndarray]]:
        """Reads facts and arrays of the newest checkpoint, which must fit; nothing without one."""
        found = self.newest_readable()
        if found is None:
            return None, {}
        path, (facts, arrays, _) = found
        _check_fit(path, arrays, {name: tuple(v.shape) for name, v in _variables(model).items()})
        _check_same_constants(path, facts["network"], model.student)
        return facts, arrays

    def newest_readable(self) -> tuple[str, Contents] | None:
        """Reads the newest checkpoint that is whole, warning of damaged ones.

        Returns:
            Its path and contents; None where there is no checkpoint at all.

        Raises:
            CheckpointError: all are damaged.
        """
        damage = None
        for step in reversed(self.steps()):
            try:
                return self.path(step), read(self.path(step))
            except CheckpointError as error:
                damage = error
                logging.warning("%s. The checkpoint before it is tried.", str(error).rstrip("."))
        if damage:
            raise damage
        return None


def describe(model: keras.Model, config: Config, label_map: LabelMap) -> dict[str, Any]:
    """Returns what a checkpoint says of its run beside the arrays.

    Args:
        model: a `SemiSupervisedTrainer` with its optimizer.
        config: the run's configuration.
        label_map: its classes.

    Returns:
        JSON data: configuration, classes, network, where schedule and data stand, versions.
    """
    size, step = config.labeled_batch_size, steps_done(model.optimizer)
    return {
        "config": config.to_dict(),
        "label_map": label_map.to_json(),
        "network": precision.full_precision(model.student.to_json()),
        "has_teacher": model.semi_supervised and model.teacher is not None,
        "learning_rate": float(model.optimizer.learning_rate),
        "position": {
            "labeled": step * size,
            "unlabeled": max(step - config.first_semi_step, 0) * size,
        },
        "versions": versions(),
    }


def find(path: str) -> str:
    """Returns the checkpoint file that a path means: itself, or the newest one of a run.

    Raises:
        CheckpointError: there is none.
    """
    if os.path.isfile(path):
        return path
    store = CheckpointStore(path, keep=1)
    if steps := store.steps():
        return store.path(steps[-1])
    raise CheckpointError(
        f"No checkpoint at {path!r}: it must be a run directory with {run_files.CHECKPOINTS}/step-*"
        f"{run_files.CHECKPOINT_SUFFIX}, or one of these files."
    )


def load_network(path: str, weights: str = "student") -> LoadedNetwork:
    """Builds the network of a run and loads its weights from a checkpoint.

    Args:
        path: a run directory (its newest checkpoint) or a checkpoint file.
        weights: `"student"` or `"teacher"`.

    Returns:
        The network and what is known about it.

    Raises:
        CheckpointError: there is no such checkpoint, it is damaged, or it holds no teacher.
    """
    if weights not in ("student", "teacher"):
        raise CheckpointError(
            f"`weights` must be 'student' or 'teacher'. Received: weights={weights!r}"
        )
    environment.settle()
    path, (facts, arrays, sha256) = _open(path)
    if weights == "teacher" and not facts["has_teacher"]:
        raise CheckpointError(
            f"{path} holds no teacher: it comes from the supervised phase or from "
            "a method without one. Use the student."
        )
    label_map = LabelMap.from_json(facts["label_map"])
    # Layers are restored from their own description, because what they need around the weights
    # (input scaling, stride placement) belongs to the weights the run began with.
    try:
        model = description.build(facts["network"], sum(array.size for array in arrays.values()))
    except description.DescriptionError as error:
        raise CheckpointError(f"{path}: {error}.") from error
    stored = _only(arrays, f"{weights}/")
    variables = {f"{weights}/{v.path}": v for v in model.weights}
    _check_fit(path, stored, {name: tuple(v.shape) for name, v in variables.items()})
    for name, variable in variables.items():
        variable.assign(stored[name])
    thresholds = None
    if facts["has_teacher"]:
        _check_fit(path, _only(arrays, "thresholds"), {"thresholds": (label_map.num_classes,)})
        thresholds = arrays["thresholds"]
    return LoadedNetwork(
        model,
        label_map,
        facts["step"],
        facts["config"],
        thresholds,
        facts.get("split", ""),
        sha256,
        facts.get("image_height"),
        path,
    )


def _open(path: str) -> tuple[str, Contents]:
    """Reads a checkpoint file, or the newest one of a run that is whole."""
    if os.path.isfile(path):
        return path, read(path)
    return CheckpointStore(path, keep=1).newest_readable() or (find(path), read(find(path)))


def _variables(model: keras.Model) -> dict[str, Any]:
    """Names every variable of a `SemiSupervisedTrainer` and its optimizer."""
    named = {f"student/{v.path}": v for v in model.student.weights}
    if model.teacher is not None:
        named |= {f"teacher/{v.path}": v for v in model.teacher.weights}
        named["thresholds"] = model.thresholds
    # An optimizer's own name counts how many the process has made before it.
    own = f"{model.optimizer.name}/"
    named |= {f"optimizer/{v.path.removeprefix(own)}": v for v in model.optimizer.variables}
    return named


def _only(arrays: dict[str, np.ndarray], prefix: str) -> dict[str, np.ndarray]:
    return {name: array for name, array in arrays.items() if name.startswith(prefix)}


def _check_same_constants(path: str, described: str, network: keras.Model) -> None:
    """Refuses trained weights for a network that other initial weights have made otherwise."""
    try:
        same = description.constants(described) == description.constants(network.to_json())
    except description.DescriptionError as error:
        raise CheckpointError(f"{path}: {error}.") from error
    if not same:
        raise CheckpointError(
            f"{path} does not fit: its network scales its input, or normalises, otherwise than "
            "that of these `--backbone_weights`. Go on with those that the run began with, or with "
            "others of their kind."
        )


def _to_numpy(variable: Any) -> np.ndarray:
    return tf.convert_to_tensor(variable).numpy()


def _check_fit(
    path: str, arrays: dict[str, np.ndarray], shapes: dict[str, tuple[int, ...]]
) -> None:
    """Refuses a checkpoint of another network, naming the first difference."""
    for name, shape in shapes.items():
        if name not in arrays:
            raise CheckpointError(f"{path} does not fit: it lacks {name}.")
        if arrays[name].shape != shape:
            raise CheckpointError(
                f"{path} does not fit: {name} has shape {arrays[name].shape}, expected {shape}."
            )
        if arrays[name].dtype.kind not in _NUMBERS:
            raise CheckpointError(f"{path} does not fit: {name} holds {arrays[name].dtype}.")
    if extra := sorted(set(arrays) - set(shapes)):
        raise CheckpointError(f"{path} does not fit: it holds {extra[0]}, which is not expected.")
