"""Trains what tables of runs are made of, and writes the tables.

python -m c3tf.tables --table=configs/tables/camvid_table1.toml --output=runs/tables
"""

import os
from collections.abc import Callable

from absl import flags

from c3tf import cli
from c3tf.errors import Stopped, UserError
from c3tf.evaluation.options import EvaluationOptions
from c3tf.evaluation.result import EvaluationResult
from c3tf.io import files, json_files, leftovers, memory, run_files, writable
from c3tf.reporting import page
from c3tf.reporting import tables as layout
from c3tf.runs import journal, run_dir
from c3tf.runs.tables import outcome, plan, queue, table_file
from c3tf.runs.tables.plan import Job, Plan


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines the flags of the command among `values`."""
    flags.DEFINE_multi_string(
        "table",
        None,
        "File that describes a table (TOML)",
        flag_values=values,
    )
    flags.DEFINE_string(
        "output",
        "runs/tables",
        "Folder of the tables and, below runs/, of their runs. Machines that share it share work.",
        flag_values=values,
    )
    flags.DEFINE_multi_string(
        "set",
        [],
        "Flag of training for all runs, as in --set=steps=600",
        flag_values=values,
    )
    flags.DEFINE_bool("list", False, "Say what would be trained, and end.", flag_values=values)
    flags.DEFINE_bool(
        "only_report",
        False,
        "Write the tables of what is finished, train nothing.",
        flag_values=values,
    )


def main() -> int:
    """Trains what is missing and writes the tables; 1 when a run has failed."""
    values = flags.FLAGS
    cli.need(table=values.table or "")
    if not values.list:
        writable.check_folder(values.output)
    tables = [table_file.read(path) for path in values.table]
    made = plan.make(tables, values.output, dict(map(_setting, values.set)))
    _check_finished(made)
    if values.list:
        print(_listing(made))
        return 0
    failures = {} if values.only_report else _train(made, values.output)
    for path in _write(made, values.output):
        print(f"Written: {path}")
    for name, reason in failures.items():
        print(f"{name} ({made.jobs[name].cell}) failed: {reason}")
    return 1 if failures else 0


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"`--set` must be NAME=VALUE. Received: --set={text}")
    return name.removeprefix("--"), value


def _listing(made: Plan) -> str:
    """Says of every run where it stands, and how many steps are left."""
    width = max(map(len, made.jobs))
    lines, left = [], []
    for job in made.jobs.values():
        steps, done = job.config.training.steps, job.step()
        state = f"{done} of {steps} steps" if done else f"{steps} steps"
        if outcome.is_finished(job):
            state = "finished"
        else:
            left.append(max(steps - done, 0))
        lines.append(f"{job.name:<{width}}  {state:<20}  {job.cell}")
    return "\n".join([*lines, f"{len(left)} of {len(lines)} runs are left, {sum(left):,} steps."])


def _train(made: Plan, output: str) -> dict[str, str]:
    """Trains what is missing; every run that ends shows in the tables at once."""
    memory.keep_freed()
    from c3tf.experiment import Experiment
    from c3tf.training import distribution

    if distribution.read_cluster().num_workers > 1:
        raise UserError(
            "`TF_CONFIG` must not be set: machines share the runs of tables, not each run. Start "
            "the command on each of them with one --output."
        )
    left = [job for job in made.jobs.values() if not outcome.is_finished(job)]
    if left:
        _check(made)

    def make(job: Job) -> None:
        experiment = Experiment(job.config)
        trained = experiment.train()
        if job.confident:
            _measure_confident(experiment.evaluate, job)
        if trained and trained.stop_requested:
            raise Stopped(f"{job.name}: stopped after it was finished.")

    failures = queue.work(left, make, after=lambda job: _write(made, output))
    if left:
        cli.keep_native_log(os.path.join(output, run_files.NATIVE_LOG))
    return failures


def _measure_confident(evaluate: Callable[..., EvaluationResult], job: Job) -> None:
    """Measures a run's teacher where its thresholds keep it.

    Raises:
        UserError: it cannot be measured after its last step.
    """
    options = EvaluationOptions(ignore_low_confidence=True)
    result = evaluate(weights="teacher", options=options)
    if (step := result.protocol["step"]) != job.config.training.steps:
        raise UserError(
            f"The newest checkpoint in {job.folder} that is whole is of step {step}, not of the "
            f"last one, {job.config.training.steps}. Remove that folder to train the run again."
        )
    with journal.writing(job.confident_file, "The run is finished."):
        json_files.write(job.confident_file, result.to_json())


def _check_finished(made: Plan) -> None:
    """Refuses a finished run whose numbers are another data set's or other settings' by now.

    Where the data are not there, as where tables are only written, what the run says must do.
    """
    from c3tf.data import manifest as manifests

    digests: dict[str, str] = {}
    for job in filter(outcome.is_finished, made.jobs.values()):
        data = job.config.data.data
        if data not in digests and files.exists(files.join(data, manifests.FILE_NAME)):
            digests[data] = manifests.load(data).digest()
        known = {"data": digests[data]} if data in digests else {}
        run_dir.check(job.folder, job.config, **known)


def _check(made: Plan) -> None:
    """Refuses, before hours are spent, what some run would refuse.

    Raises:
        UserError: data are missing or have too few images, or a run that was begun is one of other
            data or of an earlier version's other defaults.
    """
    from c3tf.data import manifest as manifests
    from c3tf.runs import setup

    for job in made.jobs.values():
        setup.ensure_data(job.config)
        manifest = manifests.verify(job.config.data.data)
        split = setup.open_split(manifest, job.config)
        run_dir.check(job.folder, job.config, split=split.hash, data=manifest.digest())


def _write(made: Plan, output: str) -> list[str]:
    """Writes every table in its three forms; returns the Markdown files."""
    written = []
    for table in made.tables:
        grids = outcome.grids(made, table)
        path = os.path.join(output, table.name)
        text = page.assemble(layout.sections(grids, made), table.title, f"table {table.name}")
        for ending in ("csv", "html", "md"):
            leftovers.clear(f"{path}.{ending}")
        with journal.writing(path, "All runs keep what they have done."):
            files.write_text(f"{path}.csv", layout.comma_separated(grids, made))
            files.write_text(f"{path}.html", text)
            files.write_text(f"{path}.md", layout.markdown(grids))
        written.append(f"{path}.md")
    return written


if __name__ == "__main__":
    define_flags()
    cli.run(main)
