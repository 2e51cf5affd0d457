"""Runs pytest on the files named on the command line: the main program of Bazel's tests."""

import sys

import pytest

if __name__ == "__main__":
    # Bazel runs its targets side by side itself.
    sys.exit(pytest.main(["-n0", *sys.argv[1:]]))
