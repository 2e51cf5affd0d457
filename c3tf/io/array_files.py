"""Files of arrays that may come from anywhere: read within what they declare, and alone.

Before memory is taken for an array, its declared size is held against the file that declares it,
and a file can only hold its own contents: no link, virtual data set or external storage makes
another file part of it.
"""

import contextlib
import math
import mmap
import os
import pathlib
import zipfile
from collections.abc import Iterator
from typing import BinaryIO

import h5py
import numpy as np

# A run of ResNet-101 with teacher and optimizer writes checkpoints of 1 GB.
MOST_BYTES = 4 << 30
# Members of an archive, or groups and data sets of an HDF5 file.
MOST_OBJECTS = 100_000
# Bytes of an archive's directory, which `zipfile` reads at once: 170,000 members at most.
MOST_DIRECTORY_BYTES = 8 << 20
# Groups within groups of an HDF5 file.
MOST_DEPTH = 16
# Attributes of one object; HDF5 takes as many steps to find each of them.
MOST_ATTRIBUTES = 100
# Bytes of the strings of an attribute that may all refer to the same one.
MOST_TEXT_BYTES = 1 << 30

# What a heap of HDF5 begins with, version 1; and the bytes before it and each of its objects.
_HEAP, _HEAP_HEADER = b"GCOL\x01", 16


class ArrayFileError(ValueError):
    """A file declares more than it holds or than is read, or refers to other files."""


def check_size(file: BinaryIO) -> int:
    """Returns a file's size in bytes, and refuses one above `MOST_BYTES`."""
    size = os.fstat(file.fileno()).st_size
    if size > MOST_BYTES:
        raise ArrayFileError(f"it has {size} bytes, more than the {MOST_BYTES} that are read")
    return size


class _Archive:
    """A file that gives no more at a time than an archive's directory may have."""

    def __init__(self, file: BinaryIO) -> None:
        self._file, self._size, self._most = file, check_size(file), MOST_DIRECTORY_BYTES
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, count: int = -1) -> bytes:
        """Reads bytes, of which there are not too many."""
        count = count if count >= 0 else self._size - self.tell()
        if self._most and count > self._most:
            raise ArrayFileError(f"its directory has {count} bytes, more than {self._most}")
        return self._file.read(count)

    def opened(self) -> None:
        """Lets members be read, which may be larger."""
        self._most = 0


def open_archive(file: BinaryIO) -> zipfile.ZipFile:
    """Opens a ZIP archive whose directory is of an ordinary size.

    Args:
        file: open for reading; it is not closed with the archive.

    Raises:
        ArrayFileError: its directory is larger.
        zipfile.BadZipFile: it is damaged or no archive.
    """
    bounded = _Archive(file)
    archive = zipfile.ZipFile(bounded)  # type: ignore[call-overload]
    bounded.opened()
    return archive


def members(archive: zipfile.ZipFile, size: int) -> dict[str, zipfile.ZipInfo]:
    """Returns the members of a ZIP archive of `size` bytes, which holds them as they are.

    Raises:
        ArrayFileError: a member is compressed or there twice, there are too many, or they declare
            more bytes than the archive has.
    """
    listed = archive.infolist()
    if len(listed) > MOST_OBJECTS:
        raise ArrayFileError(f"it holds {len(listed)} members, more than {MOST_OBJECTS}")
    found = {member.filename: member for member in listed}
    if len(found) != len(listed):
        raise ArrayFileError("it holds two members of one name")
    if any(member.compress_type != zipfile.ZIP_STORED for member in listed):
        raise ArrayFileError("its members must be stored, not compressed")
    declared = sum(member.file_size for member in listed)
    if declared > size:
        raise ArrayFileError(f"its members declare {declared} bytes, more than its own {size}")
    return found


def read_npz(file: BinaryIO) -> dict[str, np.ndarray]:
    """Reads what `numpy.savez` wrote.

    Args:
        file: open at any place.

    Returns:
        The arrays by name.

    Raises:
        ArrayFileError: an array is no plain one, or is not as large as it declares.
        ValueError, OSError, zipfile.BadZipFile: the file is damaged.
    """
    size = check_size(file)
    arrays = {}
    with open_archive(file) as archive:
        for name, member in members(archive, size).items():
            with archive.open(member) as stream:
                _check_array(stream, member)
            with archive.open(member) as stream:
                array = np.lib.format.read_array(stream, allow_pickle=False)
            arrays[name.removesuffix(".npy")] = array
    return arrays


def _check_array(stream: BinaryIO, member: zipfile.ZipInfo) -> None:
    """Reads an array's header and holds it against the bytes that follow."""
    headers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    name = ascii(member.filename[:80])
    version = np.lib.format.read_magic(stream)
    if version not in headers:
        raise ArrayFileError(f"{name} is of an unknown format")
    try:
        shape, _, dtype = headers[version](stream)
    except Exception as error:  # A header is parsed as Python, which fails in many ways.
        raise ArrayFileError(f"the header of {name} is damaged") from error
    if dtype.hasobject:
        raise ArrayFileError(f"{name} holds Python objects")
    declared, held = math.prod(shape) * dtype.itemsize, member.file_size - stream.tell()
    # Elements without bytes could be any number.
    if declared != held or min(shape, default=0) < 0 or (0 == declared < math.prod(shape)):
        raise ArrayFileError(f"{name} declares {ascii(declared)[:40]} bytes and holds {held}")


@contextlib.contextmanager
def open_hdf5(path: str | os.PathLike) -> Iterator[h5py.File]:
    """Opens an HDF5 file whose arrays are all in it, and nothing else is.

    Args:
        path: the file.

    Yields:
        The file, open for reading. Attributes hold numbers and text; data sets hold numbers.

    Raises:
        ArrayFileError: it links to, or takes its data from, another file or place; it is deeper or
            has more objects than is read; or it declares more bytes than it has.
        OSError, RuntimeError: the file is damaged or no HDF5 file.
    """
    with open(path, "rb") as file:
        size = check_size(file)
        _check_heaps(file, size)
    with h5py.File(pathlib.Path(path), "r") as file:
        if file.id.get_create_plist().get_sizes() != (8, 8):
            raise ArrayFileError("its addresses are not of 8 bytes")
        walk = _Walk(size)
        walk.check(file.id, b"/", 0)
        walk.check_text()
        yield file


def _check_heaps(file: BinaryIO, size: int) -> None:
    """Looks at the heaps that hold strings of any length, wherever in the file they are.

    HDF5 goes from object to object of a heap by the size that each states, for ever where one
    states none.
    """
    if not size:
        return
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        at = data.find(_HEAP)
        while at >= 0:
            end = at + int.from_bytes(data[at + 8 : at + _HEAP_HEADER], "little")
            item = at + _HEAP_HEADER
            while item + _HEAP_HEADER <= min(end, size):
                held = int.from_bytes(data[item + 8 : item + _HEAP_HEADER], "little")
                free = data[item : item + 2] == bytes(2)
                step = held if free else _HEAP_HEADER + (held + 7) // 8 * 8
                if not _HEAP_HEADER <= step <= end - item:
                    raise ArrayFileError(f"the strings at byte {at} are damaged")
                item += step
            at = data.find(_HEAP, at + 1)


class _Walk:
    """Goes once through the objects of an HDF5 file of `size` bytes, without reading an array."""

    def __init__(self, size: int) -> None:
        self._size, self._declared, self._texts = size, 0, 0
        self._seen: set[int] = set()

    def check(self, parent: h5py.h5g.GroupID, name: bytes, depth: int) -> None:
        """Checks the object that a hard link leads to, and all below it."""
        address = h5py.h5o.get_info(parent, name).addr
        if address in self._seen:
            raise ArrayFileError(f"{_shown(name)} is there under two names")
        self._seen.add(address)
        if len(self._seen) > MOST_OBJECTS or depth > MOST_DEPTH:
            raise ArrayFileError(
                f"it holds more than {MOST_OBJECTS} objects, or more than {MOST_DEPTH} groups "
                "within each other"
            )
        found = h5py.h5o.open(parent, name)
        self._check_attributes(found)
        if isinstance(found, h5py.h5d.DatasetID):
            self._check_data(found, name)
        elif isinstance(found, h5py.h5g.GroupID):
            for child in found:
                if found.links.get_info(child).type != h5py.h5l.TYPE_HARD:
                    raise ArrayFileError(
                        f"{_shown(child)} is a soft or external link, which may lead elsewhere"
                    )
                self.check(found, child, depth + 1)
        else:
            raise ArrayFileError(f"{_shown(name)} is neither a group nor a data set")

    def _check_data(self, data: h5py.h5d.DatasetID, name: bytes) -> None:
        stored = data.get_create_plist()
        # Asked first: a virtual data set opens its sources to say how large it is.
        if stored.get_layout() == h5py.h5d.VIRTUAL or stored.get_external_count():
            raise ArrayFileError(f"{_shown(name)} takes its values from other files")
        if stored.get_nfilters():
            raise ArrayFileError(f"{_shown(name)} must be stored as it is, not compressed")
        if data.dtype.kind not in "biuf":
            raise ArrayFileError(f"{_shown(name)} holds no numbers")
        declared = math.prod(data.shape or ()) * data.dtype.itemsize
        if declared > data.get_storage_size():
            raise ArrayFileError(
                f"{_shown(name)} declares {declared} bytes and holds {data.get_storage_size()}"
            )
        chunk = stored.get_chunk() if stored.get_layout() == h5py.h5d.CHUNKED else ()
        if math.prod(chunk) * data.dtype.itemsize > self._size:
            raise ArrayFileError(f"{_shown(name)} is in chunks that are larger than the file")
        self._declare(declared)

    def _check_attributes(self, found: h5py.h5g.GroupID | h5py.h5d.DatasetID) -> None:
        if (attributes := h5py.h5a.get_num_attrs(found)) > MOST_ATTRIBUTES:
            raise ArrayFileError(f"an object has {attributes} attributes")
        for index in range(attributes):
            attribute = h5py.h5a.open(found, index=index)
            kind = attribute.get_type()
            count = attribute.get_space().get_simple_extent_npoints()
            plain = isinstance(
                kind, h5py.h5t.TypeIntegerID | h5py.h5t.TypeFloatID | h5py.h5t.TypeEnumID
            )
            if isinstance(kind, h5py.h5t.TypeStringID):
                if kind.is_variable_str():
                    self._texts = max(self._texts, count)
            elif not plain:
                raise ArrayFileError(
                    f"attribute {_shown(attribute.name)} is neither numbers nor text"
                )
            self._declare(count * kind.get_size())

    def check_text(self) -> None:
        """Refuses an attribute whose strings could be more than is read.

        Strings of any length are references, and all of an attribute may refer to the same one,
        which is at most as long as what the file holds besides its arrays.
        """
        if self._texts * (self._size - self._declared) > MOST_TEXT_BYTES:
            raise ArrayFileError(f"an attribute lists {self._texts} strings of unknown length")

    def _declare(self, bytes_: int) -> None:
        self._declared += bytes_
        if self._declared > self._size:
            raise ArrayFileError(f"it declares more than the {self._size} bytes that it has")


def _shown(name: bytes) -> str:
    return ascii(name[:80].decode("utf-8", "replace"))
