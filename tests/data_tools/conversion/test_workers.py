"""The pool of conversion workers."""

import errno
import multiprocessing.synchronize
import os
import platform
import resource

import numpy as np
import pytest

from c3tf.errors import DataError
from data_tools.conversion import workers


def test_a_killed_worker_is_explained():
    with (
        workers.pool(2) as mapper,
        pytest.raises(DataError, match=r"worker process was killed.*memory.*smaller --num_workers"),
    ):
        list(mapper.map(_work_then_die, range(20)))


def _work_then_die(value):
    if value == 9:
        os._exit(9)


def test_workers_that_cannot_start_are_explained():
    with (
        workers.pool(2) as mapper,
        pytest.raises(DataError, match=r"before its first result.*--num_workers.*__main__"),
    ):
        list(mapper.map(os._exit, [9] * 20))


def test_a_system_without_shared_memory_is_explained(monkeypatch):
    """`/dev/shm` is read-only in some containers; the output has nothing to do with it."""

    def refuse(*_, **__):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr(multiprocessing.synchronize._multiprocessing, "SemLock", refuse)
    with (
        pytest.raises(DataError, match=r"/dev/shm.*Read-only file system.*--num_workers=1"),
        workers.pool(2),
    ):
        pass
    with workers.pool(1) as mapper:
        assert list(mapper.map(abs, [-1])) == [1]


def test_workers_that_died_between_two_maps_are_explained():
    with workers.pool(2) as mapper:
        list(mapper.map(abs, [1]))
        with pytest.raises(DataError):
            list(mapper.map(os._exit, [9]))
        with pytest.raises(DataError, match="was killed"):
            list(mapper.map(abs, [1]))


@pytest.mark.parametrize("num_workers", [1, 2])
@pytest.mark.parametrize("portion", [1, 3, 100])
def test_results_come_in_order(num_workers, portion):
    with workers.pool(num_workers) as mapper:
        assert list(mapper.map(abs, range(0, -10, -1), portion)) == list(range(10))
        assert list(mapper.map(abs, (), portion)) == []


@pytest.mark.parametrize("portion", [1, 4])
def test_mapper_reads_only_a_little_ahead(portion):
    taken = []

    def values():
        for value in range(100):
            taken.append(value)
            yield -value

    with workers.pool(2) as mapper:
        results = mapper.map(abs, values(), portion)
        assert next(results) == 0
        assert len(taken) < 24
        assert list(results) == list(range(1, 100))


def _page_faults(repetitions):
    """Counts the pages the system hands out while arrays of 4 MB come and go."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(repetitions):
        # Two at a time: the allocator of NumPy keeps a single one by itself.
        first, second = np.ones(4 << 20, np.uint8), np.ones(4 << 20, np.uint8)
        del first, second
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="malloc is not glibc's")
def test_workers_keep_the_memory_of_large_arrays():
    with workers.pool(2) as mapper:
        faults = list(mapper.map(_page_faults, [50] * 4))
    # What two arrays take, and much less than fifty pairs do.
    assert max(faults) < 2 * (2 * (4 << 20) // os.sysconf("SC_PAGE_SIZE"))
