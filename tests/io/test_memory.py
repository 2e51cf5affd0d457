"""Freed memory stays with a process that asked for it."""

import os
import subprocess
import sys

import pytest

from c3tf.io import memory

PROGRAM = """
import re, sys
from c3tf.io import memory

def held():
    with open("/proc/self/status") as status:
        return int(re.search(r"VmRSS:\\s+(\\d+)", status.read())[1]) // 1024

asked = sys.argv[1:] == ["keep"] and memory.keep_freed()
array = bytearray(b"x") * (200 * 2**20)
del array
print(asked, held())
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="glibc's malloc is meant")


@pytest.mark.parametrize(
    ("arguments", "variables", "asked", "kept"),
    [
        (["keep"], {}, "True", True),
        ([], {}, "False", False),
        (["keep"], {"MALLOC_TOP_PAD_": "131072"}, "False", False),
    ],
    ids=["kept", "given back", "left to the user's variables"],
)
def test_freed_memory_is_kept_where_asked(repository, arguments, variables, asked, kept):
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        env=clean | {"PYTHONPATH": str(repository)} | variables,
        check=True,
        capture_output=True,
        text=True,
    ).stdout.split()
    assert answer[0] == asked
    assert (int(answer[1]) > 200) == kept


GB = 2**30


@pytest.mark.parametrize(
    ("files", "left"),
    [
        ({"memory.max": 8 * GB, "memory.current": 7 * GB}, 1 * GB),
        (
            {
                "memory.max": 8 * GB,
                "memory.current": 7 * GB,
                "memory.stat": f"anon {1 * GB}\ninactive_file {5 * GB}\nactive_file {1 * GB}\n",
            },
            6 * GB,
        ),
        (
            {
                "memory/memory.limit_in_bytes": 8 * GB,
                "memory/memory.usage_in_bytes": 8 * GB,
                "memory/memory.stat": f"inactive_file 7\ntotal_inactive_file {3 * GB}\n",
            },
            3 * GB,
        ),
        ({"memory.max": "max", "memory.current": 7 * GB}, 100 * GB),
        ({}, 100 * GB),
    ],
    ids=["used", "files that were read", "version 1", "no limit", "no group"],
)
def test_what_a_container_may_still_take(tmp_path, monkeypatch, files, left):
    """What the system holds of files that were read once, it gives up when memory is asked for."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{text}\n")
    monkeypatch.setattr(memory, "_CGROUP", str(tmp_path))
    monkeypatch.setattr(memory, "_of_machine", lambda: 100 * GB)
    assert memory.available() == left
