"""Reads PyTorch checkpoints into NumPy arrays, without PyTorch and without running foreign code.

A checkpoint is a pickle whose tensors refer to storages: since PyTorch 1.6 in a zip archive, one
member per storage; before that, one after the other behind the pickle. A pickle may name any
function to be called on loading; here tensors, parameters and ordered dictionaries are known and
every other name is refused. What a file declares (operations, storages, tensors) is held against
its own size before memory is taken for it; see docs/security.md for the limits.
"""

import dataclasses
import enum
import functools
import io
import math
import pathlib
import sys
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from c3tf.errors import UserError
from c3tf.io import array_files
from c3tf.nets import pickles
from c3tf.nets.pickles import short


class CheckpointError(UserError):
    """A file is not a PyTorch checkpoint that can be read safely."""


# The pickles of a file, without its storages.
MOST_PICKLE_BYTES = 64 << 20
# Bytes of all tensors together, by the file's: tensors may share a storage, as tied weights do.
MOST_SHARING = 4
_MOST_DIMENSIONS = 32
_MOST_INDEX = 2**62

_MAGIC = 0x1950A86A20F9469CFC6C
_PROTOCOL = 1001

_STORAGES = {
    "DoubleStorage": np.dtype("<f8"),
    "FloatStorage": np.dtype("<f4"),
    "HalfStorage": np.dtype("<f2"),
    "LongStorage": np.dtype("<i8"),
    "IntStorage": np.dtype("<i4"),
    "ShortStorage": np.dtype("<i2"),
    "CharStorage": np.dtype("i1"),
    "ByteStorage": np.dtype("u1"),
    "BoolStorage": np.dtype("?"),
}


class _Known(enum.Enum):
    """What a pickle may call; a note of it, with nothing to be changed about it."""

    DICTIONARY = ("collections", "OrderedDict")
    TENSOR = ("torch._utils", "_rebuild_tensor_v2")
    PARAMETER = ("torch._utils", "_rebuild_parameter")


def read(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Reads the named tensors of a checkpoint.

    A state dict is found at the top, or under `"state_dict"` or `"model"`; the prefix `module.`
    that `DataParallel` writes is taken away.

    Args:
        path: file written by `torch.save`, in the zip or the legacy format.

    Returns:
        One array per tensor, in the file's order.

    Raises:
        CheckpointError: the file is missing, truncated, of another kind, declares more than it
            holds, or names something that is no tensor.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint file {path}.")
    try:
        with path.open("rb") as file:
            size = array_files.check_size(file)
            content = (
                _read_zip(file, size) if zipfile.is_zipfile(file) else _read_legacy(file, size)
            )
            return _arrays(_state_dict(content), size)
    except (CheckpointError, pickles.PickleError, array_files.ArrayFileError) as error:
        raise CheckpointError(f"{path}: {error}") from error
    except Exception as error:  # A damaged file fails in any way whatever.
        raise CheckpointError(
            f"{path} is not a PyTorch checkpoint, or it is damaged: "
            f"{type(error).__name__} {short(str(error))}"
        ) from error


@dataclasses.dataclass
class _Storage:
    """Flat memory that tensors are views of, read when the first of them is."""

    dtype: np.dtype
    count: int
    read: Callable[[], bytes] | None = None
    _data: np.ndarray | None = None

    @property
    def data(self) -> np.ndarray:
        if self._data is None:
            if self.read is None:
                raise CheckpointError("a tensor's storage is missing")
            self._data = np.frombuffer(self.read(), self.dtype, self.count)
        return self._data


@dataclasses.dataclass(frozen=True)
class _View:
    """A tensor as the pickle describes it."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def check(self) -> None:
        """Refuses a tensor that is none, or that is not inside its storage."""
        lengths = (self.shape, self.strides)
        if not isinstance(self.storage, _Storage):
            raise CheckpointError("a tensor refers to something that is no storage")
        if any(not isinstance(v, tuple) or len(v) > _MOST_DIMENSIONS for v in lengths) or any(
            # Larger ones would take their time to be multiplied.
            not isinstance(v, int) or not 0 <= v < _MOST_INDEX
            for v in (self.offset, *self.shape, *self.strides)
        ):
            raise CheckpointError("a tensor's shape or strides are not valid")
        if len(self.shape) != len(self.strides):
            raise CheckpointError(f"a tensor of {len(self.shape)} axes has other strides")
        last = self.offset + sum(
            (n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)
        )
        count = self.storage.count
        if self.size and (self.size > count or last >= count):
            raise CheckpointError(
                f"a tensor of {short(self.size)} values reaches beyond its storage of {count}"
            )

    def array(self) -> np.ndarray:
        """Copies the tensor out of its storage."""
        if not self.size:
            return np.zeros(self.shape, self.storage.dtype)
        data = self.storage.data
        view = np.lib.stride_tricks.as_strided(
            data[self.offset :],
            self.shape,
            tuple(step * data.itemsize for step in self.strides),
            writeable=False,
        )
        return np.array(view)


def _state_dict(content: Any) -> dict[str, _View]:
    """Finds the named tensors in what a checkpoint holds."""
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise CheckpointError(
            "it must hold a state dict (`torch.save(model.state_dict(), path)`). "
            f"Received: {short(content)}"
        )
    views = {
        str(name).removeprefix("module."): value
        for name, value in content.items()
        if isinstance(value, _View)
    }
    if not views:
        keys = ", ".join(short(key) for key in list(content)[:5])
        raise CheckpointError(f"it must hold a state dict of tensors. Received the keys: {keys}")
    return views


def _arrays(views: dict[str, _View], size: int) -> dict[str, np.ndarray]:
    """Copies tensors out of a file of `size` bytes, when they cannot be more than it holds."""
    for view in views.values():
        view.check()
    total = sum(view.size * view.storage.dtype.itemsize for view in views.values())
    if total > MOST_SHARING * size:
        raise CheckpointError(
            f"its tensors declare {short(total)} bytes, more than {MOST_SHARING} times the file's "
            f"{size}"
        )
    return {name: view.array() for name, view in views.items()}


def _named(module: str, name: str) -> _Known | np.dtype:
    """Resolves the few names that a state dict needs."""
    if module == "torch" and name in _STORAGES:
        return _STORAGES[name]
    try:
        return _Known((module, name))
    except ValueError as error:
        raise CheckpointError(
            f"the checkpoint names {short(f'{module}.{name}')}, which is not part of a plain "
            "state dict and is not loaded. Save `model.state_dict()` alone"
        ) from error


def _called(function: Any, arguments: tuple, reader: pickles.Reader) -> Any:
    """Stands for the calls of a state dict; gradients and hooks are of no use here."""
    if function is _Known.DICTIONARY:
        result: dict = {}
        for pairs in arguments[:1]:
            reader.fill(result, pairs)
        return result
    if function is _Known.TENSOR:
        return _View(*arguments[:4])
    if function is _Known.PARAMETER:
        return arguments[0]
    raise CheckpointError("the checkpoint calls something that is no function")


def _reader(
    stream: BinaryIO, storage_of: Callable[[np.dtype, str, int], _Storage]
) -> pickles.Reader:
    """Makes a reader of a checkpoint's pickles; `storage_of` finds a storage by its key."""

    def referred(pid: Any) -> _Storage:
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise CheckpointError("the checkpoint holds an unknown reference")
        _, dtype, key, _, count = pid[:5]
        if not (isinstance(dtype, np.dtype) and isinstance(key, str | int)) or not (
            isinstance(count, int) and 0 <= count <= array_files.MOST_BYTES
        ):
            raise CheckpointError("the checkpoint holds an unknown storage")
        if len(pid) > 5 and pid[5] is not None:
            raise CheckpointError("views of storages (PyTorch before 0.4) are not supported")
        return storage_of(dtype, str(key), count)

    return pickles.Reader(stream, _named, _called, referred)


def _read_zip(file: BinaryIO, size: int) -> Any:
    """Reads the zip format: `<root>/data.pkl` and one member `<root>/data/<key>` per storage."""
    archive = array_files.open_archive(file)
    members = array_files.members(archive, size)
    names = [n for n in members if n.endswith("/data.pkl") or n == "data.pkl"]
    if len(names) != 1:
        raise CheckpointError("this zip archive is not a PyTorch checkpoint")
    if members[names[0]].file_size > MOST_PICKLE_BYTES:
        raise CheckpointError(f"its pickle has more than {MOST_PICKLE_BYTES} bytes")
    root = names[0].removesuffix("data.pkl")
    order = members.get(f"{root}byteorder")
    if order and (order.file_size > 8 or archive.read(order) != b"little"):
        raise CheckpointError("only checkpoints written in little-endian order are supported")
    storages: dict[str, _Storage] = {}

    def storage_of(dtype: np.dtype, key: str, count: int) -> _Storage:
        if key not in storages:
            member = members[f"{root}data/{key}"]
            if member.file_size != count * dtype.itemsize:
                raise CheckpointError(
                    f"storage {short(key)} must have {count * dtype.itemsize} bytes. "
                    f"Received: {member.file_size}"
                )
            storages[key] = _Storage(dtype, count, lambda: archive.read(member))
        return storages[key]

    return _reader(io.BytesIO(archive.read(names[0])), storage_of).load()


def _read_legacy(file: BinaryIO, size: int) -> Any:
    """Reads the legacy format: five pickles, then every storage as a count and its values."""
    storages: dict[str, _Storage] = {}

    def storage_of(dtype: np.dtype, key: str, count: int) -> _Storage:
        return storages.setdefault(key, _Storage(dtype, count))

    file.seek(0)
    head = io.BytesIO(file.read(min(size, MOST_PICKLE_BYTES)))
    reader = _reader(head, storage_of)
    if reader.load() != _MAGIC:
        raise CheckpointError("this file is not a PyTorch checkpoint")
    if reader.load() != _PROTOCOL:
        raise CheckpointError("this checkpoint is of an unknown protocol")
    if reader.load().get("little_endian") is not True:
        raise CheckpointError("only checkpoints written in little-endian order are supported")
    content = reader.load()
    keys = reader.load()
    # Anything else may take for ever to hash.
    if not isinstance(keys, list) or not all(isinstance(key, str) for key in keys):
        raise CheckpointError("it lists its storages by what is no string")
    at = head.tell()
    for key in keys:
        storage, bytes_ = storages[key], storages[key].count * storages[key].dtype.itemsize
        file.seek(at)
        count = int.from_bytes(file.read(8), sys.byteorder, signed=True)
        at += 8 + bytes_
        if count != storage.count or at > size:
            raise CheckpointError(f"the file ends early or is damaged at storage {short(key)}")
        storage.read = functools.partial(_read_at, file, at - bytes_, bytes_)
    return content


def _read_at(file: BinaryIO, place: int, count: int) -> bytes:
    file.seek(place)
    return file.read(count)
