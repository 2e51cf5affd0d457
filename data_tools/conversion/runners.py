"""Who converts the images of a plan: the processes of this machine, or what else runs shards."""

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import islice
from typing import Protocol

from data_tools.conversion import workers
from data_tools.conversion.example import Item, Outcome
from data_tools.conversion.planning import ShardPlan

# Converts one image; picklable.
Job = Callable[[Item], Outcome]
# Given the number of images, returns what is told how many are done.
StartProgress = Callable[[int], Callable[[int], None]]
# Images handed to a process at a time.
_PORTION = 4


class Session(Protocol):
    """An opened runner."""

    def convert(self, items: Iterable[Item]) -> Iterator[Outcome]:
        """Yields the results of a few images in order."""

    def write(self, plan: Sequence[ShardPlan], output: str, work_dir: str) -> None:
        """Writes shards and the notes that say they are finished."""


class Runner(Protocol):
    """Something that converts images and writes shards."""

    def open(self, job: Job) -> AbstractContextManager[Session]:
        """Makes ready to apply `job` to images."""


class LocalRunner:
    """Converts in processes of this machine and writes in this process."""

    def __init__(self, num_workers: int = 0, start_progress: StartProgress | None = None) -> None:
        """Stores the settings.

        Args:
            num_workers: processes; 0 uses all cores, 1 works in this process.
            start_progress: shows progress.
        """
        self._num_workers, self._start_progress = num_workers, start_progress

    @contextlib.contextmanager
    def open(self, job: Job) -> Iterator["_LocalSession"]:
        """Starts the processes."""
        with workers.pool(self._num_workers) as mapper:
            yield _LocalSession(mapper, job, self._start_progress)


class _LocalSession:
    def __init__(
        self, mapper: workers.Mapper, job: Job, start_progress: StartProgress | None
    ) -> None:
        self._mapper, self._job, self._start_progress = mapper, job, start_progress
        self._known: dict[Item, Outcome] = {}

    def convert(self, items: Iterable[Item]) -> Iterator[Outcome]:
        """Yields the results of a few images in order, and keeps them for `write`."""
        items = list(items)
        for item, result in zip(items, self._mapper.map(self._job, items), strict=True):
            self._known[item] = result
            yield result

    def write(self, plan: Sequence[ShardPlan], output: str, work_dir: str) -> None:
        """Writes shards one after the other while the processes go on with the next."""
        # Imports TensorFlow. Worker processes import this module too and must stay small.
        from data_tools.conversion import shards

        # One stream over all shards: workers go on while the end of a shard is written.
        results = self._counted([item for shard in plan for item in shard.items])
        for shard in plan:
            shards.write_shard(output, work_dir, shard.name, islice(results, len(shard.items)))

    def _counted(self, items: Sequence[Item]) -> Iterator[Outcome]:
        """Yields the results of all images in order and tells how many there were."""
        progress = self._start_progress(len(items)) if self._start_progress and items else None
        missing = (item for item in items if item not in self._known)
        converted = self._mapper.map(self._job, missing, _PORTION)
        for done, item in enumerate(items, start=1):
            result = self._known[item] if item in self._known else next(converted)
            if progress is not None:
                progress(done)
            yield result
