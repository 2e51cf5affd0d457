"""Times functions side by side in one process, and measures peak memory in processes of their own.

On a shared machine seconds move; a ratio of interleaved runs moves less. Every figure is the least
of the repetitions, because what disturbs a run only ever makes it slower.
"""

import gc
import json
import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

# glibc keeps freed memory instead of giving it back and faulting it in again on the next step,
# which costs large temporaries up to four times their price. Read by malloc as a process starts.
MALLOC = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "1099511627776",
    "MALLOC_TOP_PAD_": "67108864",
}


def restart_with_malloc() -> None:
    """Replaces this process by itself with the settings of `MALLOC`, unless it has them."""
    if any(os.environ.get(name) != value for name, value in MALLOC.items()):
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **MALLOC})


def race(runs: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Runs functions in turns and returns the least seconds of each.

    Args:
        runs: functions that have finished their work when they return.
        repeats: turns that count; one more, which compiles and fills caches, does not.

    Returns:
        Seconds by name.
    """
    seconds = {name: [] for name in runs}
    for turn in range(repeats + 1):
        for name, run in runs.items():
            gc.collect()
            start = time.perf_counter()
            run()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return {name: min(values) for name, values in seconds.items()}


def peak_memory() -> int:
    """Returns the most bytes that this process has held so far."""
    status = Path("/proc/self/status")
    if status.exists():
        # On Linux, `getrusage` starts from what the parent process held when it forked.
        (kibibytes,) = re.findall(r"VmHWM:\s+(\d+) kB", status.read_text(encoding="ascii"))
        return int(kibibytes) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def in_new_process(arguments: list[str]) -> dict:
    """Runs this program again and returns the JSON that it prints last.

    Args:
        arguments: its command line after the program's name.

    Raises:
        subprocess.CalledProcessError: it failed; its errors have been shown.
    """
    result = subprocess.run(
        [sys.executable, sys.argv[0], *arguments], check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(result.stdout.splitlines()[-1])
