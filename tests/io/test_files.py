"""File access: the same answers and errors for local paths and for TensorFlow's file systems."""

import errno
import hashlib
import os

import pytest

from c3tf.io import files, leftovers

pytestmark = pytest.mark.smoke


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
    files.write_text(files.join(folder, "name"), os.fsdecode(b"caf\xe9"))
    assert files.read_text(files.join(folder, "name")) == r"caf\udce9"
    files.remove(files.join(folder, "name"))
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
    assert files._names(root) == ["x"]


FULL = OSError(errno.ENOSPC, "No space left on device")


def fill(path):
    with files.whole(path) as file:
        file.write(b"new")
        raise FULL


def fill_folder(path):
    with files.replacing(path) as beside:
        make(beside, "new")
        raise FULL


@pytest.mark.parametrize(("write", "name"), [(fill, "x/inside"), (fill_folder, "x")])
def test_what_cannot_be_finished_leaves_what_was_there_and_names_it(tmp_path, write, name):
    make(tmp_path / "x", "old")
    with pytest.raises(OSError, match="No space left on device") as caught:
        write(tmp_path / name)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / name)
    assert (tmp_path / "x" / "inside").read_text() == "old"
    assert os.listdir(tmp_path) == ["x"]
    assert os.listdir(tmp_path / "x") == ["inside"]


def make(folder, text):
    os.mkdir(folder)
    files.write_text(os.path.join(folder, "inside"), text)


def test_a_folder_takes_the_place_of_an_earlier_one(tmp_path):
    make(tmp_path / "x", "old")
    for text in ("new", "newer"):
        with files.replacing(tmp_path / "x") as beside:
            assert leftovers.is_leftover(os.path.basename(beside))
            make(beside, text)
        assert (tmp_path / "x" / "inside").read_text() == text
        assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("earlier", ["", "empty"])
def test_a_new_folder_gets_to_its_place_whole_and_is_held_until_then(tmp_path, earlier):
    if earlier:
        (tmp_path / "x").mkdir()
    with files.new_folder(tmp_path / "x") as beside:
        files.write_text(os.path.join(beside, "inside"), "new")
        assert not leftovers.clear(tmp_path / "x")
        leftovers.sweep(tmp_path)
        assert not (tmp_path / "x" / "inside").exists()
    assert (tmp_path / "x" / "inside").read_text() == "new"
    assert leftovers.clear(tmp_path / "x")
    assert os.listdir(tmp_path) == ["x"]


@pytest.mark.parametrize("put", [files.write_text, lambda path, text: make(path, text)])
def test_a_new_folder_replaces_nothing_that_came_meanwhile_unless_it_may(tmp_path, put):
    path = str(tmp_path / "x")
    with pytest.raises(FileExistsError) as caught, files.new_folder(path):
        put(path, "mine")
    assert caught.value.filename == path
    assert os.listdir(tmp_path) == ["x"]
    kept = path if os.path.isfile(path) else os.path.join(path, "inside")
    assert files.read_text(kept) == "mine"


def test_a_new_folder_replaces_an_earlier_one_where_it_may(tmp_path):
    make(tmp_path / "x", "old")
    with files.new_folder(tmp_path / "x", replace=True) as beside:
        files.write_text(os.path.join(beside, "other"), "new")
    assert os.listdir(tmp_path) == ["x"]
    assert os.listdir(tmp_path / "x") == ["other"]


def test_an_error_inside_of_a_folder_names_its_place_there(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, files.replacing(tmp_path / "x") as beside:
        files.read_text(os.path.join(beside, "file"))
    assert caught.value.filename == str(tmp_path / "x" / "file")


def test_what_a_link_leads_to_is_replaced(tmp_path):
    make(tmp_path / "real", "old")
    (tmp_path / "link").symlink_to("real")
    with files.replacing(tmp_path / "link") as beside:
        make(beside, "new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real" / "inside").read_text() == "new"
    assert sorted(os.listdir(tmp_path)) == ["link", "real"]


def test_threads_may_write_one_file_at_a_time(tmp_path):
    path = str(tmp_path / "x")
    with files.whole(path) as first, files.whole(path) as second:
        first.write(b"first")
        second.write(b"second")
    assert files.read_text(path) == "first"
    assert os.listdir(tmp_path) == ["x"]


def test_missing_folders_are_made(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for path in ("here", "new/newer/there"):
        files.write_text(path, "x")
        assert files.read_text(path) == "x"


def test_an_error_of_another_file_stays_as_it_is(tmp_path):
    with pytest.raises(FileNotFoundError) as caught, files.whole(tmp_path / "x"):
        files.read_bytes(str(tmp_path / "other"))
    assert caught.value.filename == str(tmp_path / "other")


def test_a_name_keeps_its_ending_while_it_is_made(tmp_path):
    with files.replacing(tmp_path / "a.weights.h5") as beside:
        assert beside.endswith(".weights.h5")
        open(beside, "w").close()
    assert os.listdir(tmp_path) == ["a.weights.h5"]


@pytest.mark.parametrize("name", [".partial-12-x.npz", ".x.npz.partial-12", ".x.earlier-12"])
def test_leftovers_of_this_and_earlier_versions_are_known(name):
    assert leftovers.is_leftover(name)
    assert not leftovers.is_leftover(name[1:])


@pytest.mark.parametrize("name", ["x" * 255, "x" * 244 + ".png", "\u00f6" * 120 + ".png"])
def test_names_of_any_legal_length_are_written(tmp_path, name):
    for text in ("first", "second"):
        files.write_text(str(tmp_path / name), text)
    assert files.read_text(str(tmp_path / name)) == "second"
    assert [path.name for path in tmp_path.iterdir()] == [name]
