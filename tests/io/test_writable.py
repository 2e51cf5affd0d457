"""Output that could not be written is refused early, and checking leaves nothing behind."""

import os
import subprocess
from pathlib import Path

import pytest

from c3tf.errors import UserError
from c3tf.io import leftovers, writable

pytestmark = pytest.mark.smoke


def refusal(check, path, *arguments):
    with pytest.raises(UserError) as caught:
        check(str(path), "--sheet", *arguments)
    return str(caught.value)


@pytest.mark.parametrize("name", ["x", "new/x", "new/newer/x"])
def test_missing_folders_are_no_obstacle(tmp_path, monkeypatch, name):
    for place in (str(tmp_path / name), name):
        monkeypatch.chdir(tmp_path)
        writable.check_file(place)
        writable.check_folder(place)
        writable.check_folder(place + "/", whole=True)
    assert os.listdir(tmp_path) == []


def test_an_earlier_file_is_replaced_where_that_is_allowed(tmp_path):
    (tmp_path / "x").write_text("old")
    writable.check_file(str(tmp_path / "x"))
    said = refusal(writable.check_file, tmp_path / "x", False)
    assert said == f"{tmp_path / 'x'} exists. Give another --sheet, or add --overwrite."
    assert (tmp_path / "x").read_text() == "old"


@pytest.mark.parametrize("name", ["folder", "folder/", "missing/", "link", "pipe"])
def test_what_is_no_file_is_refused_as_one(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe")
    said = refusal(writable.check_file, f"{tmp_path}/{name}")
    assert "`--sheet` must name a file to write" in said
    assert said.endswith(f"Received: --sheet={tmp_path}/{name}")


@pytest.mark.parametrize("check", [writable.check_file, writable.check_folder])
def test_a_file_where_a_folder_must_be_is_named(tmp_path, check):
    (tmp_path / "file").write_text("mine")
    said = refusal(check, tmp_path / "file" / "below" / "x")
    assert f"{tmp_path / 'file'} is no folder. Give another --sheet." in said
    assert said.endswith(f"Received: --sheet={tmp_path / 'file' / 'below' / 'x'}")


def test_a_file_is_no_folder_to_write_to(tmp_path):
    (tmp_path / "file").write_text("mine")
    assert f"{tmp_path / 'file'} is no folder" in refusal(writable.check_folder, tmp_path / "file")


def assert_takes_no_files(folder):
    for check in (writable.check_file, writable.check_folder):
        said = refusal(check, f"{folder}/new/x")
        assert f"the folder {folder} takes no files (" in said
        assert said.endswith(f"Received: --sheet={folder}/new/x")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_rights_is_refused(tmp_path):
    (tmp_path / "locked").mkdir(mode=0o500)
    assert_takes_no_files(tmp_path / "locked")


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs /proc")
def test_a_file_system_without_new_files_is_refused():
    assert_takes_no_files("/proc")


@pytest.fixture
def read_only(tmp_path):
    """A file system that may not be written to, with an empty folder in it."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o"]
    if subprocess.run([*mount, "size=64k", "none", str(place)], capture_output=True).returncode:
        pytest.skip("a file system cannot be mounted here")
    (place / "model").mkdir()
    subprocess.run([*mount, "remount,ro", "none", str(place)], check=True)
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_read_only_file_system_is_refused(read_only):
    assert_takes_no_files(read_only)
    said = refusal(writable.check_folder, read_only / "model", True)
    assert f"the folder {read_only} takes no files (Read-only file system)" in said


def test_what_a_killed_writer_has_left_of_a_folder_goes(tmp_path):
    beside = tmp_path / leftovers.partial_name(str(tmp_path / "out"))
    beside.mkdir()
    (beside / "half").write_text("")
    other = tmp_path / leftovers.partial_name(str(tmp_path / "another"))
    other.mkdir()
    writable.check_folder(str(tmp_path / "out"))
    assert beside.exists()
    writable.check_folder(str(tmp_path / "out"), whole=True)
    assert list(tmp_path.iterdir()) == [other]
