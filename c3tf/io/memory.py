"""The memory that is left, the refusal of what cannot fit, and what becomes of freed memory."""

import ctypes
import math
import os

from c3tf.errors import DataError

_CGROUP = "/sys/fs/cgroup"
# Of the two versions of Linux control groups, which containers are bounded by: limit and usage, and
# statistics with a line about what of it the system gives up when memory is asked for, as the
# pages of files that were read once.
_CGROUP_FILES = (
    ("memory.max", "memory.current", "memory.stat", "inactive_file"),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        "total_inactive_file",
    ),
)

# glibc's names (malloc.h) for what these do, and values that keep it from giving memory back.
_MALLOC = {
    "M_TRIM_THRESHOLD": (-1, -1),
    "M_TOP_PAD": (-2, 64 * 2**20),
    "M_MMAP_MAX": (-4, 0),
}


def keep_freed() -> bool:
    """Makes this process keep the memory of freed arrays for the next ones.

    By default glibc gives large arrays back to the system when they are freed. A train step frees
    and takes the same ones every time, and each page that comes back has to be cleared first, which
    costs large temporaries up to four times their price. To be called before threads are started.

    Returns:
        Whether it does; not where another allocator than glibc's serves the process, or where the
        user has set variables of it.
    """
    if any(name.startswith("MALLOC_") for name in os.environ) or "GLIBC_TUNABLES" in os.environ:
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, TypeError, AttributeError):
        return False
    mallopt.argtypes = [ctypes.c_int, ctypes.c_int]
    return all(mallopt(*setting) == 1 for setting in _MALLOC.values())


def available() -> float:
    """Returns the bytes that can still be taken; infinite where the system does not say."""
    return min(_of_machine(), *(_of_group(*files) for files in _CGROUP_FILES))


def check_fits(needed: int, what: str, advice: str) -> None:
    """Refuses to hold more than is left.

    Args:
        needed: bytes.
        what: what would be held, as the start of a sentence.
        advice: what to do instead.

    Raises:
        DataError: less than `needed` is available.
    """
    left = available()
    if needed > left:
        raise DataError(
            f"{what} would take {needed / 1e9:.1f} GB of memory, but {left / 1e9:.1f} GB are "
            f"left. {advice}"
        )


def _of_machine() -> float:
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError):
        return math.inf


def _of_group(limit_file: str, usage_file: str, statistics: str, given_up: str) -> float:
    limit, usage = (_number(_text(name)) for name in (limit_file, usage_file))
    if usage == math.inf:
        return math.inf
    lines = (line.partition(" ") for line in _text(statistics).splitlines())
    freed = sum(_number(value) for name, _, value in lines if name == given_up)
    return limit - max(usage - freed, 0)


def _text(name: str) -> str:
    """Reads a file of the control group; nothing where it is absent."""
    try:
        with open(os.path.join(_CGROUP, name), encoding="ascii") as file:
            return file.read()
    except OSError:
        return ""


def _number(text: str) -> float:
    """Reads a number; infinite where the text is none, as `max`."""
    text = text.strip()
    return int(text) if text.isdecimal() else math.inf
