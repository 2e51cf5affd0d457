"""The benchmark of networks and methods runs; what it finds is not for a test to say."""

import importlib
import json
import subprocess
import sys

import pytest


def test_every_network_and_every_method_stands_beside_the_first(repository, monkeypatch):
    monkeypatch.syspath_prepend(repository / "benchmarks")
    benchmark = importlib.import_module("step_of_networks")
    rows = benchmark.rows_of(["a", "b"], ["v2", "v3"], ["unimatch"])
    assert rows == [
        ("a", "v2", "c3"),
        ("b", "v2", "c3"),
        ("a", "v3", "c3"),
        ("b", "v3", "c3"),
        ("a", "v2", "unimatch"),
    ]
    assert set(benchmark.OTHERS) == {"supervised", "cutmix_mean_teacher", "classmix", "unimatch"}


@pytest.mark.slow
def test_quick_run_reports_every_row(repository, tmp_path):
    script, out = repository / "benchmarks" / "step_of_networks.py", tmp_path / "out.json"
    words = ["--quick", "--backbone=efficientnet_lite0", f"--json={out}"]
    subprocess.run([sys.executable, script, *words], check=True)
    rows = json.loads(out.read_text())["rows"]
    assert len(rows) == 6
    assert all(row["seconds"] > 0 and row["ratio"] > 0 for row in rows)
    of_head = {row["head"]: row["parameters"] for row in rows}
    assert of_head["deeplab_v2"] < of_head["deeplab_v3plus"]
