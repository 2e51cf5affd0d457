"""Runners, which convert the images of a plan: here in the processes of this machine."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Protocol

from data_tools.conversion import workers
from data_tools.conversion.example import Outcome, SourcePair
from data_tools.conversion.planning import ShardPlan

# Converts one image; picklable.
ConvertPair = Callable[[SourcePair], Outcome]
# Given the number of images, returns what is told how many are done.
StartProgress = Callable[[int], Callable[[int], None]]
# Images handed to a process at a time.
_PORTION = 4


class Session(Protocol):
    """An opened runner."""

    def convert(self, pairs: Iterable[SourcePair]) -> Iterator[Outcome]:
        """Yields the results of a few images in order."""

    def write(self, plan: Sequence[ShardPlan], output: str, work_dir: str) -> None:
        """Writes shards and the notes that say they are finished."""


class Runner(Protocol):
    """Something that converts images and writes shards."""

    def open(self, convert_pair: ConvertPair) -> AbstractContextManager[Session]:
        """Makes ready to apply `convert_pair` to images."""


class LocalRunner:
    """Converts in processes of this machine and writes in this process."""

    def __init__(self, num_workers: int = 0, start_progress: StartProgress | None = None) -> None:
        """Stores the number of processes (0: all cores, 1: this one) and what shows progress."""
        self._num_workers, self._start_progress = num_workers, start_progress

    @contextlib.contextmanager
    def open(self, convert_pair: ConvertPair) -> Iterator["_LocalSession"]:
        """Starts the processes."""
        with workers.pool(self._num_workers) as mapper:
            yield _LocalSession(mapper, convert_pair, self._start_progress)


class _LocalSession:
    def __init__(
        self,
        mapper: workers.Mapper,
        convert_pair: ConvertPair,
        start_progress: StartProgress | None,
    ) -> None:
        self._mapper, self._convert_pair, self._start_progress = (
            mapper,
            convert_pair,
            start_progress,
        )
        self._known: dict[SourcePair, Outcome] = {}

    def convert(self, pairs: Iterable[SourcePair]) -> Iterator[Outcome]:
        """Yields the results of a few images in order, and keeps them for `write`."""
        pairs = list(pairs)
        for pair, result in zip(pairs, self._mapper.map(self._convert_pair, pairs), strict=True):
            self._known[pair] = result
            yield result

    def write(self, plan: Sequence[ShardPlan], output: str, work_dir: str) -> None:
        """Writes shards one after the other while the processes go on with the next."""
        # Imports TensorFlow. Worker processes import this module too and must stay small.
        from data_tools.conversion import shards

        # One stream over all shards: workers go on while the end of a shard is written.
        results = self._counted([pair for shard in plan for pair in shard.pairs])
        for shard in plan:
            shards.write_shard(output, work_dir, shard.name, islice(results, len(shard.pairs)))

    def _counted(self, pairs: Sequence[SourcePair]) -> Iterator[Outcome]:
        """Yields the results of all images in order and tells how many there were."""
        progress = self._start_progress(len(pairs)) if self._start_progress and pairs else None
        missing = (pair for pair in pairs if pair not in self._known)
        converted = self._mapper.map(self._convert_pair, missing, _PORTION)
        for done, pair in enumerate(pairs, start=1):
            result = self._known[pair] if pair in self._known else next(converted)
            if progress is not None:
                progress(done)
            yield result
