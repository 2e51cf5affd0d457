"""Locks between processes, which are gone with the process that holds them, however it ends."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator

from absl import logging


def take(descriptor: int, path: str) -> bool:
    """Locks what is open until it is closed.

    Args:
        descriptor: of the open file or folder.
        path: what a warning calls it, where its file system knows no locks.

    Returns:
        False where another process holds it.
    """
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        logging.warning("%s cannot be locked (%s): start only one run there.", path, error)
    return True


@contextlib.contextmanager
def trying(path: str) -> Iterator[bool]:
    """Makes a file and locks it, and says whether that was possible.

    The file is open for writing, without which NFS gives no lock that other machines see. It stays:
    whoever removed it could remove one that another process has just locked.
    """
    os.makedirs(os.path.dirname(path), exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        yield take(descriptor, path)
    finally:
        os.close(descriptor)
