"""What a finished run hands over: its numbers, an exported network, and examples."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

import keras

from c3tf.evaluation.evaluator import EvaluationResult
from c3tf.io import json_files
from c3tf.labels import LabelMap
from c3tf.runs import storage
from c3tf.serving import model_card, saved_model
from c3tf.visualization import results_sheet

FILE = "results.json"
SAVED_MODEL = "saved_model"


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

    Returns:
        What was produced.

    Raises:
        StorageError: something cannot be written.
    """
    written = {name: result.to_json() for name, result in evaluations.items()}
    network, target = networks[exported], os.path.join(output, SAVED_MODEL)
    with storage.writing(output, "All checkpoints are whole."):
        path = saved_model.save(
            network,
            label_map,
            target,
            source=source,
            metrics=model_card.measured(written[exported]),
            overwrite=True,
        )
        total = evaluations[exported].images
        results_sheet.write_examples(networks, label_map, data_dir, total, output)
        json_files.write(os.path.join(output, FILE), written)
    return RunResult(
        student=evaluations["student"],
        teacher=evaluations.get("teacher"),
        saved_model=str(path),
        label_map=label_map,
    )
