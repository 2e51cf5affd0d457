"""What native code prints: held back, written down, shown when a command fails."""

import os
import subprocess
import sys

import pytest

NATIVE = """
import os
from c3tf import cli

def main():
    os.write(2, b"I0000 00:00:17.1 1 cudart_stub.cc:31] Could not find cuda drivers\\n")
    os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called\\n")
    os.write(2, b"2026-01-31 12:00:00.123456: E xla/cuda.cc:1] failed call to cuInit\\n")
    os.write(2, b"something else, ")
    os.write(2, b"in two parts\\n")
    {ending}

cli.run(main)
"""


def native(repository, tmp_path, ending, *words):
    return subprocess.run(
        [sys.executable, "-c", NATIVE.format(ending=ending), *words],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(repository)},
    )


def test_what_tensorflow_prints_is_held_back_and_nothing_else(repository, tmp_path):
    done = native(repository, tmp_path, "cli.keep_native_log('native.log')")
    assert done.returncode == 0
    assert done.stderr == "something else, in two parts\n"
    lines = (tmp_path / "native.log").read_text().splitlines()
    assert [line[:5] for line in lines] == ["I0000", "WARNI", "2026-"]


def test_what_tensorflow_prints_is_shown_when_asked_for(repository, tmp_path):
    assert "cuInit" in native(repository, tmp_path, "pass", "--verbosity=0").stderr


def test_a_user_error_stands_alone_whatever_tensorflow_printed(repository, tmp_path):
    ending = "from c3tf.errors import UserError; raise UserError('`--a` must be b.')"
    done = native(repository, tmp_path, ending)
    assert done.returncode == 2
    # What is passed on goes through another process.
    assert set(done.stderr.splitlines()) == {
        "python -m -c: error: `--a` must be b.",
        "something else, in two parts",
    }


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        ("raise RuntimeError('a bug')", "RuntimeError: a bug"),
        ("os.abort()", "Aborted"),
        ("os.kill(os.getpid(), 9)", ""),
    ],
)
def test_a_failure_shows_what_was_held_back(repository, tmp_path, ending, said):
    done = native(repository, tmp_path, ending)
    assert done.returncode not in (0, 2)
    assert "failed call to cuInit" in done.stderr
    assert said in done.stderr
    if "Traceback" in done.stderr:
        assert done.stderr.index("cuInit") < done.stderr.index("Traceback")
