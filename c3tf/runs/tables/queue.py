"""The queue of a plan's runs: one after the other, beside other runners, past failures."""

import sys
import time
import traceback
from collections.abc import Callable, Iterable

from c3tf.errors import Stopped, StorageError, UserError
from c3tf.io import locks
from c3tf.runs.tables import outcome
from c3tf.runs.tables.plan import Job

# Seconds between two looks at runs that other processes train.
_LOOK_EVERY = 60.0


def work(
    jobs: Iterable[Job],
    make: Callable[[Job], None],
    after: Callable[[Job], None] = lambda job: None,
    look_every: float = _LOOK_EVERY,
) -> dict[str, str]:
    """Makes what is missing of runs; returns when all are finished or have failed.

    A run that another process holds is passed over and looked at again: when that process is gone,
    whatever has ended it, what is left of the run is made here.

    Args:
        jobs: the runs, in this order.
        make: trains a run, or goes on with it, and measures it.
        after: called after each run that was made here.
        look_every: seconds between two looks while all that is left is held by others.

    Returns:
        Why runs have failed here, by name.

    Raises:
        Stopped: as `make` does; nothing else is begun then.
    """
    left = [job for job in jobs if not outcome.is_finished(job)]
    total, failures, waited = len(left), {}, False
    while left:
        held = []
        for job in left:
            with locks.trying(job.lock) as is_ours:
                if not is_ours:
                    held.append(job)
                    continue
                # Another process may have finished it since.
                if outcome.is_finished(job):
                    continue
                place = total - len(left) + left.index(job) + 1
                print(f"\n[{place}/{total}] {job.name}: {job.cell}", flush=True)
                if reason := _failure(job, make):
                    failures[job.name] = reason
                    print(f"{job.name} failed: {reason}", file=sys.stderr, flush=True)
            try:
                after(job)
            except (OSError, StorageError) as error:
                # The other runs are worth more than what is written of them meanwhile.
                print(f"The tables were not written: {error}", file=sys.stderr, flush=True)
        if len(held) == len(left):
            if not waited:
                names = ", ".join(job.name for job in held)
                print(f"Waits for {len(held)} run(s) that others train: {names}", flush=True)
            waited = True
            time.sleep(look_every)
        left = held
    return failures


def _failure(job: Job, make: Callable[[Job], None]) -> str:
    """Makes a run; returns why that has failed, or nothing."""
    try:
        make(job)
    except Stopped:
        raise
    except UserError as error:
        return str(error)
    except Exception as error:  # Whatever it is, the other runs can do without this one.
        traceback.print_exc()
        return f"{type(error).__name__}: {error}"
    return "" if outcome.is_finished(job) else "it ended without its results"
