"""Commands that are killed at a chosen point of their work: `python kill_server.py`.

Imports all commands once. For every line of JSON that it reads it forks, and the child runs one
command as `python -m` would. A child that is to be killed counts what it does to files (every
rename, exchange, flush, deletion, new folder, opened file, and every write, of which half is
written) and sends itself SIGKILL at the number that was asked for. Nothing of TensorFlow may run
here before the fork: its threads would be missing in the child.
"""

import importlib
import json
import os
import runpy
import select
import signal
import sys
import time

from c3tf.config import environment as settings

if __name__ == "__main__":
    # As commands do before they import TensorFlow.
    settings.pin()

import builtins
import contextlib
import io
import shutil

import tensorflow as tf
from tensorflow.python.eager import context
from tensorflow.python.lib.io import file_io

import tiny_command
from c3tf.io import files

# Imported before the fork: what commands import in their `main`, so that a kill costs no import.
_PREPARED = (
    *("c3tf.evaluation.split", "c3tf.experiment", "c3tf.inference.predict_files", "c3tf.models"),
    *("c3tf.reporting.page", "c3tf.runs.series", "c3tf.serving.saved_model"),
    *("data_tools.conversion.runners", "data_tools.conversion.shards"),
)
# Stands in for `c3tf.train`, with networks that train in seconds.
TRAIN = "tiny_command"
# Changes of the file system that other modules make through these names.
_CHANGES = (
    *((os, name) for name in ("rename", "replace", "unlink", "remove", "rmdir", "mkdir")),
    *((os, name) for name in ("fsync", "link", "symlink", "ftruncate")),
    (shutil, "copyfile"),
    (files, "exchange"),
    (file_io, "rename"),
    (file_io, "recursive_create_dir_v2"),
    (file_io, "write_string_to_file"),
    (file_io, "atomic_write_string_to_file"),
    (tf.io.TFRecordWriter, "write"),
)


class Points:
    """Counts what is done to files; at the number that was asked for, the process is killed."""

    def __init__(self, kill: int, below: str, only: str) -> None:
        """Begins to count.

        Args:
            kill: number of the point, from 1; 0 for none.
            below: folder of the files that count.
            only: kinds of points that count, a part of their names; all where empty.
        """
        self.count, self._kill, self._below, self._only = 0, kill, below, only

    def reached(self, kind: str) -> bool:
        """Counts a point; tells whether it is the one."""
        if self._only in kind:
            self.count += 1
            return self.count == self._kill
        return False

    def watch(self) -> None:
        """Puts itself before everything that changes files."""
        for place, name in _CHANGES:
            setattr(place, name, self._before(getattr(place, name), name))
        self._open, builtins.open = builtins.open, self._opened

    def _before(self, function, name):
        def changed(*arguments, **options):
            if self.reached(name):
                die()
            return function(*arguments, **options)

        return changed

    def _opened(self, file, mode="r", *arguments, **options):
        writes = set(mode) & set("wax+")
        if not writes or isinstance(file, int) or self._below not in os.path.abspath(file):
            return self._open(file, mode, *arguments, **options)
        name = os.path.basename(os.fspath(file))
        opened = self._open(file, mode, *arguments, **options)
        if self.reached(f"open {name}"):
            die()
        if "b" not in mode or not hasattr(opened, "detach"):
            return opened
        kind = _Random if "+" in mode else _Writer
        held = kind(opened.detach())
        held.points, held.kind = self, f"write {name}"
        return held


class _Writes:
    """Writes half of what it is given where it is to be killed."""

    def write(self, data):
        if self.points.reached(self.kind):
            super().write(bytes(data)[: len(data) // 2])
            self.flush()
            die()
        return super().write(data)


class _Writer(_Writes, io.BufferedWriter):
    pass


class _Random(_Writes, io.BufferedRandom):
    pass


def die():
    """Ends this process as the system does it."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


def run(request: dict) -> None:
    """Runs a command in this process and ends it."""
    points = Points(request.get("kill", 0), request["below"], request.get("only", ""))
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for descriptor in (1, 2):
        os.dup2(log, descriptor)
    points.watch()
    module, *words = request["words"]
    sys.argv = [module, *words]
    code = 0
    try:
        if module == TRAIN:
            runpy.run_path(tiny_command.__file__, run_name="__main__")
        else:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        import traceback

        traceback.print_exc()
        code = 1
    with contextlib.suppress(OSError):
        sys.stdout.flush()
        sys.stderr.flush()
    os.write(request["answer"], b"%d" % points.count)
    os._exit(code)


def serve() -> None:
    """Answers requests with `{"code": exit code, "points": number of points}`."""
    for name in _PREPARED:
        importlib.import_module(name)
    assert context.context()._context_handle is None, "TensorFlow runs already"
    for line in sys.stdin:
        request = json.loads(line)
        reading, request["answer"] = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            run(request)
        os.close(request["answer"])
        said = b""
        # The end comes also when the child is killed.
        if select.select([reading], [], [], request.get("after") or 600)[0]:
            said = os.read(reading, 20)
        else:
            os.kill(child, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.close(reading)
        print(json.dumps({"code": code, "points": int(said or 0)}), flush=True)


if __name__ == "__main__":
    serve()
