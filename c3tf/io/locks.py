"""Locks between processes, which are gone with the process that holds them, however it ends."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator

from absl import logging

from c3tf.errors import UserError

_BUSY = (errno.EAGAIN, errno.EACCES)


@contextlib.contextmanager
def alone(path: str | os.PathLike, busy: UserError, advice: str) -> Iterator[None]:
    """Keeps other processes out of a folder or file that exists.

    Args:
        path: the folder or file; the lock lies on it.
        busy: raised where another process has it.
        advice: what to mind where the file system knows no locks, for a warning.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if not _take(descriptor, path, advice):
            raise busy
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def trying(path: str) -> Iterator[bool]:
    """Makes a file and locks it, and says whether that was possible.

    The file is open for writing, without which NFS gives no lock that other machines see. It stays:
    whoever removed it could remove one that another process has just locked.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield _take(descriptor, path, "start only one run there.")
    finally:
        os.close(descriptor)


def hold(descriptor: int) -> None:
    """Marks an open file as one that is being written, until it is closed."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def holding(path: str) -> Iterator[None]:
    """Marks a file or folder as `hold` does, as long as the block runs."""
    descriptor = _open(path)
    try:
        hold(descriptor)
        yield
    finally:
        os.close(descriptor)


def is_held(path: str) -> bool:
    """Tells whether a living process holds a file or folder; false where nobody can say."""
    try:
        descriptor = _open(path)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return error.errno in _BUSY
    finally:
        os.close(descriptor)
    return False


def _take(descriptor: int, path: str | os.PathLike, advice: str) -> bool:
    """Locks what is open until it is closed; false where another process holds it."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            return False
        logging.warning("%s cannot be locked (%s): %s", path, error, advice)
    return True


def _open(path: str) -> int:
    """Opens a file or folder to be locked: for writing where that is possible, as NFS wants it."""
    try:
        return os.open(path, os.O_RDWR | os.O_NONBLOCK)
    except OSError:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK)
