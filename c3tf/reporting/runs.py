"""What training runs have written, as data for a report."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from c3tf.config import with_present_names
from c3tf.errors import UserError
from c3tf.evaluation.result import counts
from c3tf.io import json_files, run_files, schema
from c3tf.labels import LabelMap
from c3tf.runs import journal, run_dir
from c3tf.visualization import examples
from c3tf.visualization.examples import Example

_SHARE = schema.optional(schema.number(0, 1))
_EVALUATION = schema.record(
    {
        "metrics": schema.record(
            {
                "iou": schema.named(_SHARE),
                "mean_iou_cityscapes": _SHARE,
                "mean_iou_bdd100k": _SHARE,
                "frequency_weighted_iou": _SHARE,
                "pixel_accuracy": _SHARE,
            }
        ),
        "label_map": schema.thing,
        "confusion": schema.anything,
    }
)


class ReportError(UserError):
    """Something that should be reported on is no run, or is damaged."""


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """One evaluation of one network.

    Attributes:
        step: training steps that the network had seen.
        network: `student` or `teacher`.
        metrics: numbers by name; undefined ones are None.
        iou: IoU by class name; None where undefined.
        confusion: `(C, C)` counts, rows true, columns predicted.
        label_map: the classes.
    """

    step: int
    network: str
    metrics: dict[str, Any]
    iou: dict[str, float | None]
    confusion: np.ndarray
    label_map: LabelMap


@dataclasses.dataclass(frozen=True)
class RunData:
    """What one run has written.

    Attributes:
        name: what the report calls it.
        path: its directory.
        facts: `config.json`: configuration, split, data, versions.
        scalars: entries of `metrics.jsonl` in order.
        evaluations: in order of their steps, the student's first.
        events: entries of `events.jsonl`.
        examples: validation images with predictions; none in an unfinished run.
        sheet: path of a picture of predictions, if there is one.
    """

    name: str
    path: str
    facts: dict[str, Any]
    scalars: list[dict[str, Any]]
    evaluations: list[Evaluation]
    events: list[dict[str, Any]]
    examples: list[Example]
    sheet: str | None

    def last(self, network: str) -> Evaluation | None:
        """Returns a network's newest evaluation."""
        found = [e for e in self.evaluations if e.network == network]
        return found[-1] if found else None

    def curve(self, name: str) -> list[tuple[float, float]]:
        """Returns a scalar over the steps at which it was logged."""
        return [(e["step"], e[name]) for e in self.scalars if name in e]


def find(paths: Sequence[str]) -> list[str]:
    """Finds the run directories that paths mean: themselves, or the runs right below them.

    Raises:
        ReportError: there is no run at a path.
    """
    found = []
    for path in paths:
        path = os.path.normpath(path)
        itself = [path] if os.path.isfile(os.path.join(path, run_files.CONFIG)) else []
        runs = itself + run_dir.below(path)
        if not runs:
            raise ReportError(
                f"There is no run at {path!r}: a run directory, or one right above it, holds "
                f"{run_files.CONFIG}."
            )
        found += [run for run in runs if run not in found]
    return found


def load(path: str, name: str) -> RunData:
    """Reads one run.

    Args:
        path: its directory.
        name: what to call it.

    Raises:
        ReportError: a file is damaged.
    """
    config = os.path.join(path, run_files.CONFIG)
    text = "{path} is no run's configuration: {reason}."
    facts = json_files.read(config, check=run_dir.FACTS, error=ReportError, text=text)
    facts["config"] = with_present_names(facts["config"])
    scalars = [
        {name: value for name, value in entry.items() if _is_number(value)}
        for entry in journal.read(os.path.join(path, run_files.METRICS))
    ]
    shown = examples.read(path)
    sheets = [os.path.join(p, run_files.PREDICTIONS) for p in (path, os.path.dirname(path))]
    return RunData(
        name=name,
        path=path,
        facts=facts,
        scalars=scalars,
        evaluations=_evaluations(path),
        events=journal.read(os.path.join(path, run_files.EVENTS)),
        examples=shown[0] if shown else [],
        sheet=next(filter(os.path.isfile, sheets), None),
    )


def short_names(paths: Sequence[str]) -> list[str]:
    """Returns the shortest ends of paths that tell them apart."""
    parts = [os.path.abspath(path).split(os.sep) for path in paths]
    names: list[str] = []
    for count in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(words[-count:]) for words in parts]
        if len(set(names)) == len(names):
            break
    return names


def _evaluations(path: str) -> list[Evaluation]:
    folder = os.path.join(path, run_files.EVALUATIONS)
    names = sorted(os.listdir(folder)) if os.path.isdir(folder) else []
    found = []
    for name in names:
        if not (measured := run_files.evaluated(name)):
            continue
        file = os.path.join(folder, name)
        text = "{path} is no evaluation: {reason}."
        data = json_files.read(file, check=_EVALUATION, error=ReportError, text=text)
        try:
            label_map = LabelMap.from_json(data["label_map"])
            confusion = counts(data["confusion"], label_map)
        except ValueError as error:
            raise ReportError(text.format(path=file, reason=error)) from error
        metrics = data["metrics"]
        iou = metrics.pop("iou")
        found.append(Evaluation(*measured, metrics, iou, confusion, label_map))
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
