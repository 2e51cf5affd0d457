"""Files of arrays: nothing but what is in them, and no more memory than they have bytes."""

import json
import os
import struct
import zipfile

import h5py
import numpy as np
import pytest

import memory_peak
from c3tf.io import array_files
from c3tf.io.array_files import ArrayFileError

SECRET = b"not for everyone" * 64


@pytest.fixture
def secret(tmp_path):
    (tmp_path / "secret").write_bytes(SECRET)
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["values"] = np.frombuffer(SECRET, np.uint8)
    return tmp_path / "secret"


def kept(tmp_path, fill):
    """Writes a file by `fill`, beside a plain array that would be read first."""
    path = tmp_path / "file.h5"
    with h5py.File(path, "w") as file:
        file["a/plain"] = np.arange(6.0)
        fill(file)
    return path


def external_storage(file, secret):
    file.create_dataset(
        "b", (len(SECRET),), np.uint8, external=[(str(secret), 0, h5py.h5f.UNLIMITED)]
    )


def external_link(file, secret):
    file["b"] = h5py.ExternalLink(f"{secret}.h5", "values")


def virtual(file, secret):
    layout = h5py.VirtualLayout((len(SECRET),), np.uint8)
    layout[:] = h5py.VirtualSource(f"{secret}.h5", "values", (len(SECRET),))
    file.create_virtual_dataset("c/d/b", layout)


def unlimited_virtual(file, secret):
    layout = h5py.VirtualLayout((1,), np.uint8, maxshape=(None,))
    source = h5py.VirtualSource(f"{secret}.h5", "values", (len(SECRET),), maxshape=(None,))
    layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    file.create_virtual_dataset("b", layout)


def soft_link(file, secret):
    file["b"] = h5py.SoftLink("/a/plain")


def soft_over_external(file, secret):
    file["outside"] = h5py.ExternalLink(f"{secret}.h5", "/")
    file["b"] = h5py.SoftLink("/outside/values")


def second_name(file, secret):
    file["b"] = file["a/plain"]


def circle(file, secret):
    file["a/again"] = file["a"]


def named_type(file, secret):
    file["b"] = np.dtype("f8")


def strings(file, secret):
    file["b"] = ["text"]


def reference(file, secret):
    file.attrs["b"] = file["a"].ref


def never_written(file, secret):
    file.create_dataset("b", (1 << 30,), np.float32)


def chunks_never_written(file, secret):
    file.create_dataset("b", (1 << 31,), np.float32, chunks=(1 << 20,))


def compressed(file, secret):
    file.create_dataset("b", data=np.zeros(1 << 20), compression="gzip")


def chunks_of_a_gigabyte(file, secret):
    file.create_dataset("b", (0,), np.float32, chunks=(1 << 28,), maxshape=(None,))


def many_attributes(file, secret):
    for index in range(array_files.MOST_ATTRIBUTES + 1):
        file["a"].attrs[f"n{index}"] = index


def regions(file, secret):
    file.create_dataset("b", data=file["a/plain"].regionref[:2], dtype=h5py.regionref_dtype)


def compound(file, secret):
    file["b"] = np.zeros(2, [("x", "f4"), ("y", "f4")])


def deep(file, secret):
    file.create_group("/".join("abcdefghijklmnopqrstuvwxyz"))


@pytest.mark.parametrize(
    ("fill", "message"),
    [
        (external_storage, "other files"),
        (external_link, "soft or external link"),
        (virtual, "other files"),
        (unlimited_virtual, "other files"),
        (soft_link, "soft or external link"),
        (soft_over_external, "soft or external link"),
        (second_name, "under two names"),
        (circle, "under two names"),
        (named_type, "neither a group nor"),
        (strings, "holds no numbers"),
        (reference, "neither numbers nor text"),
        (never_written, "declares 4294967296 bytes and holds 0"),
        (chunks_never_written, "declares 8589934592 bytes and holds 0"),
        (compressed, "not compressed"),
        (chunks_of_a_gigabyte, "larger than the file"),
        (many_attributes, "101 attributes"),
        (regions, "holds no numbers"),
        (compound, "holds no numbers"),
        (deep, "groups within each other"),
    ],
)
def test_hdf5_files_that_are_more_than_their_own_arrays_are_refused(
    tmp_path, secret, fill, message, monkeypatch
):
    path = kept(tmp_path, lambda file: fill(file, secret))

    def read(*_, **__):
        raise AssertionError("an array was read")

    monkeypatch.setattr(h5py.Dataset, "__getitem__", read)
    monkeypatch.setattr(h5py.Dataset, "__array__", read)
    opened = []
    real = os.open
    monkeypatch.setattr(os, "open", lambda p, *a, **k: opened.append(p) or real(p, *a, **k))
    with pytest.raises(ArrayFileError, match=message), array_files.open_hdf5(path):
        raise AssertionError("it was opened")
    assert not [name for name in opened if "secret" in str(name)]


def test_an_attribute_that_lists_one_long_string_many_times_is_refused(tmp_path, monkeypatch):
    path = kept(tmp_path, lambda file: file.attrs.create("names", ["y" * 50] * 3000))
    with array_files.open_hdf5(path) as file:
        assert len(file.attrs["names"]) == 3000
    monkeypatch.setattr(array_files, "MOST_TEXT_BYTES", 400 * path.stat().st_size)
    with (
        pytest.raises(ArrayFileError, match="3000 strings of unknown length"),
        array_files.open_hdf5(path),
    ):
        pass


@pytest.mark.parametrize("step", [0, 8, 2**64 - 16, 1 << 20])
def test_strings_that_lead_nowhere_are_refused_before_hdf5_follows_them(tmp_path, step):
    """By a free object of no size, HDF5 goes on for ever; found by changing one byte."""
    path = kept(tmp_path, lambda file: file.attrs.create("name", "text"))
    data = bytearray(path.read_bytes())
    at = data.index(b"GCOL") + 16
    data[at : at + 16] = bytes(8) + step.to_bytes(8, "little")
    path.write_bytes(data)
    with pytest.raises(ArrayFileError, match="strings at byte"), array_files.open_hdf5(path):
        pass


def test_plain_hdf5_files_are_read_as_they_are(tmp_path):
    def fill(file):
        file["a"].attrs["name"] = "text"
        file["a"].attrs["names"] = ["one", "two"]
        file["a"].attrs["flag"] = True
        file.create_dataset("scalar", data=np.float16(2))
        file.create_dataset("none", data=np.zeros((0, 4), np.int8))

    with array_files.open_hdf5(kept(tmp_path, fill)) as file:
        np.testing.assert_array_equal(file["a/plain"], np.arange(6.0))
        assert file["scalar"][()] == 2
        assert [str(name) for name in file["a"].attrs["names"]] == ["one", "two"]


def read_npz(path):
    with open(path, "rb") as file:
        return array_files.read_npz(file)


def header(shape, descr="<f8"):
    text = repr({"descr": descr, "fortran_order": False, "shape": shape}).encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


def archive(path, members, compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def bomb_of_zeros(path):
    """8 GB declared, the first 256 MB of them deflated."""
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as file,
        file.open("a.npy", "w", force_zip64=True) as member,
    ):
        member.write(header((1 << 30,)))
        for _ in range(16):
            member.write(bytes(1 << 24))
    return path


def large_directory(path):
    """A directory whose members would take ten times its memory."""
    size = 1 << 24
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 0xFFFF, 0xFFFF, size, 0, 0)
    path.write_bytes(bytes(size) + end)
    return path


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (bomb_of_zeros, "stored, not compressed"),
        (lambda p: archive(p, {"a.npy": header((1 << 30,)) + bytes(8)}), "declares 8589934592"),
        (lambda p: archive(p, {"a.npy": header((-1, 2)) + bytes(8)}), "declares"),
        (lambda p: archive(p, {"a.npy": header((2**62, 2**62)) + bytes(8)}), "declares"),
        (lambda p: archive(p, {"a.npy": header((0,), "|O")}), "Python objects"),
        (lambda p: archive(p, {"a.npy": header((2,)) + bytes(24)}), "declares 16 bytes and"),
        (lambda p: archive(p, {"a.npy": header((2**62,), "|V0")}), "declares 0 bytes and"),
        (lambda p: archive(p, {"a.npy": header("(" * 400)}), "the header of 'a.npy' is damaged"),
        (lambda p: archive(p, {"a.npy": header((1,), "(1,f8")}), "the header of 'a.npy'"),
        (large_directory, "its directory has 16777216 bytes"),
    ],
)
def test_npz_files_that_declare_more_than_they_hold_are_refused_at_once(tmp_path, make, message):
    path = make(tmp_path / "a.npz")
    with memory_peak.below(16 << 20), pytest.raises(ArrayFileError, match=message):
        read_npz(path)


def test_npz_members_that_share_their_bytes_are_refused(tmp_path):
    """A directory that lists one member's bytes a thousand times."""
    path = archive(tmp_path / "a.npz", {"a.npy": header((1000,)) + bytes(8000)})
    with zipfile.ZipFile(path, "a") as file:
        (first,) = file.infolist()
        for index in range(1000):
            copy = zipfile.ZipInfo(f"{index}.npy")
            for name in ("file_size", "compress_size", "CRC", "header_offset", "flag_bits"):
                setattr(copy, name, getattr(first, name))
            file.filelist.append(copy)
        file._didModify = True
    with pytest.raises(ArrayFileError, match="more than its own"):
        read_npz(path)


def test_npz_members_of_one_name_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as file:
        file.writestr("a.npy", header((1,)) + bytes(8))
        with pytest.warns(UserWarning, match="Duplicate"):
            file.writestr("a.npy", header((1,)) + bytes(8))
    with pytest.raises(ArrayFileError, match="two members of one name"):
        read_npz(tmp_path / "a.npz")


def test_files_above_the_stated_limit_are_refused(tmp_path):
    path = tmp_path / "sparse.npz"
    with open(path, "wb") as file:
        file.truncate(array_files.MOST_BYTES + 1)
    for read in (read_npz, lambda path: array_files.open_hdf5(path).__enter__()):
        with pytest.raises(ArrayFileError, match=f"more than the {array_files.MOST_BYTES}"):
            read(path)


def test_npz_files_come_back_as_they_were(tmp_path):
    arrays = {
        "a/b": np.arange(12, dtype=np.float32).reshape(3, 4).T,
        "scalar": np.array(3),
        "none": np.zeros((0, 5)),
        "text": np.array(json.dumps({"ä": 1})),
    }
    np.savez(tmp_path / "a.npz", **arrays)
    found = read_npz(tmp_path / "a.npz")
    assert found.keys() == arrays.keys()
    for name, array in arrays.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)
