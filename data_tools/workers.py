"""A process pool that keeps order and holds few results.

Workers are spawned, not forked: TensorFlow's threads do not survive a fork. They import NumPy,
OpenCV and Pillow only.
"""

import collections
import contextlib
import itertools
import multiprocessing
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2

from c3tf.data.errors import DataError

_In = TypeVar("_In")
_Out = TypeVar("_Out")
# Results waiting per worker: enough that no worker idles while the writer handles one.
_AHEAD = 4


def available_cores() -> int:
    """Returns the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def pool(num_workers: int) -> Iterator["Mapper"]:
    """Opens a mapper over `num_workers` processes; 1 works in this process, 0 uses all cores."""
    if num_workers < 0:
        raise ValueError(f"`num_workers` must be 0 or more. Received: num_workers={num_workers}")
    count = num_workers or available_cores()
    if count == 1:
        yield Mapper(None, 1)
        return
    context = multiprocessing.get_context("spawn")
    executor = ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker)
    try:
        yield Mapper(executor, count)
    finally:
        executor.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Prepares a worker: one thread for the work, one that ends it with its parent."""
    # There is a process per core already.
    cv2.setNumThreads(1)
    _end_with_parent()


def _end_with_parent() -> None:
    """Makes a worker end when the process that started it is gone.

    Workers hold both ends of the queue they wait on, so after a SIGKILL of the main process they
    would wait for ever.
    """

    def wait() -> None:
        multiprocessing.parent_process().join()
        os._exit(1)

    threading.Thread(target=wait, daemon=True).start()


class Mapper:
    """Maps a function over values in order, with a bounded number of results in memory."""

    def __init__(self, executor: Executor | None, num_workers: int) -> None:
        self._executor = executor
        self._ahead = num_workers * _AHEAD

    def map(self, function: Callable[[_In], _Out], values: Iterable[_In]) -> Iterator[_Out]:
        """Yields `function(value)` for every value, in the order of the values.

        Args:
            function: picklable; what it raises is raised here.
            values: read only a little ahead of the results.

        Raises:
            DataError: a worker process died.
        """
        if self._executor is None:
            yield from map(function, values)
            return
        values = iter(values)
        first = itertools.islice(values, self._ahead)
        waiting = collections.deque(self._executor.submit(function, value) for value in first)
        try:
            while waiting:
                result = waiting.popleft().result()
                for value in itertools.islice(values, 1):
                    waiting.append(self._executor.submit(function, value))
                yield result
        except BrokenProcessPool as error:
            raise DataError(
                "A conversion worker was killed, most likely for want of memory. Run the same "
                "command again with a smaller --num_workers; it continues."
            ) from error
