"""A reader of PyTorch checkpoints into NumPy arrays, without PyTorch or foreign code.

A checkpoint is a pickle whose tensors refer to storages: since PyTorch 1.6 in a zip archive, one
member per storage; before that, one after the other behind the pickle. A pickle may name any
function to be called on loading. The unpickler here knows tensors, parameters and ordered
dictionaries and refuses every other name, and it checks every tensor against the size of its
storage before looking into it.
"""

import collections
import dataclasses
import io
import math
import pathlib
import pickle
import sys
import zipfile
from collections.abc import Callable
from typing import Any, BinaryIO

import numpy as np

from c3tf.errors import UserError


class CheckpointError(UserError):
    """A file is not a PyTorch checkpoint that can be read safely."""


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


def read(path: str | pathlib.Path) -> dict[str, np.ndarray]:
    """Reads the named tensors of a checkpoint.

    A state dict is found at the top, or under `"state_dict"` or `"model"`; the prefix `module.`
    that `DataParallel` writes is taken away.

    Args:
        path: file written by `torch.save`, in the zip or the legacy format.

    Returns:
        One array per tensor, in the file's order.

    Raises:
        CheckpointError: the file is missing, truncated, of another kind, or names something that
            is no tensor.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise CheckpointError(f"There is no checkpoint file {path}.")
    try:
        content = _read_zip(path) if zipfile.is_zipfile(path) else _read_legacy(path)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: {error}") from error
    except Exception as error:  # A damaged pickle fails in any way whatever.
        raise CheckpointError(
            f"{path} is not a PyTorch checkpoint, or it is damaged: {error!r}"
        ) from error
    return _state_dict(content, path)


def _state_dict(content: Any, path: pathlib.Path) -> dict[str, np.ndarray]:
    """Finds the named tensors in what a checkpoint holds."""
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise CheckpointError(
            f"{path} must hold a state dict (`torch.save(model.state_dict(), path)`). "
            f"Received: {type(content).__name__}"
        )
    tensors = {
        str(name).removeprefix("module."): value
        for name, value in content.items()
        if isinstance(value, np.ndarray)
    }
    if not tensors:
        raise CheckpointError(
            f"{path} must hold a state dict of tensors. Received the keys: {list(content)[:5]}"
        )
    return tensors


@dataclasses.dataclass
class _Storage:
    """Flat memory that tensors are views of; in the legacy format it is filled last."""

    dtype: np.dtype
    count: int
    data: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class _View:
    """A tensor as the pickle describes it, before its storage is filled."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def array(self) -> np.ndarray:
        """Copies the tensor out of its storage."""
        data = self.storage.data
        if data is None:
            raise CheckpointError("a tensor's storage is missing")
        numbers = (self.offset, *self.shape, *self.strides)
        if len(self.shape) != len(self.strides) or any(
            not isinstance(v, int) or v < 0 for v in numbers
        ):
            raise CheckpointError(f"a tensor's shape {self.shape} or strides are not valid")
        size = math.prod(self.shape)
        last = self.offset + sum(
            (n - 1) * step for n, step in zip(self.shape, self.strides, strict=True)
        )
        if size and (size > data.size or last >= data.size):
            raise CheckpointError(
                f"a tensor of shape {self.shape} reaches beyond its storage of {data.size} values"
            )
        if not size:
            return np.zeros(self.shape, data.dtype)
        view = np.lib.stride_tricks.as_strided(
            data[self.offset :],
            self.shape,
            tuple(step * data.itemsize for step in self.strides),
            writeable=False,
        )
        return np.array(view)


def _rebuild_tensor(storage: _Storage, offset: int, shape: tuple, strides: tuple, *_: Any) -> _View:
    """Stands for `torch._utils._rebuild_tensor_v2`; gradients and hooks are of no use here."""
    if not isinstance(storage, _Storage):
        raise CheckpointError("a tensor refers to something that is no storage")
    return _View(storage, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(data: _View, *_: Any) -> _View:
    """Stands for `torch._utils._rebuild_parameter`: a parameter is its tensor."""
    return data


class _Unpickler(pickle.Unpickler):
    """An unpickler that can build tensors and dictionaries, and nothing else."""

    def __init__(self, file: BinaryIO, storage_of: Callable[[np.dtype, str, int], _Storage]):
        super().__init__(file, encoding="utf-8")
        self._storage_of = storage_of

    def find_class(self, module: str, name: str) -> Any:
        """Resolves the few names that a state dict needs."""
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _rebuild_parameter
        if module == "torch" and name in _STORAGES:
            return _STORAGES[name]
        raise CheckpointError(
            f"the checkpoint names {module}.{name}, which is not part of a plain state dict and is "
            "not loaded. Save `model.state_dict()` alone"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        """Resolves a reference to a storage."""
        if not isinstance(pid, tuple) or len(pid) < 5 or pid[0] != "storage":
            raise CheckpointError(f"the checkpoint holds an unknown reference {pid!r}")
        _, dtype, key, _, count = pid[:5]
        if not isinstance(dtype, np.dtype) or not isinstance(count, int) or count < 0:
            raise CheckpointError(f"the checkpoint holds an unknown storage {pid!r}")
        if len(pid) > 5 and pid[5] is not None:
            raise CheckpointError("views of storages (PyTorch before 0.4) are not supported")
        return self._storage_of(dtype, str(key), count)


def _read_zip(path: pathlib.Path) -> Any:
    """Reads the zip format: `<root>/data.pkl` and one member `<root>/data/<key>` per storage."""
    with zipfile.ZipFile(path) as archive:
        names = [n for n in archive.namelist() if n.endswith("/data.pkl") or n == "data.pkl"]
        if len(names) != 1:
            raise CheckpointError("this zip archive is not a PyTorch checkpoint")
        root = names[0].removesuffix("data.pkl")
        if f"{root}byteorder" in archive.namelist() and archive.read(f"{root}byteorder") != (
            b"little"
        ):
            raise CheckpointError("only checkpoints written in little-endian order are supported")
        storages: dict[str, _Storage] = {}

        def storage_of(dtype: np.dtype, key: str, count: int) -> _Storage:
            if key not in storages:
                member = archive.getinfo(f"{root}data/{key}")
                if member.file_size != count * dtype.itemsize:
                    raise CheckpointError(
                        f"storage {key} must have {count * dtype.itemsize} bytes. "
                        f"Received: {member.file_size}"
                    )
                data = np.frombuffer(archive.read(member), dtype)
                storages[key] = _Storage(dtype, count, data)
            return storages[key]

        content = _Unpickler(io.BytesIO(archive.read(names[0])), storage_of).load()
        return _resolve(content)


def _read_legacy(path: pathlib.Path) -> Any:
    """Reads the legacy format: five pickles, then every storage as a count and its values."""
    storages: dict[str, _Storage] = {}

    def storage_of(dtype: np.dtype, key: str, count: int) -> _Storage:
        return storages.setdefault(key, _Storage(dtype, count))

    with path.open("rb") as file:
        if _Unpickler(file, storage_of).load() != _MAGIC:
            raise CheckpointError("this file is not a PyTorch checkpoint")
        if _Unpickler(file, storage_of).load() != _PROTOCOL:
            raise CheckpointError("this checkpoint is of an unknown protocol")
        if _Unpickler(file, storage_of).load().get("little_endian") is not True:
            raise CheckpointError("only checkpoints written in little-endian order are supported")
        content = _Unpickler(file, storage_of).load()
        for key in _Unpickler(file, storage_of).load():
            storage = storages[key]
            count = int.from_bytes(file.read(8), sys.byteorder, signed=True)
            data = file.read(storage.count * storage.dtype.itemsize)
            if count != storage.count or len(data) != count * storage.dtype.itemsize:
                raise CheckpointError(f"the file ends early or is damaged at storage {key}")
            storage.data = np.frombuffer(data, storage.dtype)
    return _resolve(content)


def _resolve(content: Any) -> Any:
    """Turns the tensors of nested dictionaries and lists into arrays."""
    if isinstance(content, _View):
        return content.array()
    if isinstance(content, dict):
        return {key: _resolve(value) for key, value in content.items()}
    if isinstance(content, list | tuple):
        return [_resolve(value) for value in content]
    return content
