"""The runs that tables need: each configuration once, whichever cells share it."""

import dataclasses
import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from c3tf.config import OPTIONS, Config, ConfigError, Resume, absl_flags
from c3tf.io import files, run_files
from c3tf.runs import configs
from c3tf.runs.tables.table_file import CONFIDENT, STUDENT, Row, Table, TableError

# Below the runner's --output.
RUNS = "runs"
_LOCK, _CONFIDENT = "tables.lock", "teacher_confident.json"


@dataclasses.dataclass(frozen=True)
class Job:
    """One run, trained once for all cells that show it.

    Attributes:
        name: of its folder, which the configuration decides.
        config: what is trained.
        table: name of the table of the first cell that shows it.
        cell: that cell, for people.
        confident: whether its teacher is measured on confident pixels as well.
    """

    name: str
    config: Config
    table: str
    cell: str
    confident: bool

    @property
    def folder(self) -> str:
        """The run directory."""
        return configs.in_its_folder(self.config).training.output

    @property
    def lock(self) -> str:
        """The file that keeps other runners out while one trains it."""
        return os.path.join(self.config.training.output, _LOCK)

    @property
    def confident_file(self) -> str:
        """The teacher's evaluation on confident pixels."""
        return os.path.join(self.config.training.output, _CONFIDENT)

    def step(self) -> int:
        """Returns the step of the newest checkpoint, 0 where there is none."""
        folder = os.path.join(self.folder, run_files.CHECKPOINTS)
        names = os.listdir(folder) if os.path.isdir(folder) else []
        return max(filter(None, map(run_files.checkpoint_step, names)), default=0)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What tables need.

    Attributes:
        tables: the tables.
        jobs: the runs by name, in the order of training.
        cells: names of the runs of each cell, one per seed, by table, row and column.
    """

    tables: Sequence[Table]
    jobs: Mapping[str, Job]
    cells: Mapping[tuple[str, str, str], Sequence[str]]

    def of(self, table: Table) -> list[Job]:
        """Returns the runs of one table, in the order of training."""
        names = {n for (of, _, _), cell in self.cells.items() if of == table.name for n in cell}
        return [job for name, job in self.jobs.items() if name in names]


def make(tables: Sequence[Table], output: str, changed: Mapping[str, Any] | None = None) -> Plan:
    """Finds the runs of tables.

    They come seed by seed, so that every table is whole, with few seeds, as early as can be.

    Args:
        tables: the tables; all runs lie below one folder, where they share what is equal.
        output: that folder.
        changed: options of all runs, by the names of their flags.

    Raises:
        TableError: a cell's flags are refused, two cells are one run that differs, or two tables
            have one name.
        ConfigError: `changed` names what is no flag or what a table varies.
    """
    changed = dict(changed or {})
    _check_changed(tables, changed)
    names = [table.name for table in tables]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise TableError(f"Every table must have a name of its own. Received twice: {twice}")
    jobs: dict[str, Job] = {}
    cells: dict[tuple[str, str, str], list[str]] = {}
    for seed in range(max(len(table.seeds) for table in tables)):
        for table in tables:
            if seed >= len(table.seeds):
                continue
            for column in table.columns:
                for row in table.rows:
                    job = _job(table, row, column, seed, output, changed)
                    cells.setdefault((table.name, row, column), []).append(job.name)
                    held = jobs.get(job.name, job)
                    _check_same(held, job)
                    confident = held.confident or job.confident
                    jobs[job.name] = dataclasses.replace(held, confident=confident)
    return Plan(tables, jobs, cells)


def config_of(
    table: Table, row: str, column: str, seed: int = 0, changed: Mapping[str, Any] | None = None
) -> Config:
    """Returns the configuration of a cell's run, as its flags say; without a folder of its own.

    Raises:
        TableError: the flags are refused.
    """
    file, held = table.columns[column].flagfile, table.rows[row]
    options = {
        **(changed or {}),
        **table.columns[column].flags,
        **held.flags,
        **table.seeds[seed],
        "baseline": False,
    }
    try:
        config = absl_flags.from_files([file], options)
        if held.times:
            # Read again, because phases may be shares of the steps.
            config = absl_flags.from_files([file], {**options, **_multiplied(config, held)})
    except ConfigError as error:
        raise TableError(
            f"Table {table.name!r}, row {row!r}, column {column!r}: {error}"
        ) from error
    if not config.needs.teacher and table.rows[row].measure not in ("", STUDENT):
        raise TableError(
            f"Table {table.name!r}, row {row!r}: {config.method.name} has no teacher to measure."
        )
    return config


def _job(
    table: Table, row: str, column: str, seed: int, output: str, changed: Mapping[str, Any]
) -> Job:
    config = config_of(table, row, column, seed, changed)
    supervised = config.method.name == configs.BASELINE
    if supervised:
        # Whatever of the method its flags name means nothing to it: one baseline serves all rows.
        config = configs.baseline_of(config)
    name = _name(config)
    cell = f"{table.name}: {row}, {column}"
    if len(table.seeds) > 1:
        cell += f", seed {seed + 1} of {len(table.seeds)}"
    measures = {*table.measures, table.rows[row].measure}
    config = config.with_options(output=os.path.join(output, RUNS, name))
    confident = CONFIDENT in measures and config.needs.teacher
    return Job(name, config, table.name, cell, confident)


def _check_same(one: Job, other: Job) -> None:
    """Refuses two cells that are one run by its name, and ask for different ones all the same.

    Tables may differ in what decides no weights, such as how often a run is measured; within a
    table such a row would show what another one is.
    """
    both = one.config.to_dict(), other.config.to_dict()
    for flag, (section, field) in OPTIONS.items():
        values = [held[section][field.name] for held in both]
        if flag == "data":
            values = [os.path.normpath(files.absolute(path)) for path in values]
        if values[0] != values[1] and (flag == "data" or one.table == other.table):
            raise TableError(
                f"The cells ({one.cell}) and ({other.cell}) would be one run: they differ in "
                f"--{flag} alone ({values[0]}, {values[1]}), which does not tell runs apart. "
                + (
                    "Give the folders of the data sets different names."
                    if flag == "data"
                    else "Leave one of them out."
                )
            )


def _name(config: Config) -> str:
    """Names a run after what decides its weights, as far as it is not the default.

    An option that a later version adds leaves the names of earlier runs alone.
    """
    default, own = Config().to_dict(), config.to_dict()
    decides = {
        flag: own[section][field.name]
        for flag, (section, field) in OPTIONS.items()
        if field.metadata["resume"] is not Resume.FREE
        and own[section][field.name] != default[section][field.name]
    }
    digest = hashlib.sha256(json.dumps(decides, sort_keys=True).encode()).hexdigest()[:8]
    data = os.path.basename(os.path.normpath(config.data.data))
    return f"{data}_{config.data.labeled}_{config.method.name}_{digest}"


def _multiplied(config: Config, row: Row) -> dict[str, float]:
    """Returns the numbers that a row multiplies, whole ones rounded."""
    found = {}
    for flag, factor in row.times.items():
        section, field = OPTIONS[flag]
        value = getattr(getattr(config, section), field.name)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ConfigError(f"`times` must name numbers. Received: times.{flag}")
        product = value * factor
        if not math.isfinite(product):
            raise ConfigError(f"`times` must give finite numbers. Received: times.{flag}={factor}")
        found[flag] = round(product) if isinstance(field.default, int) else product
    return found


def _check_changed(tables: Iterable[Table], changed: Mapping[str, Any]) -> None:
    """Refuses options for all runs that some table decides itself."""
    for name in changed:
        if name not in OPTIONS or name in ("output", "baseline"):
            raise ConfigError(
                f"`--set` must name a flag of training other than --output and --baseline. "
                f"Received: --set={name}={changed[name]}"
            )
        for table in tables:
            if name in table.varied:
                raise ConfigError(
                    f"`--set` must leave alone what table {table.name!r} varies. "
                    f"Received: --set={name}={changed[name]}"
                )
