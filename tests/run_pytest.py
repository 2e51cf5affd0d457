"""Runs pytest on the files named on the command line: the main program of Bazel's tests."""

import sys

import pytest

if __name__ == "__main__":
    sys.exit(pytest.main(sys.argv[1:]))
