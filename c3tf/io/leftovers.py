"""What killed writers leave beside and below their output: its names; put back, or deleted."""

import os
import re
import shutil
import uuid

from c3tf.io import locks
from c3tf.io.names import LONGEST

# In the names of what is being made, and of what is set aside for it.
_PARTIAL, _EARLIER = ".partial-", ".earlier-"
_MADE_FOR = re.compile(r"\.partial-[0-9a-f]{32}-(.+)|\.(.+)\.earlier-[0-9a-f]{32}", re.DOTALL)
# Of a file's name. What stands around it in a leftover's has 42 bytes.
_MOST_BYTES = LONGEST - 42


def partial_name(path: str) -> str:
    """Makes the name, nobody else's, under which a file or folder is made beside its place."""
    return f"{_PARTIAL}{uuid.uuid4().hex}-{_target(path)}"


def earlier_name(path: str) -> str:
    """Makes the name of an earlier folder that is set aside for a new one."""
    return f".{_target(path)}{_EARLIER}{uuid.uuid4().hex}"


def is_leftover(name: str) -> bool:
    """Tells whether a file or folder name is one that a killed writer leaves."""
    return name.startswith(".") and (_PARTIAL in name or _EARLIER in name)


def clear(path: str | os.PathLike) -> bool:
    """Sees to what killed writers of a local file or folder have left beside it.

    Unfinished ones are deleted. An earlier folder that was set aside goes back to its place where
    that is empty: its writer was killed between two names.

    Args:
        path: the file or folder, which may be missing.

    Returns:
        Whether nobody else is writing it now; what a living process has begun stays.
    """
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    found = [os.path.join(folder, name) for name in _listed(folder) if _is_of(path, name)]
    is_free = True
    for leftover in found:
        if locks.is_held(leftover):
            is_free = False
        else:
            _settle(leftover, path if _EARLIER in os.path.basename(leftover) else None)
    return is_free


def earlier(path: str | os.PathLike) -> str | None:
    """Returns what was set aside of a path that is missing, until `clear` puts it back."""
    path = os.path.realpath(path)
    folder = os.path.dirname(path)
    found = [name for name in _listed(folder) if _is_of(path, name) and _EARLIER in name]
    return os.path.join(folder, found[0]) if found and not os.path.lexists(path) else None


def sweep(folder: str | os.PathLike) -> None:
    """Sees to what killed writers have left anywhere below a folder, as `clear` does."""
    for parent, folders, names in os.walk(folder):
        for name in [*folders, *names]:
            path = os.path.join(parent, name)
            if not is_leftover(name) or locks.is_held(path):
                continue
            _settle(path, _place(path))
            if name in folders:
                folders.remove(name)


def _listed(folder: str) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError:
        return []


def _settle(leftover: str, place: str | None) -> None:
    """Puts an earlier folder back to its place, where that is empty, or deletes a leftover."""
    if place is not None and not os.path.lexists(place):
        os.rename(leftover, place)
    else:
        _remove(leftover)


def _place(leftover: str) -> str | None:
    """Returns where an earlier folder was; None for what is unfinished."""
    folder, name = os.path.split(leftover)
    match = _MADE_FOR.fullmatch(name)
    return os.path.join(folder, match[2]) if match and match[2] else None


def _is_of(path: str, name: str) -> bool:
    """Whether a name beside `path` is a leftover of its own."""
    match = _MADE_FOR.fullmatch(name)
    return match is not None and (match[1] or match[2]) == _target(path)


def _target(path: str) -> str:
    """Returns what a leftover's name says of its place: the name, or the end of a long one."""
    name = os.path.basename(path)
    while len(os.fsencode(name)) > _MOST_BYTES:
        name = name[1:]
    return name


def _remove(path: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        os.remove(path)
