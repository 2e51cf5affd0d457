"""What has come out of a table's runs: means, deviations and gains over its seeds."""

import contextlib
import dataclasses
import math
import os
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from c3tf.evaluation.result import EvaluationResult
from c3tf.io import json_files, run_files
from c3tf.runs import journal
from c3tf.runs.tables.plan import Job, Plan
from c3tf.runs.tables.table_file import CONFIDENT, STUDENT, TEACHER, Table

# What reading a result that is missing, damaged or of an older form raises.
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, AttributeError)


@dataclasses.dataclass(frozen=True)
class Cell:
    """The numbers of one cell.

    Attributes:
        values: mean IoU in percent, per seed; None of a run that is not finished.
        gain: mean over the seeds of which the baseline row is finished too; None without any.
        hours: training time of a run in the mean, evaluations left out; None where unknown.
        iou: IoU of every class in percent, means over the seeds that have one.
    """

    values: tuple[float | None, ...]
    gain: float | None
    hours: float | None
    iou: Mapping[str, float]

    @property
    def known(self) -> list[float]:
        """The values of finished runs."""
        return [value for value in self.values if value is not None]

    @property
    def mean(self) -> float | None:
        """The mean over the seeds."""
        return statistics.fmean(self.known) if self.known else None

    @property
    def deviation(self) -> float | None:
        """The standard deviation over the seeds, with n - 1; None of fewer than two."""
        return statistics.stdev(self.known) if len(self.known) > 1 else None


@dataclasses.dataclass(frozen=True)
class Grid:
    """A table's cells for one measure.

    Attributes:
        table: the table.
        measure: what they show.
        cells: by row and column.
    """

    table: Table
    measure: str
    cells: Mapping[tuple[str, str], Cell]

    @property
    def rows(self) -> list[str]:
        """The rows in order, those without this measure left out."""
        return [name for name in self.table.rows if any(name == row for row, _ in self.cells)]


def grids(plan: Plan, table: Table) -> list[Grid]:
    """Gathers what there is of a table, one grid per measure.

    Args:
        plan: the runs.
        table: one of its tables.
    """
    results = {job.name: measured(job) for job in plan.of(table)}
    hours = {job.name: training_hours(job) if results[job.name] else None for job in plan.of(table)}
    made = []
    for place, measure in enumerate(table.measures):
        # A row with a measure of its own stands in the first grid only.
        rows = [name for name, row in table.rows.items() if place == 0 or not row.measure]
        shown = {name: table.measure(name) if place == 0 else measure for name in rows}
        cells = {}
        for column in table.columns:
            base = _values(plan, table, table.baseline, column, results, shown)
            for row in rows:
                names = plan.cells[table.name, row, column]
                values = _values(plan, table, row, column, results, shown)
                cells[row, column] = Cell(
                    values=tuple(values),
                    gain=None if row == table.baseline else gain(values, base),
                    hours=_mean([hours[name] for name in names]),
                    iou=_classes([_shown(results[name], shown[row]) for name in names]),
                )
        made.append(Grid(table, measure, cells))
    return made


def gain(own: Sequence[float | None], base: Sequence[float | None]) -> float | None:
    """Averages the differences between a row and its baseline, seed by seed."""
    return _mean(
        [
            a - b if a is not None and b is not None else None
            for a, b in zip(own, base, strict=False)
        ]
    )


def measured(job: Job) -> dict[str, EvaluationResult]:
    """Reads what a finished run has measured after its last step, by measure.

    Returns:
        The evaluations; none of a run that is not finished.
    """
    results = os.path.join(job.folder, run_files.RESULTS)
    try:
        data = json_files.read(results)
        found = {name: _after_last_step(job, data[name]) for name in data}
    except _UNREADABLE:
        return {}
    if job.confident:
        with contextlib.suppress(*_UNREADABLE):
            held = _after_last_step(job, json_files.read(job.confident_file))
            found[CONFIDENT] = dataclasses.replace(held, confusion=_present(held.confident))
    return found


def is_finished(job: Job) -> bool:
    """Whether nothing is left to do for a run: trained, and measured in all ways."""
    found = measured(job)
    return STUDENT in found and (CONFIDENT in found or not job.confident)


def training_hours(job: Job) -> float | None:
    """Adds up the time of a run's steps, whichever processes made them, as far as it was logged."""
    entries = journal.read(os.path.join(job.folder, run_files.METRICS))
    total, counted, before = 0.0, 0, 0
    for entry in entries:
        steps, before = entry["step"] - before, entry["step"]
        if seconds := entry.get("seconds_per_step"):
            total, counted = total + steps * seconds, counted + steps
    # An interval of one step, the compiled one, has no speed: it counts as the others.
    return total / counted * before / 3600 if counted else None


def _after_last_step(job: Job, data: dict[str, Any]) -> EvaluationResult:
    """Reads an evaluation; raises ValueError where it was made after another step."""
    result = EvaluationResult.from_json(data)
    if result.protocol["step"] != job.config.training.steps:
        raise ValueError(f"measured after step {result.protocol['step']}")
    return result


def _present(confusion: np.ndarray | None) -> np.ndarray:
    if confusion is None:
        raise ValueError("nothing was measured of confident pixels")
    return confusion


def _values(
    plan: Plan,
    table: Table,
    row: str,
    column: str,
    results: Mapping[str, Mapping[str, EvaluationResult]],
    shown: Mapping[str, str],
) -> list[float | None]:
    """Returns the mean IoU of a cell's runs in percent, None of those that have none."""
    found = []
    for name in plan.cells.get((table.name, row, column), ()):
        result = _shown(results[name], shown[row]) if row in shown else None
        value = math.nan if result is None else 100 * result.mean_iou(table.averaging)
        found.append(None if math.isnan(value) else value)
    return found


def _shown(results: Mapping[str, EvaluationResult], measure: str) -> EvaluationResult | None:
    """Returns one measure of a run; the baseline, which has no teacher, gives its student."""
    if measure in results or TEACHER in results:
        return results.get(measure)
    return results.get(STUDENT)


def _classes(results: Sequence[EvaluationResult | None]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for result in filter(None, results):
        for name, value in zip(result.label_map.class_names, result.iou, strict=True):
            if not math.isnan(value):
                found.setdefault(name, []).append(100 * float(value))
    return {name: statistics.fmean(values) for name, values in found.items()}


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None
