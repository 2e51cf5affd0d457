"""A process pool that keeps order and holds few results.

Workers are spawned, not forked: TensorFlow's threads do not survive a fork. They import NumPy,
OpenCV and Pillow only.
"""

import collections
import contextlib
import ctypes
import itertools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

import cv2

from c3tf.errors import DataError

_In = TypeVar("_In")
_Out = TypeVar("_Out")
# Values, and portions of them, that wait per worker: enough that none idles while the writer
# handles a result.
_AHEAD, _PORTIONS_AHEAD = 4, 2
_NOT_STARTED = (
    "A worker process ended before its first result. Either memory is short: use a smaller "
    '--num_workers. Or a program of your own calls this without `if __name__ == "__main__":`, '
    "which starting processes needs."
)
_NO_MEMORY_TO_SHARE = (
    "Worker processes cannot be started: they need memory that processes share (/dev/shm), and the "
    "system gives none ({reason}). Use --num_workers=1, or make /dev/shm writable."
)
# Options of glibc's `mallopt` and our values in bytes. Arrays below the first come from memory that
# the process keeps, of which up to the second may lie idle.
_M_MMAP_THRESHOLD, _OWN_PAGES = -3, 32 << 20
_M_TRIM_THRESHOLD, _IDLE = -1, 128 << 20


def available_cores() -> int:
    """Returns the number of cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def pool(num_workers: int) -> Iterator["Mapper"]:
    """Opens a mapper over `num_workers` processes; 1 works in this process, 0 uses all cores.

    Raises:
        DataError: the system lets no processes work together.
    """
    if num_workers < 0:
        raise ValueError(f"`num_workers` must be 0 or more. Received: num_workers={num_workers}")
    count = num_workers or available_cores()
    if count == 1:
        yield Mapper(None, 1)
        return
    context = multiprocessing.get_context("spawn")
    try:
        executor = ProcessPoolExecutor(count, mp_context=context, initializer=_start_worker)
    except (OSError, ImportError) as error:
        # Python makes locks of it, or says on import that the system has none.
        raise DataError(_NO_MEMORY_TO_SHARE.format(reason=error)) from error
    try:
        yield Mapper(executor, count)
    finally:
        executor.shutdown(cancel_futures=True)


def _start_worker() -> None:
    """Prepares a worker: one thread for the work, one that ends it with its parent."""
    # Ctrl-C reaches all processes of a terminal; the main one answers it for all.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    settle()
    _end_with_parent()


def settle() -> None:
    """Prepares a process that converts images beside others, one per core."""
    cv2.setNumThreads(1)
    keep_memory()


def keep_memory() -> None:
    """Lets this process keep the memory of large arrays for the next ones, where malloc is glibc's.

    By default every array of a few megabytes is fetched from the system page by page and given back
    at once, which takes a tenth of a conversion's time and more (`benchmarks/convert_rate.py`). A
    process keeps at most 128 MB more than it uses.
    """
    with contextlib.suppress(AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_M_MMAP_THRESHOLD, _OWN_PAGES)
        mallopt(_M_TRIM_THRESHOLD, _IDLE)


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
        self._executor, self._num_workers = executor, num_workers
        self._started = False

    def map(
        self, function: Callable[[_In], _Out], values: Iterable[_In], portion: int = 1
    ) -> Iterator[_Out]:
        """Yields `function(value)` for every value, in the order of the values.

        Args:
            function: picklable; what it raises is raised here.
            values: read only a little ahead of the results.
            portion: values handed to a worker at a time. Several save time between the processes
                where one takes milliseconds; one keeps all workers busy to the end.

        Raises:
            DataError: a worker process died, or none could start.
        """
        if self._executor is None:
            yield from map(function, values)
            return
        values = iter(values)
        portions = iter(lambda: list(itertools.islice(values, portion)), [])
        tasks = (self._executor.submit(_map_portion, function, part) for part in portions)
        ahead = self._num_workers * max(_AHEAD // portion, _PORTIONS_AHEAD)
        try:
            waiting = collections.deque(itertools.islice(tasks, ahead))
            while waiting:
                results = waiting.popleft().result()
                self._started = True
                waiting.extend(itertools.islice(tasks, 1))
                yield from results
        except BrokenProcessPool as error:
            if not self._started:
                raise DataError(_NOT_STARTED) from error
            raise DataError(
                "A worker process was killed, most likely for want of memory. Run the same command "
                "again with a smaller --num_workers; a conversion continues."
            ) from error


def _map_portion(function: Callable[[_In], _Out], values: Sequence[_In]) -> list[_Out]:
    """Applies a function to a few values, in a worker."""
    return list(map(function, values))
