"""The Apache Beam runner, which lets a cluster convert.

A shard is one element: a worker converts its images and writes it, as one machine would, to a path
all workers see. Bytes, resuming and errors are those of a local conversion; the runner only
decides where shards are written.
"""

import contextlib
import dataclasses
import functools
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from c3tf.errors import DataError
from c3tf.io import files, json_files
from data_tools.conversion import notes, workers
from data_tools.conversion.example import Outcome, SourcePair
from data_tools.conversion.images import UnavailableError
from data_tools.conversion.planning import ShardPlan
from data_tools.conversion.runners import ConvertPair

if TYPE_CHECKING:
    from apache_beam.options.pipeline_options import PipelineOptions

_INSTALL = (
    "--beam_runner needs Apache Beam. Install it with "
    "`pip install -r requirements.txt -r requirements-beam.txt`."
)


# Their job server has options of its own, which it alone knows and checks.
_JOB_SERVER_RUNNERS = ("FlinkRunner", "PortableRunner", "SparkRunner")
# Lists of images lie in small files, which remote file systems are slow to write.
_THREADS = 32


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
        unknown = sorted(set(_parsed(self._options)) - set(known))
        if unknown and runner not in _JOB_SERVER_RUNNERS:
            raise DataError(f"Beam knows no option {unknown[0]!r} (--beam_option).")

    @contextlib.contextmanager
    def open(self, convert_pair: ConvertPair) -> Iterator["_BeamSession"]:
        """Makes ready to apply `convert_pair` to images."""
        yield _BeamSession(convert_pair, self._options)


def _parsed(options: "PipelineOptions") -> dict[str, Any]:
    """Parses options, whose mistakes Beam answers as a command would: by ending the process."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return options.get_all_options(retain_unknown_options=True)
    except SystemExit as error:
        reason = complaint.getvalue().strip().rpartition("error: ")[2]
        raise DataError(f"Beam cannot use a --beam_option: {reason}") from error


class _BeamSession:
    def __init__(self, convert_pair: ConvertPair, options: "PipelineOptions") -> None:
        self._convert_pair, self._options = convert_pair, options

    def convert(self, pairs: Iterable[SourcePair]) -> Iterator[Outcome]:
        """Yields the results of a few images, converted by the process that starts the pipeline."""
        return map(self._convert_pair, pairs)

    def write(self, plan: Sequence[ShardPlan], output: str, work_dir: str) -> None:
        """Runs the pipeline that writes the shards, and waits for its end.

        Raises:
            DataError: a shard could not be written, or the pipeline failed.
        """
        import apache_beam

        if not plan:
            return
        write_lists(plan, work_dir)
        write = functools.partial(
            write_planned_shard, output=output, work_dir=work_dir, convert_pair=self._convert_pair
        )
        try:
            with apache_beam.Pipeline(options=self._options) as pipeline:
                names = pipeline | "Shards" >> apache_beam.Create([shard.name for shard in plan])
                _ = names | "Convert" >> apache_beam.Map(write)
        except Exception as error:
            # Whatever runs a pipeline has exceptions of its own.
            told = _complaint(plan, output, work_dir)
            raise DataError(
                told or f"The pipeline failed: {error}. Run the same command again; it continues."
            ) from error
        if told := _complaint(plan, output, work_dir):
            raise DataError(told)


def write_lists(plan: Sequence[ShardPlan], work_dir: str) -> None:
    """Writes which images go into which shard where workers find it.

    A pipeline's own description must stay small, however many images there are.
    """

    def write(shard: ShardPlan) -> None:
        listed = [dataclasses.astuple(pair) for pair in shard.pairs]
        files.write_text(_pairs_path(work_dir, shard.name), json.dumps(listed))

    with ThreadPoolExecutor(_THREADS) as executor:
        for _ in executor.map(write, plan):
            pass


def write_planned_shard(name: str, output: str, work_dir: str, convert_pair: ConvertPair) -> str:
    """Writes one shard in a Beam worker; what goes wrong is left beside the output.

    Args:
        name: file name of the shard.
        output: directory of the data set.
        work_dir: where the list of its images lies.
        convert_pair: converts one image.

    Returns:
        The name.

    Raises:
        UnavailableError, OutputError: a file cannot be read or written now: Beam may try again.
            Bad data raise nothing, since another try cannot help.
    """
    from data_tools.conversion import shards

    workers.settle()
    listed = json_files.read(_pairs_path(work_dir, name), list, error=UnavailableError)
    results = map(convert_pair, (SourcePair(*fields) for fields in listed))
    try:
        shards.write_shard(output, work_dir, name, results)
    except DataError as error:
        another_try = isinstance(error, UnavailableError | shards.OutputError)
        # On a full disk the complaint cannot be left either; the error itself says enough then.
        with contextlib.suppress(OSError) if another_try else contextlib.nullcontext():
            files.write_text(_error_path(work_dir, name), str(error))
        if another_try:
            raise
    return name


def _complaint(plan: Sequence[ShardPlan], output: str, work_dir: str) -> str | None:
    """Says what went wrong with the shards that are not there; None if all are, or none told."""
    noted = notes.read_all(output, work_dir, [shard.name for shard in plan])
    failed = [shard.name for shard in plan if shard.name not in noted]
    told = [name for name in failed if files.exists(_error_path(work_dir, name))]
    if not told:
        return None
    more = f" ({len(told) - 1} more shards failed.)" if len(told) > 1 else ""
    return f"{files.read_text(_error_path(work_dir, told[0]))}{more}"


def _pairs_path(work_dir: str, name: str) -> str:
    """Names the list of images of a shard."""
    return files.join(work_dir, f"{name}.items.json")


def _error_path(work_dir: str, name: str) -> str:
    """Names the file that says why a shard could not be written."""
    return files.join(work_dir, f"{name}.error.txt")
