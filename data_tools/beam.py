"""Converts shards as an Apache Beam pipeline, so that a cluster can do it.

A shard is one element: a worker converts its images and writes it, as one machine would, to a path
all workers see. Bytes, resuming and errors are those of a local conversion; the runner only
decides where shards are written.
"""

import contextlib
import dataclasses
import functools
import json
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

from c3tf.data import files
from c3tf.data.errors import DataError
from c3tf.data.manifest import LeftOut
from data_tools.example import Converted, Item
from data_tools.planning import ShardPlan
from data_tools.runners import Job

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

_INSTALL = (
    "--beam_runner needs Apache Beam. Install it with "
    "`pip install -r requirements.txt -r requirements-beam.txt`."
)


class BeamRunner:
    """Converts on whatever Beam runs on."""

    def __init__(self, runner: str, options: Sequence[str] = ()) -> None:
        """Checks the settings.

        Args:
            runner: name of a Beam runner, e.g. `"DirectRunner"`.
            options: further pipeline options, `name=value` or `name`, with or without dashes.

        Raises:
            DataError: Beam is not installed, or does not know the runner or an option.
        """
        try:
            from apache_beam.options.pipeline_options import PipelineOptions
            from apache_beam.runners import create_runner
        except ImportError as error:
            raise DataError(_INSTALL) from error
        try:
            create_runner(runner)
        except (ImportError, ValueError) as error:
            raise DataError(f"--beam_runner={runner} cannot be used: {error}") from error
        arguments = [f"--{option.lstrip('-')}" for option in options]
        self._options = PipelineOptions([f"--runner={runner}", *arguments])
        known = PipelineOptions([]).get_all_options()
        held = self._options.get_all_options(retain_unknown_options=True)
        if unknown := sorted(set(held) - set(known)):
            raise DataError(f"Beam knows no option {unknown[0]!r} (--beam_option).")

    @contextlib.contextmanager
    def open(self, job: Job) -> Iterator["_BeamSession"]:
        """Makes ready to apply `job` to images."""
        yield _BeamSession(job, self._options)


class _BeamSession:
    def __init__(self, job: Job, options: "PipelineOptions") -> None:
        self._job, self._options = job, options

    def convert(self, items: Iterable[Item]) -> Iterator[Converted | LeftOut]:
        """Yields the results of a few images, converted by the process that starts the pipeline."""
        return map(self._job, items)

    def write(self, plan: Sequence[ShardPlan], output: str, work_dir: str) -> None:
        """Runs the pipeline that writes the shards, and waits for its end.

        Raises:
            DataError: a shard could not be written.
        """
        import apache_beam

        write_lists(plan, work_dir)
        write = functools.partial(
            write_planned_shard, output=output, work_dir=work_dir, job=self._job
        )
        with apache_beam.Pipeline(options=self._options) as pipeline:
            names = pipeline | "Shards" >> apache_beam.Create([shard.name for shard in plan])
            _ = names | "Convert" >> apache_beam.Map(write)
        _raise_failures(plan, output, work_dir)


def write_lists(plan: Sequence[ShardPlan], work_dir: str) -> None:
    """Writes which images go into which shard where workers find it.

    A pipeline's own description must stay small, however many images there are.

    Args:
        plan: shards to write.
        work_dir: folder all workers see.
    """
    for shard in plan:
        listed = [dataclasses.astuple(item) for item in shard.items]
        files.write_text(_items_path(work_dir, shard.name), json.dumps(listed))


def write_planned_shard(name: str, output: str, work_dir: str, job: Job) -> str:
    """Writes one shard in a Beam worker; a complaint about its data is left beside the output.

    Args:
        name: file name of the shard.
        output: directory of the data set.
        work_dir: where the list of its images lies.
        job: converts one image.

    Returns:
        The name.
    """
    from data_tools import shards

    listed = json.loads(files.read_text(_items_path(work_dir, name)))
    results = map(job, (Item(*fields) for fields in listed))
    try:
        # Beam may try a shard twice at a time: each try writes a file of its own.
        shards.write_shard(output, work_dir, name, results, beside=f"{name}.{uuid.uuid4().hex}")
    except DataError as error:
        files.write_text(_error_path(work_dir, name), str(error))
    return name


def _raise_failures(plan: Sequence[ShardPlan], output: str, work_dir: str) -> None:
    """Raises what went wrong with the shards that are not there."""
    from data_tools import shards

    failed = [s.name for s in plan if shards.read_notes(output, work_dir, s.name) is None]
    told = [path for name in failed if files.exists(path := _error_path(work_dir, name))]
    if not failed:
        return
    if not told:
        raise DataError(
            f"{len(failed)} shards such as {failed[0]} were not written to {output}. Is it a path "
            "that all workers see?"
        )
    more = f" ({len(told) - 1} more shards failed.)" if len(told) > 1 else ""
    raise DataError(f"{files.read_text(told[0])}{more}")


def _items_path(work_dir: str, name: str) -> str:
    """Names the list of images of a shard."""
    return files.join(work_dir, f"{name}.items.json")


def _error_path(work_dir: str, name: str) -> str:
    """Names the file that says why a shard could not be written."""
    return files.join(work_dir, f"{name}.error.txt")
