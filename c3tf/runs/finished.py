"""Recognises a run that has nothing left to do."""

import json
import os
from pathlib import Path
from typing import Any

from c3tf.config import Config
from c3tf.data import manifest as manifests
from c3tf.evaluation.result import EvaluationResult
from c3tf.io import files
from c3tf.runs import results, run_dir, setup
from c3tf.serving import model_card, saved_model
from c3tf.visualization import examples


def read(config: Config) -> results.RunResult | None:
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
        evaluations = _evaluations(os.path.join(output, results.FILE))
        exported = Path(output, results.SAVED_MODEL)
        card = model_card.read(exported)
        before = {"config": card["configuration"], **card["data"]}
        facts = [
            saved_model.is_saved_model(exported),
            card["source"]["weights"] == training.export_weights,
            not run_dir.differences(before, now),
            examples.read(output) is not None,
            *(result.protocol["step"] == training.steps for result in evaluations.values()),
            *(
                os.path.isfile(run_dir.evaluation_path(output, training.steps, name))
                for name in evaluations
            ),
        ]
        found = results.RunResult(
            student=evaluations["student"],
            teacher=evaluations.get("teacher"),
            saved_model=str(exported),
            label_map=evaluations["student"].label_map,
        )
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # Missing or damaged, by the names that readers have for it.
        return None
    return found if all(facts) else None


def _identity(config: Config) -> dict[str, Any]:
    """Describes the run for `run_dir.differences`, with its data set where that is still there."""
    facts, data = {"config": config.to_dict()}, config.data.data
    if not (data and files.exists(files.join(data, manifests.FILE_NAME))):
        return facts
    manifest = manifests.load(data)
    split = setup.open_split(manifest, config)
    return {**facts, "split": split.hash, "data": manifest.digest()}


def _evaluations(path: str) -> dict[str, EvaluationResult]:
    held = json.loads(files.read_text(path))
    return {name: EvaluationResult.from_json(data) for name, data in held.items()}
