"""The benchmark of the input runs, compares like with like, and says what it measured."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rows(repository, tmp_path_factory):
    path = tmp_path_factory.mktemp("rates") / "rates.json"
    done = subprocess.run(
        [sys.executable, "benchmarks/input_rate.py", "--quick", f"--json={path}"],
        cwd=repository,
        env={**os.environ, "PYTHONPATH": str(repository)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(path.read_text())["rows"]


def test_every_kind_of_bytes_and_work_is_measured(rows):
    assert {row["kind"] for row in rows} == {"unlabeled sample", "labeled sample", "paired batch"}
    assert {row["bytes"] for row in rows} == {
        "same JPEG",
        "same PNG",
        "JPEG against original PNG",
    }
    assert len(rows) == 9


def test_ratios_are_those_of_the_rates(rows):
    for row in rows:
        for side, ratio in row["ratios"].items():
            assert row["rates"][side] > 0
            np.testing.assert_allclose(ratio, row["rates"]["c3tf"] / row["rates"][side])
