"""The benchmark of the method's cost runs and reports; what it finds is not for a test to say."""

import json
import math
import os
import subprocess
import sys

import pytest


def numbers(value):
    """All numbers in nested dicts."""
    if isinstance(value, dict):
        return [number for part in value.values() for number in numbers(part)]
    return [value] if isinstance(value, float | int) and not isinstance(value, bool) else []


@pytest.mark.slow
def test_quick_run_reports_finite_ratios(repository, tmp_path):
    path = tmp_path / "cost.json"
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    run = subprocess.run(
        [sys.executable, repository / "benchmarks" / "method_cost.py", "--quick", f"--json={path}"],
        env=environment,
        # Wherever it is started from.
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    results = json.loads(path.read_text())
    assert results["settings"]["malloc"]["MALLOC_MMAP_MAX_"] == "0"
    assert set(results["parts"]) >= {"dcrs", "contrast", "contrast, many images", "cutmix"}
    for name, part in results["parts"].items():
        assert all(seconds > 0 for seconds in part["seconds"].values())
        assert name in run.stdout
    assert results["growth"]["dcrs"]
    assert all(used["peak"] > 0 for used in results["memory"].values())
    assert results["memory"]
    assert all(math.isfinite(number) for number in numbers(results))
