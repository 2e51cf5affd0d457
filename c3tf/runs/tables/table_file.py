"""Files that describe a table: rows, columns and seeds as flags over an experiment file."""

import dataclasses
import os
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from c3tf.config import OPTIONS
from c3tf.config.flag_files import found
from c3tf.errors import UserError
from c3tf.evaluation.metrics import AVERAGING
from c3tf.io import schema
from c3tf.io.schema import SchemaError

# What a cell may show of its runs after the last step. `confident` is the teacher where its
# thresholds keep it (supplement, Table 2).
STUDENT, TEACHER, CONFIDENT = MEASURES = ("student", "teacher", "confident")
_KEYS = (
    "title", "note", "flagfile", "rows_from", "baseline", "measures", "averaging", "classes",
    "seeds", "columns", "rows", "paper", "paper_classes",
)  # fmt: skip
# What the runner sets itself.
_ITS_OWN = ("output", "baseline", "allow_changed_flags")
# As printed: mean, deviation, gain.
_PRINTED = re.compile(r"\d+\.\d+( ± \d+\.\d+)?( \([+-]\d+\.\d+\))?")

Flags = Mapping[str, Any]


class TableError(UserError):
    """A table's file cannot be used; the message names it."""


@dataclasses.dataclass(frozen=True)
class Row:
    """What a row changes.

    Attributes:
        flags: values by the names of their flags.
        times: factors on numbers, applied after everything else.
        measure: one of `MEASURES` where it is not the table's.
    """

    flags: Flags
    times: Mapping[str, float]
    measure: str = ""


@dataclasses.dataclass(frozen=True)
class Column:
    """What a column changes.

    Attributes:
        flags: values by the names of their flags.
        flagfile: its experiment file.
    """

    flags: Flags
    flagfile: str


@dataclasses.dataclass(frozen=True)
class Table:
    """What a table's file says.

    Attributes:
        name: of the file, without its ending.
        title: what the table shows.
        note: what a reader has to know besides.
        rows: by name, in order.
        columns: by name, in order.
        seeds: flags of each repetition.
        baseline: name of the row that gains count from; empty for no gains.
        measures: of `MEASURES`; the paper's numbers stand beside the first.
        averaging: rule of the mean IoU.
        classes: whether the IoU of every class is shown as well.
        paper: the paper's cells as printed, by row and column.
        paper_classes: the paper's IoU of every class, by row and column.
    """

    name: str
    title: str
    note: str
    rows: Mapping[str, Row]
    columns: Mapping[str, Column]
    seeds: Sequence[Flags]
    baseline: str
    measures: Sequence[str]
    averaging: str
    classes: bool
    paper: Mapping[str, Mapping[str, str]]
    paper_classes: Mapping[str, Mapping[str, Sequence[float]]]

    def measure(self, row: str) -> str:
        """Returns what the cells of a row show first."""
        return self.rows[row].measure or self.measures[0]

    @property
    def varied(self) -> set[str]:
        """The flags that the table itself decides."""
        parts = [*self.columns.values(), *self.rows.values()]
        return {name for flags in (*(part.flags for part in parts), *self.seeds) for name in flags}


def read(path: str) -> Table:
    """Reads a table's file and checks all of it.

    Args:
        path: the file; `configs/...` that is not there is one that comes with c3tf.

    Raises:
        TableError: it cannot be read, or something in it is unknown, missing or contradictory.
    """
    path = found(path)
    data = _load(path)
    _check_keys(path, data, _KEYS, "key")
    rows = _of_type(path, data, "rows", dict, {})
    if "rows_from" in data:
        other = _beside(path, data["rows_from"])
        rows = {**_of_type(other, _load(other), "rows", dict, {}), **rows}
    table = Table(
        name=Path(path).stem,
        title=_of_type(path, data, "title", str),
        note=_of_type(path, data, "note", str, ""),
        rows={name: _row(path, name, row) for name, row in rows.items()},
        columns={
            name: _column(path, name, column, data.get("flagfile", ""))
            for name, column in _of_type(path, data, "columns", dict).items()
        },
        seeds=_seeds(path, _of_type(path, data, "seeds", list, [{}])),
        baseline=_of_type(path, data, "baseline", str, ""),
        measures=tuple(_of_type(path, data, "measures", list, [STUDENT])),
        averaging=_of_type(path, data, "averaging", str, AVERAGING[0]),
        classes=_of_type(path, data, "classes", bool, False),
        paper=_of_type(path, data, "paper", dict, {}),
        paper_classes=_of_type(path, data, "paper_classes", dict, {}),
    )
    _check(path, table)
    return table


def _load(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            data = tomllib.loads(file.read())
    except OSError as error:
        raise TableError(f"Cannot read table {path}: {error.strerror or error}.") from error
    except (ValueError, RecursionError) as error:
        raise TableError(f"{path} is no TOML: {error}.") from error
    try:
        schema.check_plain(data)
    except SchemaError as error:
        raise TableError(f"{path} cannot be read: {error}.") from error
    return data


def _beside(path: str, name: Any) -> str:
    """Returns the path of a file that another one names, relative to itself."""
    if not isinstance(name, str):
        raise TableError(f"{path}: a file must be named as text. Received: {name!r}")
    return found(name, os.path.dirname(path))


def _of_type(path: str, data: Mapping[str, Any], key: str, kind: type, default: Any = None) -> Any:
    value = data.get(key, default)
    if not isinstance(value, kind):
        what = "nothing" if value is None else repr(value)
        raise TableError(f"{path}: `{key}` must be of type {kind.__name__}. Received: {what}")
    return value


def _check_keys(path: str, data: Mapping[str, Any], known: Sequence[str], what: str) -> None:
    for key in data:
        if key not in known:
            raise TableError(
                f"{path}: every {what} must be one of {', '.join(known)}. Received: {key}"
            )


def _flags(path: str, where: str, flags: Any) -> dict[str, Any]:
    if not isinstance(flags, dict):
        raise TableError(f"{path}: {where} must be a table of flags. Received: {flags!r}")
    for name, value in flags.items():
        if name not in OPTIONS or name in _ITS_OWN:
            whose = "that the runner sets itself" if name in _ITS_OWN else "of training"
            must = f"no flag {whose}" if name in _ITS_OWN else f"a flag {whose}"
            raise TableError(f"{path}: {where} must name {must}. Received: {name}")
        for held in value if isinstance(value, list) else [value]:
            if isinstance(held, (dict, list)):
                raise TableError(f"{path}: {where}, {name} must be one value. Received: {value!r}")
    return flags


def _row(path: str, name: str, data: Any) -> Row:
    where = f"row {name!r}"
    flags = dict(data) if isinstance(data, dict) else data
    times = flags.pop("times", {}) if isinstance(data, dict) else {}
    measure = flags.pop("measure", "") if isinstance(data, dict) else ""
    if measure and measure not in MEASURES:
        _refuse_measure(path, measure)
    for flag, factor in _flags(path, where, times).items():
        if isinstance(factor, bool) or not isinstance(factor, (int, float)):
            raise TableError(f"{path}: {where}, times.{flag} must be a number. Received: {factor}")
    return Row(_flags(path, where, flags), times, measure)


def _column(path: str, name: str, data: Any, flagfile: Any) -> Column:
    flags = dict(data) if isinstance(data, dict) else data
    if isinstance(data, dict):
        flagfile = flags.pop("flagfile", flagfile)
    if not flagfile:
        raise TableError(
            f"{path}: column {name!r} needs an experiment file: `flagfile` of the column or table."
        )
    flagfile = _beside(path, flagfile)
    if not os.path.isfile(flagfile):
        raise TableError(f"{path}: column {name!r}: there is no file {flagfile}.")
    return Column(_flags(path, f"column {name!r}", flags), flagfile)


def _seeds(path: str, seeds: list[Any]) -> tuple[Flags, ...]:
    if not seeds:
        raise TableError(f"{path}: `seeds` must hold at least one repetition. Received: {seeds}")
    return tuple(_flags(path, "`seeds`", seed) for seed in seeds)


def _check(path: str, table: Table) -> None:
    """Refuses what does not fit together."""
    for what, named in (("rows", table.rows), ("columns", table.columns)):
        if not named:
            raise TableError(f"{path}: `{what}` must name at least one. Received: nothing")
    if table.baseline and table.baseline not in table.rows:
        raise TableError(
            f"{path}: `baseline` must be one of the rows {', '.join(table.rows)}. "
            f"Received: {table.baseline}"
        )
    if table.averaging not in AVERAGING:
        raise TableError(
            f"{path}: `averaging` must be one of {', '.join(AVERAGING)}. "
            f"Received: {table.averaging}"
        )
    for measure in table.measures or [""]:
        if measure not in MEASURES:
            _refuse_measure(path, measure)
    for key in ("paper", "paper_classes"):
        for row, cells in getattr(table, key).items():
            _check_keys(path, {row: cells}, list(table.rows), f"row of `{key}`")
            _check_keys(
                path, _of_type(path, {row: cells}, row, dict), list(table.columns), "column"
            )
    for cell in (cell for cells in table.paper.values() for cell in cells.values()):
        if not isinstance(cell, str) or not _PRINTED.fullmatch(cell):
            raise TableError(
                f"{path}: a number of `paper` must be as in '63.23 ± 0.45 (+8.13)'. "
                f"Received: {cell!r}"
            )
    for numbers in (n for cells in table.paper_classes.values() for n in cells.values()):
        if not isinstance(numbers, list) or not all(isinstance(n, float) for n in numbers):
            raise TableError(
                f"{path}: a cell of `paper_classes` must be a list of numbers. Received: {numbers}"
            )


def _refuse_measure(path: str, measure: Any) -> None:
    raise TableError(
        f"{path}: a measure must be one of {', '.join(MEASURES)}. Received: {measure!r}"
    )


def printed(cell: str) -> float:
    """Returns the mean of a cell as the paper prints it."""
    return float(cell.partition(" ")[0])
