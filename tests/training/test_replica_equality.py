"""Two replicas under `MirroredStrategy` train like one device."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).with_name("replica_run.py")


@pytest.fixture(scope="module")
def outcomes(repository, tmp_path_factory):
    """What `replica_run.py` wrote on 1 and on 2 replicas."""
    folder = tmp_path_factory.mktemp("replicas")
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(repository), str(repository / "tests")])
    }
    files = [folder / f"{replicas}.npz" for replicas in (1, 2)]
    processes = [
        subprocess.Popen(
            [sys.executable, SCRIPT, str(replicas), file],
            env=environment,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for replicas, file in zip((1, 2), files, strict=True)
    ]
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], "\n".join(errors)
    return [dict(np.load(file)) for file in files]


def assert_equal(outcomes, run, tolerance, keys=""):
    one, two = (
        {key: value for key, value in outcome.items() if key.startswith(f"{run}/{keys}")}
        for outcome in outcomes
    )
    assert one.keys() == two.keys()
    assert one
    for key, value in one.items():
        np.testing.assert_allclose(two[key], value, rtol=tolerance, atol=tolerance, err_msg=key)


@pytest.mark.parametrize("part", ["log", "thresholds", "student", "teacher"])
def test_float64_agrees_after_20_steps(outcomes, part):
    assert len(outcomes[0]["paper/log/loss"]) == 20
    assert_equal(outcomes, "paper", 1e-9, part)


def test_float64_agrees_with_the_authors_switches(outcomes):
    """From the supervised phase on, where they contrast already; oneself has a global id."""
    assert len(outcomes[0]["authors/log/supervised_phase"]) == 2
    assert_equal(outcomes, "authors", 1e-9)


def test_without_gathering_every_replica_contrasts_with_its_own_keys(outcomes):
    """So this option alone is exempt: the loss depends on who shares a replica."""
    one, two = (outcome["own keys/log/contrast"] for outcome in outcomes)
    assert np.isfinite(two).all()
    assert abs(one - two).max() > 1e-3
    # The rest is as ever, also the means over all pixels of the batch.
    for part in ("supervised", "consistency", "confident", "anchors", "hard_anchors"):
        assert_equal(outcomes, "own keys", 1e-9, f"log/{part}")


def test_float32_agrees_in_the_first_step(outcomes):
    assert_equal(outcomes, "float32", 1e-5, "log")
    assert_equal(outcomes, "float32", 1e-5, "thresholds")


def test_the_runs_exercise_every_loss(outcomes):
    for run in ("paper", "authors"):
        logs = {
            key: outcomes[1][f"{run}/log/{key}"]
            for key in (
                "supervised",
                "consistency",
                "contrast",
                "confident",
                "anchors",
                "hard_anchors",
            )
        }
        assert all((values > 0).all() for values in logs.values())
        assert (logs["confident"] < 1).all()
        assert (logs["hard_anchors"] < logs["anchors"]).all()
