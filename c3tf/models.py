"""Opens what runs and exports hold, and exports what runs hold.

Above `runs` and `serving`, because it knows both.
"""

import dataclasses
import os
from typing import Any

import numpy as np
import tensorflow as tf

from c3tf.errors import UserError
from c3tf.evaluation.options import EvaluationOptions
from c3tf.evaluation.result import EvaluationResult
from c3tf.evaluation.split import evaluate_split
from c3tf.inference import networks, test_time
from c3tf.inference.model import InferenceModel
from c3tf.inference.networks import Predictor
from c3tf.inference.options import WEIGHTS, InferenceOptions
from c3tf.io import json_files, leftovers, run_files, writable
from c3tf.labels import LabelMap
from c3tf.serving import model_card, saved_model, without_card
from c3tf.serving.options import SAVED_MODEL, ExportOptions


class TrainedModel:
    """A trained network: predicts arrays, and is measured on data sets.

    Attributes:
        path: where it was opened from.
        label_map: its classes: `class_names`, `colors`, `num_classes`.
        source: what it is and where it comes from, plain data.
        image_height: rows of most images that it was trained on, and does best on; None where
            that is not known.
    """

    def __init__(self, path: str | os.PathLike, weights: str | None = None) -> None:
        """Opens a model, see `load`."""
        self.path, self._weights = os.fspath(path), weights
        self._opened = open_model(self.path, weights)
        self._functions: dict[tuple[InferenceOptions, bool], Predictor] = {}
        self.label_map, self.source = self._opened.label_map, self._opened.source
        self.image_height = self._opened.image_height

    def __repr__(self) -> str:
        return f"<TrainedModel {self.path}: {', '.join(self.label_map.class_names)}>"

    def predict(
        self,
        images: np.ndarray,
        probabilities: bool = False,
        options: InferenceOptions | None = None,
    ) -> np.ndarray:
        """Predicts the class of every pixel.

        Args:
            images: RGB uint8, one image `(H, W, 3)` or several of one size `(B, H, W, 3)`; a
                size of any parity.
            probabilities: gives the softmax instead of the class.
            options: windows and test-time augmentation; the image at once when absent.

        Returns:
            Class maps uint8 `(H, W)` or `(B, H, W)`, indices of `label_map.class_names`; or
            probabilities float32 `(H, W, C)` or `(B, H, W, C)`.

        Raises:
            UserError: `images` is something else.
        """
        images, options = _checked_images(images), checked_options(options, InferenceOptions)
        batch = images if images.ndim == 4 else images[np.newaxis]
        size = np.array(batch.shape[1:3], np.int32)
        compute = self._function(options or InferenceOptions(), probabilities)
        found = compute(tf.constant(batch), tf.constant(size)).numpy()
        return found if images.ndim == 4 else found[0]

    def evaluate(
        self,
        data: str | os.PathLike,
        split: str = "val",
        options: EvaluationOptions | None = None,
    ) -> EvaluationResult:
        """Measures the network on a labeled split.

        Args:
            data: folder of a data set that a converter made.
            split: one whose images all have labels.
            options: how to measure.

        Returns:
            Counts `(C, C)`, IoU `(C,)`, `mean_iou()` and `table()`.

        Raises:
            UserError: data, split or options cannot be used, or the classes are others.
        """
        options = checked_options(options, EvaluationOptions)
        return evaluate_split(
            lambda: dataclasses.replace(
                # Not what a run that goes on has written since.
                open_model(self._opened.path, self._weights),
                source=self.source,
            ),
            os.fspath(data),
            split,
            options,
        )

    def _function(self, options: InferenceOptions, probabilities: bool) -> Predictor:
        """Returns the compiled function of some options, which is traced once."""
        key = options, probabilities
        if key not in self._functions:
            self._functions[key] = (
                test_time.compiled(self._opened.scorer(options))
                if probabilities
                else self._opened.predictor(options)
            )
        return self._functions[key]


def checked_options(options: Any, kind: type) -> Any:
    """Returns options of a kind or None, or refuses them."""
    if options is not None and not isinstance(options, kind):
        raise UserError(
            f"`options` must be a {kind.__module__}.{kind.__name__}. Received: {options!r}"
        )
    return options


def _checked_images(images: Any) -> np.ndarray:
    """Returns images as an array, or refuses them."""
    try:
        array = np.asarray(images)
    except ValueError as error:
        raise UserError(
            f"`images` must be of one size; predict others one by one: {error}"
        ) from error
    shape = array.shape
    if array.dtype != np.uint8 or array.ndim not in (3, 4) or shape[-1] != 3 or 0 in shape:
        raise UserError(
            "`images` must be RGB, uint8 (H, W, 3) or (B, H, W, 3), at least one. Received: "
            f"{array.dtype} {array.shape}"
        )
    return array


def load(path: str | os.PathLike, weights: str | None = None) -> TrainedModel:
    """Opens a run's folder, a checkpoint or a SavedModel, ready to predict.

    Example:
        ```python
        model = c3tf.load("demo/run/c3")
        class_map = model.predict(np.asarray(PIL.Image.open("street.jpg").convert("RGB")))
        ```

    Args:
        path: what to open.
        weights: `"student"` or `"teacher"`, for runs and checkpoints only; the student when absent.

    Raises:
        UserError: as `open_model` says.
    """
    return TrainedModel(path, weights)


def open_model(
    path: str | os.PathLike, weights: str | None = None, label_map: str | None = None
) -> InferenceModel:
    """Opens a run's folder, a checkpoint or a SavedModel.

    Args:
        path: what to open.
        weights: one of `WEIGHTS`, for runs and checkpoints only; the student when absent.
        label_map: file that says what the classes are, for a SavedModel without a card only.

    Raises:
        UserError: there is nothing at `path`, it is something else, it holds several runs, it
            cannot be read, it was exported in other formats alone, `weights` is named for a
            SavedModel, which holds one network, or `label_map` for what says so itself.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        held = leftovers.earlier(path)
        more = f" An export was killed and left the earlier one in {held}." if held else ""
        raise UserError(f"There is no model at {path}.{more}")
    if saved_model.is_saved_model(path):
        if weights is not None:
            raise UserError(
                f"`--weights` chooses within a checkpoint, but {path} is a SavedModel, which "
                f"holds one network. Received: --weights={weights}"
            )
        return _open_saved_model(path, label_map)
    if label_map is not None:
        raise UserError(
            "`--label_map` is for a SavedModel without a model card. "
            f"Received: --label_map={label_map}, and {path} is no SavedModel"
        )
    if os.path.isfile(os.path.join(path, saved_model.MODEL_CARD_FILE)):
        raise UserError(
            f"{path} was exported without a SavedModel. Export it again with "
            f"--format={SAVED_MODEL}, or name the run."
        )
    # Imported here because a SavedModel must do without what networks are built from.
    from c3tf.runs import checkpoints

    path = run_at(path, "--model", _or_saved_model(path))
    weights = weights or WEIGHTS[0]
    loaded = checkpoints.load_network(path, weights=weights)
    source = {
        "model": path,
        "kind": "checkpoint",
        "weights": weights,
        "step": loaded.step,
        "sha256": loaded.sha256,
    }
    return InferenceModel(
        networks.predictor(loaded.model),
        networks.probabilities(loaded.model),
        loaded.label_map,
        source,
        loaded.thresholds,
        loaded.image_height,
        loaded.path,
    )


def _open_saved_model(path: str, label_map: str | None) -> InferenceModel:
    if label_map is None:
        served = saved_model.load(path)
        facts = {
            "sha256": model_card.digest(served.card),
            "exported_from": served.card["source"],
        }
    else:
        served = without_card.load(path, label_map)
        facts = {"sha256": served.card["sha256"]}
    source = {"model": path, "kind": "saved_model", **facts}
    return InferenceModel(
        served.predict,
        served.probabilities,
        served.label_map,
        source,
        served.thresholds,
        model_card.image_height(served.card),
        path,
    )


def export(
    model: str,
    weights: str,
    output: str,
    overwrite: bool = False,
    options: ExportOptions | None = None,
    metrics: str | None = None,
) -> None:
    """Exports one network of a run.

    Args:
        model: folder of a run, or one checkpoint.
        weights: one of `WEIGHTS`.
        output: folder to make.
        overwrite: replaces an earlier export at `output`.
        options: formats and folding; a SavedModel with folding when absent.
        metrics: file that `c3tf.evaluate` wrote, for the model card; what the run measured of
            this network when absent.

    Raises:
        UserError: the run cannot be read, `metrics` are another network's, or `output` may not be
            written.
    """
    from c3tf.runs import checkpoints, run_dir

    options = checked_options(options, ExportOptions)
    saved_model.check_target(output, overwrite)
    writable.check_folder(output, whole=True)
    if saved_model.is_saved_model(model):
        raise UserError(
            "`--model` must name a run's folder or a checkpoint: an export is made of one, not of "
            f"another export. Received: --model={model}"
        )
    model = run_at(model, "--model")
    result = json_files.read(metrics) if metrics else None
    loaded = checkpoints.load_network(model, weights=weights)
    folder = os.path.abspath(model)
    if not os.path.isdir(folder):
        folder = os.path.dirname(os.path.dirname(folder))
    if result is not None:
        facts = {"weights": weights, "step": loaded.step, "sha256": loaded.sha256}
        _check_result(metrics, result, loaded.label_map, facts)
    else:
        result = _read_if_there(run_dir.evaluation_path(folder, loaded.step, weights))
    facts = _read_if_there(os.path.join(folder, run_files.CONFIG)) or {}
    source = {
        "checkpoint": os.path.abspath(model),
        "weights": weights,
        "step": loaded.step,
        "config": loaded.config,
        "split": loaded.split,
        "image_height": loaded.image_height,
        "data": facts.get("data", ""),
    }
    saved_model.save(
        loaded.model,
        loaded.label_map,
        output,
        source=source,
        metrics=model_card.measured(result) if result else None,
        overwrite=overwrite,
        options=options,
        thresholds=loaded.thresholds,
    )


def run_at(path: str, flag: str, otherwise: str = "") -> str:
    """Finds the run that a user named; refuses what is none, and says what to name instead.

    Args:
        path: what the user named; whether it exists is not checked.
        flag: what the user named it with.
        otherwise: what else the flag takes.

    Returns:
        `path`, or the one run in it.

    Raises:
        UserError: `path` is another kind of file, or the folder that several runs lie in.
    """
    from c3tf.runs import run_dir

    if os.path.isfile(path) and not path.endswith(run_files.CHECKPOINT_SUFFIX):
        raise UserError(
            f"`{flag}` must name a run's folder or a checkpoint (*{run_files.CHECKPOINT_SUFFIX})"
            f"{otherwise}. Received: {flag}={path}"
        )
    runs = run_dir.below(path)
    if not runs or os.path.isdir(os.path.join(path, run_files.CHECKPOINTS)):
        return path
    if len(runs) > 1:
        raise UserError(
            f"`{flag}` must name one run, and {path} holds {len(runs)}: give "
            f"{' or '.join(f'{flag}={run}' for run in runs)}"
        )
    return runs[0]


def _or_saved_model(path: str) -> str:
    folder = os.path.dirname(path) or os.curdir
    advice = "`python -m c3tf.export --model=RUN --output=FOLDER` makes one of a run"
    if saved_model.is_saved_model(folder):
        advice = f"give --model={folder}"
    return f", or the folder of a SavedModel ({advice})"


def _read_if_there(path: str) -> dict[str, Any] | None:
    return json_files.read(path) if os.path.exists(path) else None


def _check_result(
    path: str, result: dict[str, Any], label_map: LabelMap, facts: dict[str, Any]
) -> None:
    """Refuses a result that was measured of another network, as far as it says so."""
    protocol = model_card.measured(result)["protocol"]
    names = result.get("label_map", {}).get("class_names")
    if names != list(label_map.class_names):
        raise UserError(f"`--metrics` must be of the exported network's classes. Received: {path}")
    for name, own in facts.items():
        if protocol.get(name, own) != own:
            raise UserError(
                f"`--metrics` must be measured with {name} {own}. Received: {path}, measured with "
                f"{name} {protocol[name]}"
            )
