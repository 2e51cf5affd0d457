"""Conversion on Apache Beam: the same bytes as on one machine. Needs requirements-beam.txt."""

import errno
import functools
import os
import subprocess
import sys

import pytest

from c3tf.data import manifest as manifests
from c3tf.errors import DataError
from c3tf.io import files
from c3tf.labels import CAMVID
from data_tools import camvid
from data_tools.conversion import beam, convert, planning, shards
from data_tools.conversion.example import ConversionOptions
from data_tools.conversion.images import UnavailableError
from data_tools.conversion.runners import LocalRunner
from raw_trees import write_camvid

# Beam's local runner with two worker processes.
WORKERS = ("direct_num_workers=2", "direct_running_mode=multi_processing")
OPTIONS = ConversionOptions("camvid", CAMVID, height=12)


@pytest.fixture
def apache_beam():
    """Skips where Beam is not installed."""
    return pytest.importorskip("apache_beam", reason="needs requirements-beam.txt")


@pytest.fixture
def source(tmp_path, monkeypatch):
    """Nine training images, which fill three shards, and three validation images."""
    monkeypatch.setattr(planning, "count_shards", lambda count, *_: min(count, 3))
    return write_camvid(tmp_path / "raw")


def _convert(source, output, runner=None, **arguments):
    found = camvid.discover(str(source))
    return convert.convert(
        found, str(output), OPTIONS, "tests", runner=runner or LocalRunner(1), **arguments
    )


def _contents(directory):
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def test_without_beam_the_install_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.setitem(sys.modules, "apache_beam.options.pipeline_options", None)
    with pytest.raises(DataError, match=r"pip install -r .* -r requirements-beam\.txt"):
        beam.BeamRunner("DirectRunner")


def test_the_command_without_beam_ends_in_one_line(repository, tmp_path):
    write_camvid(tmp_path / "raw", train=1, val=1)
    code = (
        "import runpy, sys; sys.modules['apache_beam'] = None;"
        "runpy.run_module('data_tools.camvid', run_name='__main__')"
    )
    flags = (f"--source={tmp_path / 'raw'}", f"--output={tmp_path / 'out'}")
    for extra, message in (
        (("--beam_runner=DirectRunner",), "-r requirements-beam.txt`"),
        (("--beam_runner=DirectRunner", "--num_workers=2"), "--beam_option=direct_num_workers"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", code, *flags, *extra],
            cwd=repository,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert message in done.stderr
        assert "Traceback" not in done.stderr


def test_several_workers_give_the_bytes_of_a_local_run(apache_beam, source, tmp_path):
    runner = beam.BeamRunner("DirectRunner", WORKERS)
    manifest = _convert(source, tmp_path / "beam", runner)
    assert len(manifest.shards("train")) == 3
    _convert(source, tmp_path / "local")
    assert _contents(tmp_path / "beam") == _contents(tmp_path / "local")


def test_beam_continues_a_local_run_and_the_other_way(apache_beam, source, tmp_path):
    _convert(source, tmp_path / "whole")
    bad = source / "train/train 04.png"
    whole = bad.read_bytes()
    bad.write_bytes(b"")
    runner = beam.BeamRunner("DirectRunner")
    for output, first, then in (("a", None, runner), ("b", runner, None)):
        bad.write_bytes(b"")
        with pytest.raises(DataError, match=r"train 04\.png is empty"):
            _convert(source, tmp_path / output, first)
        assert not (tmp_path / output / manifests.FILE_NAME).exists()
        bad.write_bytes(whole)
        _convert(source, tmp_path / output, then)
        assert _contents(tmp_path / output) == _contents(tmp_path / "whole")


def test_beam_leaves_bad_files_out_when_asked(apache_beam, source, tmp_path):
    (source / "train/train 04.png").write_bytes(b"")
    manifest = _convert(source, tmp_path / "out", beam.BeamRunner("DirectRunner"), skip_bad=True)
    assert manifest.count("train") == 8
    assert manifest.splits["train"].left_out[0].source == "train/train 04.png"


def test_a_shard_that_must_be_written_again_is_not_taken_as_it_was(
    apache_beam, source, tmp_path, monkeypatch
):
    bad = source / "train/train 04.png"
    whole = bad.read_bytes()
    bad.write_bytes(b"")

    def stop(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(manifests, "write", stop)
        with pytest.raises(KeyboardInterrupt):
            _convert(source, tmp_path / "out", beam.BeamRunner("DirectRunner"), skip_bad=True)
    with pytest.raises(DataError, match=r"train 04\.png is empty"):
        _convert(source, tmp_path / "out", beam.BeamRunner("DirectRunner"))
    bad.write_bytes(whole)
    manifest = _convert(source, tmp_path / "out", beam.BeamRunner("DirectRunner"))
    assert manifest.count("train") == 9


def test_what_another_try_may_mend_is_raised_in_the_worker(source, tmp_path, monkeypatch):
    found = camvid.discover(str(source))
    output, work_dir = tmp_path / "out", tmp_path / "out/_incomplete"
    work_dir.mkdir(parents=True)
    plan = planning.make_plan(found.pairs, str(work_dir), 1, lambda items: iter(()))
    beam.write_lists(plan, str(work_dir))
    bad = source / plan[0].pairs[1].source
    whole = bad.read_bytes()
    read_bytes = files.read_bytes

    def fail(path):
        if path == str(bad):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return read_bytes(path)

    def write():
        job = functools.partial(convert.convert_example, options=OPTIONS)
        return beam.write_planned_shard(plan[0].name, str(output), str(work_dir), job)

    def complaint():
        return (work_dir / f"{plan[0].name}.error.txt").read_text()

    with monkeypatch.context() as patch:
        patch.setattr(files, "read_bytes", fail)
        with pytest.raises(UnavailableError):
            write()
    assert "cannot be read now" in complaint()
    with monkeypatch.context() as patch:
        patch.setattr(files, "rename", lambda *_: fail(str(bad)))
        with pytest.raises(shards.OutputError):
            write()
    assert "cannot be written" in complaint()
    bad.write_bytes(b"")
    assert write() == plan[0].name
    assert "is empty" in complaint()
    bad.write_bytes(whole)
    write()
    assert (output / plan[0].name).exists()


def test_a_pipeline_that_fails_says_so(apache_beam, source, tmp_path, monkeypatch):
    def fail(*_):
        raise RuntimeError("the cluster is gone")

    monkeypatch.setattr(apache_beam.Pipeline, "run", fail)
    with pytest.raises(DataError, match=r"pipeline failed: the cluster is gone.*continues"):
        _convert(source, tmp_path / "out", beam.BeamRunner("DirectRunner"))


def test_options_of_a_job_server_are_left_to_it(apache_beam):
    beam.BeamRunner("FlinkRunner", ("checkpointing_interval=1000", "flink_master=host:8081"))


@pytest.mark.parametrize(
    ("runner", "options", "message"),
    [
        ("NoRunner", (), "--beam_runner=NoRunner cannot be used"),
        ("DirectRunner", ("direct_num_wokers=2",), "Beam knows no option 'direct_num_wokers'"),
        ("DirectRunner", ("direct_num_workers=x",), "argument --direct_num_workers: invalid int"),
    ],
)
def test_mistakes_in_options_are_named(apache_beam, runner, options, message):
    with pytest.raises(DataError, match=message):
        beam.BeamRunner(runner, options)


def test_a_shard_may_be_written_twice_at_a_time(source, tmp_path):
    _convert(source, tmp_path / "whole")
    work_dir = tmp_path / "out" / "_incomplete"
    work_dir.mkdir(parents=True)
    found = camvid.discover(str(source))
    plan = planning.make_plan(found.pairs, str(work_dir), 1, lambda items: iter(()))
    beam.write_lists(plan, str(work_dir))
    name = plan[0].name

    class Nested:
        """Converts; at the second image another try writes the same shard."""

        def __init__(self):
            self.calls = 0

        def __call__(self, item):
            self.calls += 1
            if self.calls == 2:
                beam.write_planned_shard(name, str(tmp_path / "out"), str(work_dir), job)
            return job(item)

    def job(item):
        return convert.convert_example(item, OPTIONS)

    beam.write_planned_shard(name, str(tmp_path / "out"), str(work_dir), Nested())
    assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
