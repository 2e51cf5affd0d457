"""One conversion at a time writes into a directory."""

import errno
import fcntl
import os
import subprocess
import sys

import pytest

from c3tf.data import manifest as manifests
from c3tf.errors import DataError
from c3tf.io import leftovers
from c3tf.labels import CAMVID
from data_tools import camvid
from data_tools.conversion import convert, output
from data_tools.conversion.example import ConversionOptions
from data_tools.conversion.runners import LocalRunner
from raw_trees import write_camvid

_HOLD = """
import sys, time
from data_tools.conversion import output
with output.locked(sys.argv[1]):
    print("held", flush=True)
    time.sleep(60)
"""


def test_a_second_conversion_is_refused_until_the_first_is_gone(repository, tmp_path):
    command = [sys.executable, "-c", _HOLD, str(tmp_path / "out")]
    found = camvid.discover(str(write_camvid(tmp_path / "raw")))

    def run():
        return convert.convert(
            found,
            str(tmp_path / "out"),
            ConversionOptions("camvid", CAMVID),
            "tests",
            runner=LocalRunner(1),
        )

    with subprocess.Popen(command, cwd=repository, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == "held\n"
        with pytest.raises(DataError, match=r"Another conversion is writing into .*out\. .*--outp"):
            run()
        assert not list((tmp_path / "out").iterdir())
        first.kill()
    assert run().count("train") == 9


def test_the_lock_is_free_after_the_run_and_after_an_error(tmp_path):
    path = str(tmp_path / "out")
    for _ in range(2):
        with pytest.raises(KeyError), output.locked(path):
            raise KeyError
    with output.locked(path), pytest.raises(DataError, match="Another"), output.locked(path):
        pass


def test_a_file_system_without_locks_only_warns(tmp_path, monkeypatch, caplog):
    def refuse(handle, kind):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    entered = False
    with output.locked(str(tmp_path / "out")):
        entered = True
    assert entered
    assert "run one conversion at a time." in caplog.text


def test_remote_directories_are_not_locked():
    with output.locked("ram://out"), output.locked("ram://out"):
        pass


def test_a_stopped_conversion_that_has_finished_nothing_may_be_asked_for_otherwise(tmp_path):
    folder = str(tmp_path)
    output.prepare(folder, {"label_map": "wrong"})
    # What a killed run leaves of a shard that it had not finished.
    shard = tmp_path / "train-00000-of-00001.tfrecord"
    (tmp_path / leftovers.partial_name(str(shard))).write_bytes(b"part")
    assert not output.prepare(folder, {"label_map": "right"})
    assert os.listdir(tmp_path) == [manifests.INCOMPLETE_DIR]
    shard.write_bytes(b"whole")
    with pytest.raises(DataError, match="stopped conversion with other label_map"):
        output.prepare(folder, {"label_map": "wrong"})
    assert shard.read_bytes() == b"whole"
