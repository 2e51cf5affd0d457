"""What a finished run hands over: its numbers, an exported network, and examples."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from c3tf.config import Config
from c3tf.data import manifest as manifests
from c3tf.data.record import decode_name
from c3tf.data.validation import val_dataset
from c3tf.evaluation.result import EvaluationResult
from c3tf.inference.networks import predictor
from c3tf.io import files, json_files
from c3tf.io.run_files import RESULTS, SAVED_MODEL
from c3tf.labels import LabelMap
from c3tf.runs import journal, run_dir, setup
from c3tf.serving import model_card, saved_model
from c3tf.visualization import examples

# Validation images that are kept with what the networks make of them.
_EXAMPLES = 6


@dataclasses.dataclass(frozen=True)
class RunResult:
    """What a finished run has produced.

    Attributes:
        student: evaluation of the student after the last step.
        teacher: the teacher's; None for the supervised baseline.
        saved_model: path of the exported SavedModel.
        label_map: the classes.
    """

    student: EvaluationResult
    teacher: EvaluationResult | None
    saved_model: str
    label_map: LabelMap


def write(
    output: str,
    networks: Mapping[str, keras.Model],
    evaluations: Mapping[str, EvaluationResult],
    label_map: LabelMap,
    *,
    data_dir: str,
    exported: str,
    source: dict[str, Any],
    thresholds: np.ndarray | None = None,
) -> RunResult:
    """Writes the SavedModel, the examples and, last of all, `results.json`.

    Args:
        output: the run directory.
        networks: the student, and the teacher if there is one.
        evaluations: of these networks after the last step.
        label_map: their classes.
        data_dir: the data set they were evaluated on.
        exported: which of them becomes the SavedModel.
        source: facts about the run, for the model card.
        thresholds: `(C,)` DCRS thresholds; None for a run without a teacher.

    Returns:
        What was produced.

    Raises:
        StorageError: something cannot be written.
    """
    written = {name: result.to_json() for name, result in evaluations.items()}
    network, target = networks[exported], os.path.join(output, SAVED_MODEL)
    with journal.writing(output, "All checkpoints are whole."):
        path = saved_model.save(
            network,
            label_map,
            target,
            source=source,
            metrics=model_card.measured(written[exported]),
            overwrite=True,
            thresholds=thresholds,
        )
        total = evaluations[exported].images
        _write_examples(networks, label_map, data_dir, total, output)
        json_files.write(os.path.join(output, RESULTS), written)
    return RunResult(
        student=evaluations["student"],
        teacher=evaluations.get("teacher"),
        saved_model=str(path),
        label_map=label_map,
    )


def read(config: Config) -> RunResult | None:
    """Reads the results of a run that is finished.

    It is when all that its end writes is there, whole, and made by this configuration after its
    last step. Checkpoints are not asked for: nothing is left to be made of them.

    Args:
        config: the run's configuration.

    Returns:
        What the run has produced; None where something is missing, which `Run` makes.

    Raises:
        DataError: the data set is there and cannot be used.
    """
    output, training = config.training.output, config.training
    now = _identity(config)
    try:
        evaluations = _evaluations(os.path.join(output, RESULTS))
        exported = Path(output, SAVED_MODEL)
        card = model_card.read(exported)
        before = {"config": card["configuration"], **card["data"]}
        facts = [
            saved_model.is_saved_model(exported),
            card["source"]["weights"] == training.export_weights,
            not run_dir.differences(before, now),
            examples.read(output) is not None,
            *(result.protocol.get("step") == training.steps for result in evaluations.values()),
            *(
                os.path.isfile(run_dir.evaluation_path(output, training.steps, name))
                for name in evaluations
            ),
        ]
        found = RunResult(
            student=evaluations["student"],
            teacher=evaluations.get("teacher"),
            saved_model=str(exported),
            label_map=evaluations["student"].label_map,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # Missing or damaged, by the names that readers have for it.
        return None
    return found if all(facts) else None


def _write_examples(
    networks: Mapping[str, keras.Model],
    label_map: LabelMap,
    data_dir: str,
    total: int,
    output: str,
) -> None:
    """Writes some of the `total` validation images, evenly spaced, with what networks predict."""
    predictors = {name: predictor(network) for name, network in networks.items()}
    count = min(_EXAMPLES, total)
    chosen = {i * total // count for i in range(count)}
    found = []
    for index, held in enumerate(val_dataset(data_dir)):
        if index not in chosen:
            continue
        image, label = held["image"], held["label"]
        size = tf.shape(label)[1:3]
        predictions = {name: p(image, size)[0].numpy() for name, p in predictors.items()}
        name = decode_name(held["name"][0].numpy())
        found.append(
            examples.Example(name, image[0].numpy(), label[0, ..., 0].numpy(), predictions)
        )
    examples.write(output, found, label_map)


def _identity(config: Config) -> dict[str, Any]:
    """Describes the run for `run_dir.differences`, with its data set where that is still there."""
    facts, data = {"config": config.to_dict()}, config.data.data
    if not (data and files.exists(files.join(data, manifests.FILE_NAME))):
        return facts
    manifest = manifests.load(data)
    split = setup.open_split(manifest, config)
    return {**facts, "split": split.hash, "data": manifest.digest()}


def _evaluations(path: str) -> dict[str, EvaluationResult]:
    held = json_files.read(path)
    return {name: EvaluationResult.from_json(data) for name, data in held.items()}
