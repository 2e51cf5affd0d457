"""File access for data sets: plain for local paths, through `tf.io.gfile` for `gs://` and friends.

Conversion workers are many and short of memory, and none of them needs TensorFlow for a local
file. It is imported here only when a path names another file system.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import BinaryIO

from c3tf.io import leftovers, locks, names, tensorflow_errors
from c3tf.io.exchange import exchange

_CHUNK_BYTES = 1 << 20
# What a rename onto something that is not to be replaced answers.
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR)
# What a file system that cannot flush a file or folder answers.
_NO_FLUSH = (errno.EINVAL, errno.EBADF, errno.ENOTSUP, errno.ENOSYS)


def is_remote(path: str | os.PathLike) -> bool:
    """Tells whether `path` names a file system other than the local one (`gs://...`)."""
    return "://" in os.fspath(path)


@contextlib.contextmanager
def through_tensorflow(path: str) -> Iterator[ModuleType]:
    """Imports TensorFlow's file layer, whose errors become the `OSError` of local files.

    Args:
        path: the file or folder that an error names.

    Yields:
        `tf.io.gfile`.
    """
    from tensorflow import errors
    from tensorflow.io import gfile

    try:
        yield gfile
    except errors.OpError as error:
        kinds = {
            errors.NotFoundError: errno.ENOENT,
            errors.PermissionDeniedError: errno.EACCES,
            errors.UnauthenticatedError: errno.EACCES,
        }
        code = kinds.get(type(error), errno.EIO)
        text = tensorflow_errors.reason(error) if error.message else os.strerror(code)
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
    with through_tensorflow(path) as gfile:
        return gfile.exists(path)


def is_dir(path: str) -> bool:
    """Tells whether `path` is a directory."""
    if not is_remote(path):
        return os.path.isdir(path)
    with through_tensorflow(path) as gfile:
        return gfile.isdir(path)


def list_dir(path: str) -> list[str]:
    """Returns the sorted names in a directory, without hidden files and those of a system.

    Archives made on a Mac carry a `._x.png` beside every `x.png`; those are no images.
    """
    return sorted(name for name in _names(path) if not names.is_systems(name))


def _names(path: str) -> list[str]:
    """Returns all names in a directory."""
    if not is_remote(path):
        return os.listdir(path)
    with through_tensorflow(path) as gfile:
        return [name.rstrip("/") for name in gfile.listdir(path)]


def is_device(path: str) -> bool:
    """Tells whether `path`, which must be there, leads to a device, which may never end."""
    mode = 0 if is_remote(path) else os.stat(path).st_mode
    return stat.S_ISCHR(mode) or stat.S_ISBLK(mode)


def size(path: str) -> int:
    """Returns the length of a file in bytes."""
    if not is_remote(path):
        return os.path.getsize(path)
    with through_tensorflow(path) as gfile:
        return gfile.stat(path).length


def make_dirs(path: str) -> None:
    """Makes a directory and its parents; one that exists is fine."""
    if not is_remote(path):
        os.makedirs(path, exist_ok=True)
        return
    with through_tensorflow(path) as gfile:
        gfile.makedirs(path)


def rename(source: str, target: str) -> None:
    """Renames a file, replacing `target`."""
    if not is_remote(source):
        os.replace(source, target)
        return
    with through_tensorflow(source) as gfile:
        gfile.rename(source, target, overwrite=True)


def remove(path: str) -> None:
    """Deletes a file."""
    if not is_remote(path):
        os.remove(path)
        return
    with through_tensorflow(path) as gfile:
        gfile.remove(path)


def remove_partials(path: str) -> None:
    """Deletes what a killed process left of unfinished files in a directory."""
    for name in filter(leftovers.is_leftover, _names(path)):
        remove(join(path, name))


def remove_tree(path: str) -> None:
    """Deletes a directory with all it holds; one that is not there is fine."""
    if not is_dir(path):
        return
    if not is_remote(path):
        shutil.rmtree(path)
        return
    with through_tensorflow(path) as gfile:
        gfile.rmtree(path)


@contextlib.contextmanager
def _opened(path: str, mode: str) -> Iterator[BinaryIO]:
    """Opens a file in a binary mode."""
    if not is_remote(path):
        with open(path, mode) as file:
            yield file
        return
    with through_tensorflow(path) as gfile, gfile.GFile(path, mode) as file:
        yield file


def read_bytes(path: str) -> bytes:
    """Returns the contents of a file."""
    with _opened(path, "rb") as file:
        return file.read()


def read_text(path: str) -> str:
    """Returns the contents of a UTF-8 text file, without the mark Windows puts at its begin."""
    return read_bytes(path).decode("utf-8-sig")


def write_text(path: str, text: str) -> None:
    """Writes a UTF-8 text file, whole or not at all; of names, what is no UTF-8 is escaped."""
    write_bytes(path, text.encode("utf-8", "backslashreplace"))


def write_bytes(path: str, data: bytes) -> None:
    """Writes a file beside its place, then renames it: it is there whole or not at all."""
    if not is_remote(path):
        with whole(path) as file:
            file.write(data)
        return
    beside = _beside(path)
    with _named(path, beside):
        try:
            with _opened(beside, "wb") as file:
                file.write(data)
            rename(beside, path)
        except BaseException:
            with contextlib.suppress(OSError):
                remove(beside)
            raise


@contextlib.contextmanager
def whole(path: str | os.PathLike, durable: bool = True) -> Iterator[BinaryIO]:
    """Opens a local file that takes the place of `path` when the block ends without an error.

    Args:
        path: the file, see `replacing`.
        durable: as there.

    Yields:
        The file, open for writing and reading.

    Raises:
        OSError: it cannot be written; names `path`.
    """
    with replacing(path, durable) as beside, open(beside, "w+b") as file:
        locks.hold(file.fileno())
        yield file


@contextlib.contextmanager
def replacing(path: str | os.PathLike, durable: bool = True) -> Iterator[str]:
    """Names a place beside `path` for a local file or folder that takes its place when it is done.

    No reader ever sees half of it, and what was at `path` stays until the block has ended without
    an error. For a folder see `new_folder`, which tells other processes that it is being made.

    Args:
        path: the file or folder; an existing one is replaced, missing folders above it are made.
        durable: flush everything to the disk, so that it outlives a power cut.

    Yields:
        Where the block is to make it. The name ends as that of `path`, because some writers go
        by the ending.

    Raises:
        OSError: it cannot be written; names `path`.
    """
    with _becoming(path, _move, durable) as beside:
        yield beside


@contextlib.contextmanager
def new_folder(path: str | os.PathLike, replace: bool = False) -> Iterator[str]:
    """Makes a local folder that gets to its place when it is whole, and is held until then.

    While the block runs, `leftovers.clear` tells other processes that it is being made.

    Args:
        path: the folder; missing ones above it are made.
        replace: an earlier one is replaced, with all it holds, when the block has ended without
            an error. Otherwise only an empty one gives way.

    Yields:
        Where it is made: an empty folder beside `path`.

    Raises:
        FileExistsError: something that may not be replaced is at `path` when the block ends.
        OSError: it cannot be written; names `path`.
    """
    with _becoming(path, _move if replace else _move_where_free, folder=True) as beside:
        yield beside


@contextlib.contextmanager
def _becoming(
    path: str | os.PathLike,
    move: Callable[[str, str], None],
    durable: bool = True,
    folder: bool = False,
) -> Iterator[str]:
    """Names a place beside `path`, from where `move` takes what the block has made there."""
    path = os.fspath(path)
    if is_remote(path):
        raise OSError(errno.EINVAL, "Only local files can be written here", path)
    # What a link leads to is replaced, not the link.
    path = os.path.realpath(path) if os.path.islink(path) else path
    above, beside = os.path.dirname(path) or os.curdir, _beside(path)
    os.makedirs(above, exist_ok=True)
    with _named(path, beside), contextlib.ExitStack() as held:
        try:
            if folder:
                os.mkdir(beside)
                held.enter_context(locks.holding(beside))
            yield beside
            if not folder:
                held.enter_context(locks.holding(beside))
            if durable:
                _sync_tree(beside)
            move(beside, path)
        except BaseException:
            _remove(beside)
            raise
        if durable:
            sync(above)


def _beside(path: str) -> str:
    """Names a place beside `path` that is nobody else's: threads and hosts may write at a time."""
    return join(os.path.dirname(path), leftovers.partial_name(path))


@contextlib.contextmanager
def _named(path: str, beside: str) -> Iterator[None]:
    """Lets errors name the file that the user asked for, not the one beside it."""
    try:
        yield
    except OSError as error:
        name = path if error.filename is None else str(error.filename)
        if not name.startswith((path, beside)):
            raise
        text = (error.strerror or str(error)).replace(beside, path)
        raise OSError(error.errno or errno.EIO, text, name.replace(beside, path)) from error


def _move(beside: str, path: str) -> None:
    """Puts what is finished in its place; an earlier folder goes only when this has worked."""
    if not (os.path.isdir(beside) and os.path.isdir(path)):
        os.replace(beside, path)
        return
    if exchange(beside, path):
        shutil.rmtree(beside)
        return
    # Between these two names there is no folder; `leftovers.clear` puts the earlier one back.
    earlier = os.path.join(os.path.dirname(path), leftovers.earlier_name(path))
    os.rename(path, earlier)
    try:
        os.rename(beside, path)
    except OSError:
        os.rename(earlier, path)
        raise
    shutil.rmtree(earlier)


def _move_where_free(beside: str, path: str) -> None:
    """Puts a folder in its place, where at most an empty one is."""
    try:
        os.rename(beside, path)
    except OSError as error:
        if error.errno not in _TAKEN:
            raise
        raise FileExistsError(errno.EEXIST, "Something else has been put there", path) from error


def _remove(path: str) -> None:
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
        return
    with contextlib.suppress(OSError):
        os.remove(path)


def _sync_tree(path: str) -> None:
    """Flushes a local file, or a folder with all it holds."""
    for folder, _, held in os.walk(path):
        for name in held:
            sync(os.path.join(folder, name))
        sync(folder)
    if not os.path.isdir(path):
        sync(path)


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
