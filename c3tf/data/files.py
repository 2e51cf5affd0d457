"""File access for data sets: plain for local paths, through `tf.io.gfile` for `gs://` and friends.

Conversion workers are many and short of memory, and none of them needs TensorFlow for a local
file. It is imported here only when a path names another file system.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from types import ModuleType
from typing import BinaryIO

from c3tf.errors import UserError

_CHUNK_BYTES = 1 << 20
_PARTIAL = ".partial-"
# What a file system that cannot flush a file or folder answers.
_NO_FLUSH = (errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.ENOSYS)


def is_remote(path: str) -> bool:
    """Tells whether `path` names a file system other than the local one (`gs://...`)."""
    return "://" in path


@contextlib.contextmanager
def _remote(path: str) -> Iterator[ModuleType]:
    """Imports TensorFlow's file layer, whose errors become the `OSError` of local files."""
    from tensorflow import errors
    from tensorflow.io import gfile

    try:
        yield gfile
    except errors.OpError as error:
        code = errno.ENOENT if isinstance(error, errors.NotFoundError) else errno.EIO
        text = error.message.partition("\n")[0] or os.strerror(code)
        raise OSError(code, text, path) from error


def join(*parts: str) -> str:
    """Joins path parts; works for local and remote paths."""
    return os.path.join(*parts)


def absolute(path: str) -> str:
    """Returns the same path from wherever it is used; a remote one already is."""
    return path if is_remote(path) else os.path.abspath(path)


def exists(path: str) -> bool:
    """Tells whether a file or directory is there."""
    if not is_remote(path):
        return os.path.exists(path)
    with _remote(path) as gfile:
        return gfile.exists(path)


def is_dir(path: str) -> bool:
    """Tells whether `path` is a directory."""
    if not is_remote(path):
        return os.path.isdir(path)
    with _remote(path) as gfile:
        return gfile.isdir(path)


def list_dir(path: str) -> list[str]:
    """Returns the sorted names in a directory, hidden files left out.

    Archives made on a Mac carry a `._x.png` beside every `x.png`; those are no images.
    """
    return sorted(name for name in _names(path) if not name.startswith("."))


def _names(path: str) -> list[str]:
    """Returns all names in a directory."""
    if not is_remote(path):
        return os.listdir(path)
    with _remote(path) as gfile:
        return [name.rstrip("/") for name in gfile.listdir(path)]


def size(path: str) -> int:
    """Returns the length of a file in bytes."""
    if not is_remote(path):
        return os.path.getsize(path)
    with _remote(path) as gfile:
        return gfile.stat(path).length


def make_dirs(path: str) -> None:
    """Makes a directory and its parents; one that exists is fine."""
    if not is_remote(path):
        os.makedirs(path, exist_ok=True)
        return
    with _remote(path) as gfile:
        gfile.makedirs(path)


def rename(source: str, target: str) -> None:
    """Renames a file, replacing `target`."""
    if not is_remote(source):
        os.replace(source, target)
        return
    with _remote(source) as gfile:
        gfile.rename(source, target, overwrite=True)


def remove(path: str) -> None:
    """Deletes a file."""
    if not is_remote(path):
        os.remove(path)
        return
    with _remote(path) as gfile:
        gfile.remove(path)


def remove_partials(path: str) -> None:
    """Deletes what a killed process left of unfinished files in a directory."""
    for name in filter(is_partial, _names(path)):
        remove(join(path, name))


def remove_tree(path: str) -> None:
    """Deletes a directory with all it holds; one that is not there is fine."""
    if not is_dir(path):
        return
    if not is_remote(path):
        shutil.rmtree(path)
        return
    with _remote(path) as gfile:
        gfile.rmtree(path)


@contextlib.contextmanager
def _opened(path: str, mode: str) -> Iterator[BinaryIO]:
    """Opens a file in a binary mode."""
    if not is_remote(path):
        with open(path, mode) as file:
            yield file
        return
    with _remote(path) as gfile, gfile.GFile(path, mode) as file:
        yield file


def read_bytes(path: str) -> bytes:
    """Returns the contents of a file."""
    with _opened(path, "rb") as file:
        return file.read()


def read_text(path: str) -> str:
    """Returns the contents of a UTF-8 text file, without the mark Windows puts at its begin."""
    return read_bytes(path).decode("utf-8-sig")


def write_text(path: str, text: str) -> None:
    """Writes a UTF-8 text file; it is there whole or not at all."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path: str, data: bytes) -> None:
    """Writes a file beside its place, then renames it: it is there whole or not at all."""
    if not is_remote(path):
        with whole(path) as file:
            file.write(data)
        return
    folder, name = os.path.split(path)
    beside = join(folder, f".{name}{_PARTIAL}{uuid.uuid4().hex}")
    with _opened(beside, "wb") as file:
        file.write(data)
    rename(beside, path)


def check_writable(path: str, flag: str) -> None:
    """Refuses a path that no file can be written to, before time is spent on what it would hold.

    Args:
        path: the file to write later; missing folders are made.
        flag: the flag that names it or its folder, for the error.

    Raises:
        UserError: the path is a folder, or its folder cannot be made or takes no file.
    """
    folder = os.path.dirname(path) or os.curdir
    try:
        if is_dir(path):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        make_dirs(folder)
        if not is_remote(path):
            with tempfile.TemporaryFile(dir=folder):
                pass
    except OSError as error:
        raise UserError(
            f"`--{flag}` must name a place that can be written to. Received: {path} ({error})"
        ) from error


@contextlib.contextmanager
def whole(path: str | os.PathLike, durable: bool = True) -> Iterator[BinaryIO]:
    """Opens a local file that takes the place of `path` when the block ends without an error.

    It is written beside `path` and renamed, so that no reader ever sees half of it.

    Args:
        path: the file; an existing one is replaced. Its folder must exist.
        durable: flush the file and its folder to the disk, so that it outlives a power cut.

    Yields:
        The file, open for writing and reading.
    """
    folder, name = os.path.split(os.fspath(path))
    beside = os.path.join(folder, f".{name}{_PARTIAL}{os.getpid()}")
    try:
        with open(beside, "w+b") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        os.replace(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(beside)
        raise
    if durable:
        sync(folder or os.curdir)


def is_partial(name: str) -> bool:
    """Tells whether a file or folder name is that of an unfinished result, as `whole` names it."""
    return name.startswith(".") and _PARTIAL in name


def sync(path: str) -> None:
    """Flushes a local file, or the names in a local folder, to the disk: it outlives a power cut.

    A remote file is stored once it is closed.

    Args:
        path: the file or folder.

    Raises:
        OSError: the disk is full or broken; not where a file system cannot flush.
    """
    if is_remote(path):
        return
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FLUSH:
            raise
    finally:
        os.close(descriptor)


def sha256(path: str) -> str:
    """Returns the SHA-256 of a file as 64 hex digits, reading it piece by piece."""
    digest = hashlib.sha256()
    with _opened(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
