"""One checkpoint file: a NumPy archive with named arrays, a JSON text of facts, and a checksum.

The archive is an ordinary `.npz`. Its ZIP comment holds the SHA-256 of everything before it, so
the checksum travels with the file and `numpy.load` still reads it.
"""

import hashlib
import json
import os
import re
import zipfile
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from absl import logging

from c3tf.errors import UserError
from c3tf.io import array_files, files, json_files, schema

_FACTS = "facts"
_STATED = schema.record(
    {
        "config": schema.named(schema.thing),
        "has_teacher": schema.flag,
        "label_map": schema.thing,
        "network": schema.text,
        "step": schema.integer(),
    },
    {
        "split": schema.text,
        "image_height": schema.optional(schema.integer(1)),
        "best": schema.number(),
        "is_best": schema.flag,
        "evaluation_due": schema.flag,
    },
)
# What NumPy and zipfile raise for files that are damaged or something else.
_UNREADABLE = (OSError, ValueError, KeyError, EOFError, TypeError, RuntimeError, zipfile.BadZipFile)

# A ZIP archive ends with the length of its comment, two bytes, and the comment.
_LENGTH_BYTES = 2
_MARK = b"sha256:"
_COMMENT = re.compile(rb"^sha256:([0-9a-f]{64})$")
_COMMENT_BYTES = len(_MARK) + 2 * hashlib.sha256().digest_size
_CHUNK_BYTES = 1 << 20


class CheckpointError(UserError):
    """A checkpoint is missing, damaged, or does not fit."""


def write(path: str, arrays: dict[str, np.ndarray], facts: dict[str, Any]) -> None:
    """Writes a checkpoint; a file of that name is whole and on the disk, or is not there.

    Args:
        path: the file; an existing one is replaced.
        arrays: arrays by name.
        facts: JSON data.
    """
    with files.whole(path) as file:
        np.savez(file, **{_FACTS: np.array(json.dumps(facts))}, **arrays)
        file.flush()
        size = file.seek(0, os.SEEK_END)
        digest, _ = _digests(file, size)
        file.seek(size - _LENGTH_BYTES)
        file.write(_COMMENT_BYTES.to_bytes(_LENGTH_BYTES, "little"))
        file.write(_MARK + digest.encode("ascii"))


class Contents(NamedTuple):
    """What a checkpoint file holds, its arrays by name, and the SHA-256 of all its bytes."""

    facts: dict[str, Any]
    arrays: dict[str, np.ndarray]
    sha256: str


def read(path: str) -> Contents:
    """Reads a checkpoint file and checks it against its checksum.

    Raises:
        CheckpointError: the file is missing, damaged, or no checkpoint.
    """
    try:
        with open(path, "rb") as file:
            array_files.check_size(file)
            sha256 = _verify(path, file)
            arrays = array_files.read_npz(file)
        facts = json_files.parse(str(arrays.pop(_FACTS)))
        _STATED(facts, "")
    except FileNotFoundError as error:
        raise CheckpointError(f"There is no checkpoint {path}.") from error
    except _UNREADABLE as error:
        raise CheckpointError(f"{path} is damaged or no checkpoint: {error}") from error
    return Contents(facts, arrays, sha256)


def _verify(path: str, file: BinaryIO) -> str:
    """Compares a file with the checksum in its comment; returns that of the whole file."""
    with array_files.open_archive(file) as archive:
        comment = archive.comment
    file.seek(-_LENGTH_BYTES, os.SEEK_END)
    if not comment and not any(file.read()):
        logging.warning("%s has no checksum: an earlier version wrote it.", path)
        return _digests(file, file.seek(0, os.SEEK_END))[1]
    stated = _COMMENT.match(comment)
    digest, whole = _digests(file, file.seek(0, os.SEEK_END) - _COMMENT_BYTES)
    if stated is None or stated[1].decode("ascii") != digest:
        raise ValueError("its SHA-256 is not the one it was written with")
    return whole


def _digests(file: BinaryIO, size: int) -> tuple[str, str]:
    """Returns the SHA-256 of the first `size` bytes, an archive without its comment, and of all."""
    digest = hashlib.sha256()
    file.seek(0)
    left = size - _LENGTH_BYTES
    while left > 0 and (chunk := file.read(min(left, _CHUNK_BYTES))):
        digest.update(chunk)
        left -= len(chunk)
    whole = digest.copy()
    whole.update(file.read())
    # As it was before the comment came: of length 0.
    digest.update(bytes(_LENGTH_BYTES))
    return digest.hexdigest(), whole.hexdigest()
