"""The benchmark of the train step runs and reports; what it finds is not for a test to say."""

import importlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from c3tf.data.batch import SemiBatch


@pytest.fixture
def train_step(repository, monkeypatch):
    monkeypatch.syspath_prepend(repository / "benchmarks")
    return importlib.import_module("train_step")


def test_every_case_draws_a_batch_as_the_pipeline_makes_it(train_step):
    for case in (*train_step.CASES.values(), *train_step.QUICK.values()):
        batch = train_step.draw_batch(case)
        assert set(batch) == set(SemiBatch._fields)
        assert {len(part) for part in batch.values()} == {case.pairs}
        assert batch["y"].shape == batch["u_valid"].shape == (case.pairs, case.height, case.width)
        assert batch["x"].shape == batch["u_s"].shape == (*batch["y"].shape, 3)
        assert sorted(batch["mix_order"].ravel()) == list(range(2 * case.pairs))
        top, left, height, width = batch["mix_boxes"].T
        assert (top + height <= case.height).all()
        assert (left + width <= case.width).all()
        np.testing.assert_allclose(height * width / (case.height * case.width), 0.5, atol=0.03)


def test_sides_that_compute_other_losses_are_not_raced(train_step):
    class Side:
        def __init__(self, way, **losses):
            self.way, self.ready = way, {"losses": losses}

    (case,) = train_step.QUICK.values()
    ours = Side("c3tf", supervised=2.0, consistency=1.0, contrast=3.0)
    train_step.compare_losses(case, [ours, Side("eager", supervised=2.001, consistency=1.0)])
    with pytest.raises(RuntimeError, match="eager: consistency"):
        train_step.compare_losses(case, [ours, Side("eager", supervised=2.0, consistency=1.1)])


@pytest.mark.slow
def test_quick_run_reports_every_part(repository, tmp_path):
    path = tmp_path / "step.json"
    program = repository / "benchmarks" / "train_step.py"
    run = subprocess.run(
        [sys.executable, program, "--quick", "--torch=none", f"--json={path}"],
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    rows = json.loads(path.read_text())["rows"]
    assert [row["case"]["precision"] for row in rows] == ["float32", "mixed_bfloat16"]
    for row in rows:
        (ours,) = row["sides"].values()
        assert ours["seconds"] > 0
        assert ours["peak"] > 0
        assert set(ours["parts"]) == {
            "teacher", "student forward", "backward", "losses", "optimizer", "rest"
        }  # fmt: skip
