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
    (case,) = train_step.QUICK.values()

    def results(**eager):
        ours = {"supervised": 2.0, "consistency": 1.0, "contrast": 3.0}
        return {"c3tf": {"losses": ours}, "eager": {"losses": eager}}

    train_step.compare_losses(case, results(supervised=2.001, consistency=1.0))
    with pytest.raises(RuntimeError, match="eager: consistency"):
        train_step.compare_losses(case, results(supervised=2.0, consistency=1.1))


class Side:
    """A side whose steps take the given seconds, the last of them ever after."""

    def __init__(self, way, *seconds):
        self.way, self.seconds, self.is_running = way, list(seconds), True

    def ask(self, question):
        if question == "peak":
            return {"bytes": 5}
        return {"seconds": self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]}

    def stop(self):
        self.is_running = False


def test_the_first_turn_does_not_count_and_time_ends_the_race(train_step):
    sides = [Side("c3tf", 1, 7, 5, 6), Side("eager", 9, 8)]
    assert train_step.race(sides, 10, 60.0) == [("c3tf", 5), ("eager", 8)]
    many = Side("c3tf", *range(9, 0, -1))
    assert train_step.race([many], 8, 0.0) == [("c3tf", 9 - train_step.FEWEST_TURNS)]


def test_the_fastest_way_goes_on_alone(train_step):
    sides = [Side("eager"), Side("channels_last"), Side("compile")]
    results = {side.way: {"seconds": s} for side, s in zip(sides, (3.0, 2.0, 4.0), strict=True)}
    assert train_step.keep_fastest(sides, results) == [sides[1]]
    assert [side.is_running for side in sides] == [False, True, False]
    assert results["eager"] == {"seconds": 3.0, "peak": 5}


@pytest.mark.slow
def test_quick_run_reports_every_part(train_step, repository, tmp_path):
    path = tmp_path / "step.json"
    program = repository / "benchmarks" / "train_step.py"
    run = subprocess.run(
        [
            sys.executable,
            program,
            "--quick",
            "--torch=none",
            "--precision=float32",
            f"--json={path}",
        ],
        env={key: value for key, value in os.environ.items() if key != "PYTHONPATH"},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    (row,) = json.loads(path.read_text())["rows"]
    assert row["case"]["precision"] == "float32"
    (ours,) = row["sides"].values()
    assert 0 < ours["seconds"] < ours["first"]
    assert ours["peak"] > 0
    assert set(ours["parts"]) == set(train_step.PARTS)
