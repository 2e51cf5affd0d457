"""Output that cannot take what is written: one clear error, nothing that looks whole."""

import os
import resource
import shutil
import subprocess
import sys

import pytest

from c3tf.data import manifest as manifests
from c3tf.errors import DataError
from c3tf.labels import CAMVID
from data_tools import camvid
from data_tools.conversion import convert
from data_tools.conversion.example import ConversionOptions
from data_tools.conversion.runners import LocalRunner
from raw_trees import write_camvid

# Less than the nine training images take.
_LIMIT = 4096
_DISK_KB = 64


def _convert(source, output):
    found = camvid.discover(str(source))
    options = ConversionOptions("camvid", CAMVID)
    return convert.convert(found, str(output), options, "data_tools.camvid", runner=LocalRunner(1))


def _contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def _run(repository, source, output):
    command = [sys.executable, "-m", "data_tools.camvid", "--num_workers=1"]
    # A file may not grow beyond the limit, as on a full disk, whoever writes it.
    return subprocess.run(
        [*command, f"--source={source}", f"--output={output}"],
        cwd=repository,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (_LIMIT, _LIMIT)),
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_file_that_cannot_grow_ends_in_one_line_and_continues(repository, tmp_path):
    source = write_camvid(tmp_path / "raw")
    done = _run(repository, source, tmp_path / "out")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "train-00000-of-00001.tfrecord cannot be written" in done.stderr
    assert "run the same command again" in done.stderr
    assert not list((tmp_path / "out").glob("*.tfrecord"))
    with pytest.raises(DataError, match="interrupted"):
        manifests.load(str(tmp_path / "out"))
    _convert(source, tmp_path / "out")
    _convert(source, tmp_path / "whole")
    assert _contents(tmp_path / "out") == _contents(tmp_path / "whole")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of few kilobytes."""
    path = tmp_path / "small"
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={_DISK_KB}k", "none", str(path)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no mount command")
    if done.returncode:
        pytest.skip(f"a file system cannot be mounted here: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", str(path)], check=True)


def test_a_disk_that_is_full_at_any_stage_ends_in_one_error(tmp_path, small_disk):
    source = write_camvid(tmp_path / "raw")
    _convert(source, tmp_path / "whole")
    failed = []
    for free in range(0, _DISK_KB, 4):
        output = small_disk / f"out{free}"
        (small_disk / "filler").write_bytes(bytes((_DISK_KB - free) * 1024))
        try:
            _convert(source, output)
        except DataError as error:
            failed.append(str(error))
            assert "cannot be written" in failed[-1]
            assert str(output) in failed[-1]
            (small_disk / "filler").unlink()
            _convert(source, output)
        assert _contents(output) == _contents(tmp_path / "whole")
        for path in (output, small_disk / "filler"):
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    assert len(failed) > 4
    assert any("tfrecord cannot be written" in message for message in failed)


def test_a_disk_that_is_read_only_is_named(tmp_path, small_disk):
    source = write_camvid(tmp_path / "raw")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(DataError, match=r"out cannot be written: .*Read-only"):
        _convert(source, small_disk / "out")


def test_an_output_that_cannot_be_a_directory_is_named(tmp_path):
    source = write_camvid(tmp_path / "raw")
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DataError, match=r"file/out cannot be written: .*Not a directory"):
        _convert(source, tmp_path / "file/out")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_rights_is_named(tmp_path):
    source = write_camvid(tmp_path / "raw")
    (tmp_path / "out").mkdir(mode=0o500)
    with pytest.raises(DataError, match=r"out cannot be written: .*[Pp]ermission"):
        _convert(source, tmp_path / "out")
