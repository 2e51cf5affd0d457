"""Freed memory stays with a process that asked for it."""

import os
import subprocess
import sys

import pytest

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
