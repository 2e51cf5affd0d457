"""Training processes that are really killed, stopped and starved of disk, and started again."""

import json
import os
import random
import signal
import subprocess
import time

import pytest

import signals
import tiny_command
from c3tf.runs import checkpoints
from same_runs import assert_same_end

# Machines that build are shared.
TIMEOUT = 900


@pytest.fixture
def start(repository, data, tmp_path):
    """Starts the training command with its output below `tmp_path`."""
    processes = []

    def begin(name, replicas=1, environment=None, **options):
        mirrored = {"strategy": "mirrored", "replicas": 2} if replicas == 2 else {}
        words = tiny_command.flag_words(data, tmp_path / name, **mirrored, **options)
        log = open(tmp_path / f"{name}.log", "a")  # noqa: SIM115 - lives as long as the process
        process = subprocess.Popen(
            tiny_command.command(words),
            env=tiny_command.environment(repository, replicas) | (environment or {}),
            stdout=log,
            stderr=log,
            preexec_fn=signals.default,
        )
        processes.append(process)
        return process

    yield begin
    for process in processes:
        if process.poll() is None:
            process.kill()
            process.wait()


def run_of(tmp_path, name):
    return tmp_path / name / "c3"


def log_of(tmp_path, name):
    return (tmp_path / f"{name}.log").read_text()


def wait_for(process, condition):
    """Waits until something holds, or the process has ended."""
    deadline = time.monotonic() + TIMEOUT
    while process.poll() is None and not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def done(process):
    process.wait(TIMEOUT)
    return process.returncode


def has_checkpoint_after(run, step):
    folder = run / "checkpoints"
    return lambda: any(name >= f"step-{step:08d}" for name in listed(folder) if name[0] == "s")


def is_writing_after(run, step):
    """Whether a checkpoint of a step or a later one is half-written."""
    folder = run / "checkpoints"
    name = f"step-{step:08d}"
    return lambda: any(held[held.find("step-") :] >= name for held in hidden(folder))


def listed(folder):
    return os.listdir(folder) if folder.exists() else []


def hidden(folder):
    return [name for name in listed(folder) if name.startswith(".")]


def kill_when(process, condition):
    """Kills a process as soon as something holds; returns whether it was in time."""
    wait_for(process, condition)
    process.kill()
    return done(process) == -signal.SIGKILL


@pytest.mark.slow
def test_killed_in_the_middle_of_a_checkpoint_it_ends_as_if_undisturbed(start, tmp_path):
    undisturbed = start("undisturbed")
    run = run_of(tmp_path, "killed")
    assert kill_when(start("killed"), is_writing_after(run, 8))
    assert hidden(run / "checkpoints")
    assert done(start("killed")) == 0, log_of(tmp_path, "killed")
    assert "c3: continues after step " in log_of(tmp_path, "killed")
    assert done(undisturbed) == 0, log_of(tmp_path, "undisturbed")
    assert_same_end(run_of(tmp_path, "undisturbed"), run)


@pytest.mark.slow
@pytest.mark.parametrize("replicas", [1, 2])
def test_killed_at_random_moments_it_ends_as_if_undisturbed(start, tmp_path, replicas):
    options = {"replicas": replicas, "steps": 200, "checkpoint_every": 5, "evaluate_every": 50}
    assert done(start("undisturbed", **options)) == 0, log_of(tmp_path, "undisturbed")
    run, draw = run_of(tmp_path, "killed"), random.Random(replicas)
    kills = 0
    for low in (0, 30, 60, 100, 160):
        process = start("killed", **options)
        if low % 60 == 40:
            kills += kill_when(process, is_writing_after(run, low))
            continue
        wait_for(process, has_checkpoint_after(run, low))
        wait_for(process, after(draw.uniform(0, 1.0)))
        kills += kill_when(process, lambda: True)
    assert kills >= 3
    assert done(start("killed", **options)) == 0, log_of(tmp_path, "killed")
    assert_same_end(run_of(tmp_path, "undisturbed"), run)


def after(seconds):
    end = time.monotonic() + seconds
    return lambda: time.monotonic() >= end


@pytest.mark.parametrize(
    "number",
    [
        signal.SIGHUP,
        pytest.param(signal.SIGTERM, marks=pytest.mark.slow),
        pytest.param(signal.SIGINT, marks=pytest.mark.slow),
    ],
)
def test_a_signal_saves_first_and_the_run_goes_on_from_there(start, tmp_path, number):
    # No checkpoint would be due for a long time.
    options = {"steps": 100000, "checkpoint_every": 50000, "evaluate_every": 100000}
    process = start("run", **options)
    metrics = run_of(tmp_path, "run") / "metrics.jsonl"
    wait_for(process, lambda: metrics.exists() and metrics.stat().st_size)
    process.send_signal(number)
    assert done(process) == 75, log_of(tmp_path, "run")
    said = log_of(tmp_path, "run")
    assert f"{number.name}: saves and stops after this step; again stops at once" in said
    assert "Traceback" not in said
    (name,) = os.listdir(run_of(tmp_path, "run") / "checkpoints")
    step = int(name[5:13])
    assert f"c3: stopped by {number.name} after step {step}, which is saved." in said
    events = [json.loads(line) for line in (metrics.parent / "events.jsonl").open()]
    assert [event["event"] for event in events] == ["start", "stopped"]
    assert events[-1]["step"] == step
    assert checkpoints.read(checkpoints.find(str(metrics.parent)))[0]["step"] == step


def test_a_second_signal_stops_at_once(start, tmp_path):
    options = {"steps": 100000, "checkpoint_every": 50000, "evaluate_every": 100000}
    process = start("run", **options)
    events = run_of(tmp_path, "run") / "events.jsonl"
    # The first step is being compiled from here on, which takes seconds.
    wait_for(process, events.exists)
    process.send_signal(signal.SIGTERM)
    wait_for(process, lambda: "SIGTERM: saves" in log_of(tmp_path, "run"))
    process.send_signal(signal.SIGTERM)
    assert done(process) == 128 + signal.SIGTERM
    assert not (events.parent / "checkpoints").exists()


@pytest.mark.slow
def test_settings_from_outside_the_flags_change_nothing(start, tmp_path):
    (tmp_path / "keras.json").write_text(
        json.dumps(
            {
                "floatx": "float16",
                "epsilon": 0.1,
                "backend": "torch",
                "image_data_format": "channels_first",
            }
        )
    )
    outside = {
        "KERAS_HOME": str(tmp_path),
        "KERAS_BACKEND": "jax",
        "KERAS_MAX_STEPS_PER_EPOCH": "3",
        "TF_USE_LEGACY_KERAS": "1",
        "TF_XLA_FLAGS": "--tf_xla_auto_jit=2 --tf_xla_cpu_global_jit",
    }
    undisturbed = start("undisturbed")
    assert done(start("outside", environment=outside)) == 0, log_of(tmp_path, "outside")
    assert done(undisturbed) == 0, log_of(tmp_path, "undisturbed")
    assert_same_end(run_of(tmp_path, "undisturbed"), run_of(tmp_path, "outside"))
