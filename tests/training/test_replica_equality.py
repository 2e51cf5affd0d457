"""Several replicas, on one host or on several, train like one device."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import loopback
import reference_rivals

SCRIPT = Path(__file__).parents[1] / "support" / "replica_run.py"
RIVALS = tuple(reference_rivals.STEPS)
PLAIN_RUNS = ("paper", "authors", "own keys", "nothing sampled", "float32")
# Name: replicas per process, processes, runs.
SETUPS = {
    "one": (1, 1, (*PLAIN_RUNS, "jit")),
    "two": (2, 1, PLAIN_RUNS),
    "two, compiled": (2, 1, ("jit",)),
    "one, rivals": (1, 1, RIVALS),
    "two, rivals": (2, 1, RIVALS),
    "four": (4, 1, ("paper", "float32")),
    "hosts": (1, 2, ("float32",)),
    "hosts, many steps": (1, 2, ("paper",)),
}
SLOW = ("two, compiled", "four", "hosts, many steps")


class Outcomes(dict):
    """What `replica_run.py` wrote in a setup, by process; it runs when it is first asked for."""

    def __init__(self, repository, folder):
        super().__init__()
        self._repository, self._folder = repository, folder

    def __missing__(self, name):
        self[name] = run(self._repository, self._folder / name.replace(", ", "-"), *SETUPS[name])
        return self[name]


@pytest.fixture(scope="module")
def outcomes(repository, tmp_path_factory):
    return Outcomes(repository, tmp_path_factory.mktemp("replicas"))


def run(repository, output, replicas, processes, runs):
    """Runs one setup; its processes find each other on loopback."""
    environment = os.environ | {
        "PYTHONPATH": os.pathsep.join([str(repository), str(repository / "tests" / "support")])
    }
    command = [sys.executable, SCRIPT, str(replicas), output, *runs]
    started = [
        subprocess.Popen(
            command,
            env=environment | place,
            text=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        for place in loopback.places(processes)
    ]
    errors = [process.communicate(timeout=600)[1] for process in started]
    assert not any(process.returncode for process in started), "\n".join(errors)
    return [dict(np.load(output.with_suffix(f".{index}.npz"))) for index in range(processes)]


def assert_equal(outcomes, setup, run, tolerance, keys="", one="one"):
    expected = pick(outcomes[one][0], f"{run}/{keys}")
    assert expected
    for outcome in outcomes[setup]:
        found = pick(outcome, f"{run}/{keys}")
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            np.testing.assert_allclose(
                found[key], value, rtol=tolerance, atol=tolerance, err_msg=key
            )


def pick(outcome, prefix):
    return {key: value for key, value in outcome.items() if key.startswith(prefix)}


def in_setups(*names):
    marked = [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in names]
    return pytest.mark.parametrize("setup", marked)


@in_setups("two", "four", "hosts, many steps")
@pytest.mark.parametrize("part", ["log", "thresholds", "student", "teacher"])
def test_float64_agrees_after_20_steps(outcomes, setup, part):
    assert len(outcomes["one"][0]["paper/log/loss"]) == 20
    assert_equal(outcomes, setup, "paper", 1e-9, part)


def test_float64_agrees_with_the_authors_switches(outcomes):
    """From the supervised phase on, where they contrast already; oneself has a global id."""
    assert len(outcomes["one"][0]["authors/log/supervised_phase"]) == 2
    assert_equal(outcomes, "two", "authors", 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("method", RIVALS)
def test_float64_agrees_for_the_rivals(outcomes, method):
    logs = pick(outcomes["two, rivals"][0], f"{method}/log/")
    for part in ("supervised", "consistency", "confident"):
        assert (logs[f"{method}/log/{part}"] > 0).all()
    assert_equal(outcomes, "two, rivals", method, 1e-9, one="one, rivals")


def test_replicas_that_have_no_sample_to_exchange_go_on(outcomes):
    assert not outcomes["one"][0]["nothing sampled/log/anchors"].any()
    assert_equal(outcomes, "two", "nothing sampled", 1e-9)


def test_without_gathering_every_replica_contrasts_with_its_own_keys(outcomes):
    """So this option alone is exempt: the loss depends on who shares a replica."""
    one, two = (outcomes[setup][0]["own keys/log/contrast"] for setup in ("one", "two"))
    assert np.isfinite(two).all()
    assert abs(one - two).max() > 1e-3
    # The rest is as ever, also the means over all pixels of the batch.
    for part in ("supervised", "consistency", "confident", "anchors", "hard_anchors"):
        assert_equal(outcomes, "two", "own keys", 1e-9, f"log/{part}")


@in_setups("two", "four", "hosts")
def test_float32_agrees_in_the_first_step(outcomes, setup):
    assert_equal(outcomes, setup, "float32", 1e-5, "log")
    assert_equal(outcomes, setup, "float32", 1e-5, "thresholds")


@in_setups("two, compiled")
def test_float64_agrees_with_compiled_networks(outcomes, setup):
    assert_equal(outcomes, setup, "jit", 1e-9)


def test_compiled_networks_compute_the_same(outcomes):
    """The run with XLA differs from the one without it in length only."""
    one = outcomes["one"][0]
    assert one["jit/log/supervised_phase"][0] == pytest.approx(
        one["paper/log/supervised_phase"][0], rel=1e-12
    )


@in_setups("two", "four", "hosts")
def test_an_overflow_on_one_replica_leaves_all_weights(outcomes, setup):
    assert_equal(outcomes, setup, "overflow", 1e-6)
    before, skipped, after = outcomes[setup][0]["overflow/values"]
    np.testing.assert_array_equal(skipped, before)
    assert (after != before).all()
    assert outcomes[setup][0]["overflow/scale"] == 0.5


def test_every_process_hears_all_others(outcomes):
    assert [outcome["places"].tolist() for outcome in outcomes["hosts"]] == [[10, 11]] * 2
    assert outcomes["two"][0]["places"].tolist() == [10]


def test_the_runs_exercise_every_loss(outcomes):
    for run in ("paper", "authors"):
        logs = {
            key: outcomes["two"][0][f"{run}/log/{key}"]
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
