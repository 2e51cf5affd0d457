"""File access for data sets: plain for local paths, through `tf.io.gfile` for `gs://` and friends.

Conversion workers are many and short of memory, and none of them needs TensorFlow for a local
file. It is imported here only when a path names another file system.
"""

import hashlib
import os
import shutil
from types import ModuleType

_CHUNK_BYTES = 1 << 20


def is_remote(path: str) -> bool:
    """Tells whether `path` names a file system other than the local one (`gs://...`)."""
    return "://" in path


def _gfile() -> ModuleType:
    """Imports TensorFlow's file layer, which local paths never need."""
    from tensorflow.io import gfile

    return gfile


def join(*parts: str) -> str:
    """Joins path parts; works for local and remote paths."""
    return os.path.join(*parts)


def exists(path: str) -> bool:
    """Tells whether a file or directory is there."""
    return _gfile().exists(path) if is_remote(path) else os.path.exists(path)


def is_dir(path: str) -> bool:
    """Tells whether `path` is a directory."""
    return _gfile().isdir(path) if is_remote(path) else os.path.isdir(path)


def list_dir(path: str) -> list[str]:
    """Returns the sorted names in a directory, hidden files left out.

    Archives made on a Mac carry a `._x.png` beside every `x.png`; those are no images.
    """
    names = _gfile().listdir(path) if is_remote(path) else os.listdir(path)
    return sorted(name.rstrip("/") for name in names if not name.startswith("."))


def size(path: str) -> int:
    """Returns the length of a file in bytes."""
    return _gfile().stat(path).length if is_remote(path) else os.path.getsize(path)


def make_dirs(path: str) -> None:
    """Makes a directory and its parents; one that exists is fine."""
    if is_remote(path):
        _gfile().makedirs(path)
    else:
        os.makedirs(path, exist_ok=True)


def rename(source: str, target: str) -> None:
    """Renames a file, replacing `target`."""
    if is_remote(source):
        _gfile().rename(source, target, overwrite=True)
    else:
        os.replace(source, target)


def remove_tree(path: str) -> None:
    """Deletes a directory with all it holds; one that is not there is fine."""
    if is_remote(path):
        if _gfile().exists(path):
            _gfile().rmtree(path)
    elif os.path.isdir(path):
        shutil.rmtree(path)


def read_bytes(path: str) -> bytes:
    """Returns the contents of a file."""
    if is_remote(path):
        with _gfile().GFile(path, "rb") as file:
            return file.read()
    with open(path, "rb") as file:
        return file.read()


def read_text(path: str) -> str:
    """Returns the contents of a UTF-8 text file."""
    return read_bytes(path).decode("utf-8")


def write_text(path: str, text: str) -> None:
    """Writes a UTF-8 text file beside its place, then renames it: it is there whole or not."""
    beside = f"{path}.partial"
    if is_remote(path):
        with _gfile().GFile(beside, "wb") as file:
            file.write(text.encode("utf-8"))
    else:
        with open(beside, "wb") as file:
            file.write(text.encode("utf-8"))
    rename(beside, path)


def sha256(path: str) -> str:
    """Returns the SHA-256 of a file as 64 hex digits, reading it piece by piece."""
    digest = hashlib.sha256()
    with _gfile().GFile(path, "rb") if is_remote(path) else open(path, "rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
