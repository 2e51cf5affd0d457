"""File access: the same answers and errors for local paths and for TensorFlow's file systems."""

import hashlib
import os

import pytest

from c3tf.data import files
from c3tf.errors import UserError


@pytest.fixture(params=["local", "ram"])
def root(request, tmp_path):
    """A directory on the disk, or in TensorFlow's memory file system."""
    return str(tmp_path) if request.param == "local" else f"ram://{tmp_path.name}"


def test_files_are_written_read_moved_and_listed(root):
    folder = files.join(root, "a b", "ö")
    files.make_dirs(folder)
    path = files.join(folder, "x.txt")
    files.write_text(path, "één\n")
    assert files.read_text(path) == "één\n"
    assert files.size(path) == len("één\n".encode())
    assert files.sha256(path) == hashlib.sha256("één\n".encode()).hexdigest()
    files.write_bytes(files.join(folder, "y"), b"1")
    files.rename(files.join(folder, "y"), path)
    assert files.read_bytes(path) == b"1"
    files.write_bytes(files.join(folder, ".hidden"), b"")
    assert files.list_dir(folder) == ["x.txt"]
    assert files.is_dir(folder)
    assert not files.is_dir(path)
    files.remove_tree(folder)
    files.remove_tree(folder)
    assert not files.exists(path)


@pytest.mark.parametrize("function", [files.read_bytes, files.sha256, files.size])
def test_missing_files_raise_what_the_system_raises(root, function):
    with pytest.raises(FileNotFoundError, match="nowhere"):
        function(files.join(root, "nowhere"))


def test_a_failed_write_leaves_the_old_file(root, monkeypatch):
    def fail(source, target):
        raise OSError

    files.make_dirs(root)
    path = files.join(root, "x")
    files.write_bytes(path, b"old")
    with monkeypatch.context() as patch:
        patch.setattr(files, "rename", fail)
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError):  # noqa: PT011
            files.write_bytes(path, b"new")
    assert files.read_bytes(path) == b"old"


def test_a_place_is_checked_without_leaving_anything_but_its_folder(root):
    folder = files.join(root, "new", "folder")
    files.check_writable(files.join(folder, "x.png"), "output")
    assert files.list_dir(folder) == []
    files.write_bytes(files.join(folder, "x.png"), b"old")
    files.check_writable(files.join(folder, "x.png"), "output")
    assert files.read_bytes(files.join(folder, "x.png")) == b"old"


@pytest.mark.parametrize("name", ["x/y.png", "", "x/y/z.png"])
def test_a_place_that_takes_no_file_is_refused_with_its_flag(tmp_path, name):
    (tmp_path / "x").write_bytes(b"")
    path = str(tmp_path / name).rstrip("/")
    with pytest.raises(UserError, match=r"`--sheet` must name a place .* Received: ") as refused:
        files.check_writable(path, "sheet")
    assert path in str(refused.value)
