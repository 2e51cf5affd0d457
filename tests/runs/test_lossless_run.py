"""Runs that break down: broken numbers, a full disk, changed flags; and what they leave behind."""

import json
import os
import resource
import shutil
import subprocess

import keras
import numpy as np
import pytest
import tensorflow as tf

import tiny_command
from c3tf.config import Config, ConfigError, environment
from c3tf.data import pipeline
from c3tf.errors import DataError, Stopped, StorageError
from c3tf.runs import checkpoints
from c3tf.runs.checkpoints import CheckpointError
from c3tf.runs.nonfinite import NonFiniteError
from c3tf.runs.run import Run
from c3tf.runs.run_dir import RunDirError
from c3tf.training import builder
from c3tf.training.step import C3Trainer

pytestmark = pytest.mark.usefixtures("tiny_networks")


def settings(data, output, **options) -> Config:
    options = {"steps": 8, "supervised_steps": 3, "evaluate_every": 8, **options}
    return Config().with_options(**tiny_command.options(data, output, **options))


def stopped_at(config, step):
    """Trains until a request comes in a step; returns what was said."""
    run = Run(config, "c3")
    with pytest.raises(Stopped) as caught:
        run.train(tiny_command.StopAt(run, step))
    return caught.value


@pytest.fixture(scope="module")
def half_done(data, tmp_path_factory):
    """A run that was stopped after step 5."""
    output = tmp_path_factory.mktemp("half") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "build_model", tiny_command.build_model)
        stopped_at(settings(data, output), 5)
    return output


@pytest.fixture
def stopped(half_done, tmp_path):
    """A copy of that run."""
    return shutil.copytree(half_done, tmp_path / "run")


def events(output):
    return [json.loads(line) for line in (output / "events.jsonl").open()]


def saved_files(output):
    return sorted(os.listdir(output / "checkpoints"))


def test_a_loss_that_is_not_finite_leaves_its_batch_and_the_checkpoint_before(
    data, tmp_path, monkeypatch
):
    original = C3Trainer.consistency_loss

    def broken(self, *arguments):
        loss = original(self, *arguments)
        return tf.where(self.optimizer.iterations == 6, np.nan, loss)

    monkeypatch.setattr(C3Trainer, "consistency_loss", broken)
    config = settings(data, tmp_path / "run")
    run = Run(config, "c3")
    with pytest.raises(NonFiniteError) as caught:
        run.train()
    said = str(caught.value)
    assert said.startswith("At step 7 the loss is not finite: ")
    assert "consistency = nan" in said
    assert "Step 6 is saved." in said
    assert caught.value.exit_code == 3
    assert saved_files(tmp_path / "run") == ["step-00000004.npz", "step-00000006.npz"]
    saved = checkpoints.read(checkpoints.find(str(tmp_path / "run")))[1]
    assert all(np.isfinite(array).all() for array in saved.values())
    with np.load(tmp_path / "run" / "nonfinite-step-00000007.npz") as held:
        batch = next(iter(pipeline.semi_supervised_batches(run.data, config, 6)))
        for name, part in batch._asdict().items():
            np.testing.assert_array_equal(held[name], part, err_msg=name)
        assert held["thresholds"].shape == (5,)
        facts = json.loads(str(held["facts"]))
    assert facts["step"] == 7
    assert facts["parts"]["consistency"] == "nan"
    assert float(facts["parts"]["supervised"]) > 0
    assert facts["newest_checkpoint"] == 6
    assert [event["event"] for event in events(tmp_path / "run")] == ["start", "not_finite"]


def test_a_gradient_that_breaks_the_weights_is_caught_before_they_are_saved(
    data, tmp_path, monkeypatch
):
    @tf.custom_gradient
    def explode(x):
        return x, lambda upstream: upstream * np.inf

    original = C3Trainer.supervised_loss
    monkeypatch.setattr(
        C3Trainer, "supervised_loss", lambda self, *words: explode(original(self, *words))
    )
    with pytest.raises(NonFiniteError, match=r"After step 1 student/.* is not finite"):
        Run(settings(data, tmp_path / "run", checkpoint_every=1), "c3").train()
    assert not (tmp_path / "run" / "checkpoints").exists()
    assert (tmp_path / "run" / "nonfinite-step-00000001.npz").exists()


@pytest.mark.slow
def test_a_checkpoint_too_large_for_the_disk_leaves_those_before_it(data, stopped):
    before = saved_files(stopped)
    size = (stopped / "checkpoints" / before[-1]).stat().st_size
    run = Run(settings(data, stopped), "c3")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, limits[1]))
    try:
        with pytest.raises(StorageError) as caught:
            run.train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "step-00000006.npz: File too large. The checkpoints up to step 5" in str(caught.value)
    assert caught.value.exit_code == 74
    assert saved_files(stopped) == before
    assert checkpoints.read(checkpoints.find(str(stopped)))[0]["step"] == 5


@pytest.mark.slow
def test_a_full_disk_stops_the_run_and_space_lets_it_go_on(data, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "tmpfs", str(small)]
    if subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("needs the right to mount a small file system")
    try:
        config = settings(data, small / "run", keep_checkpoints=50)
        with pytest.raises(StorageError, match="No space left on device"):
            Run(config, "c3").train()
        held = saved_files(small / "run")
        assert held
        for name in held:
            checkpoints.read(str(small / "run" / "checkpoints" / name))
        subprocess.run(["mount", "-o", "remount,size=20m", str(small)], check=True)
        Run(config, "c3").train()
        undisturbed = settings(data, tmp_path / "other", keep_checkpoints=50)
        Run(undisturbed, "c3").train()
        ends = [
            checkpoints.read(checkpoints.find(r.training.output))[1] for r in (config, undisturbed)
        ]
        for name, array in ends[0].items():
            np.testing.assert_array_equal(array, ends[1][name], err_msg=name)
    finally:
        subprocess.run(["umount", "--lazy", str(small)], check=True)


@pytest.mark.slow
def test_an_evaluation_that_was_given_up_is_made_up_for(data, tmp_path):
    stopped = stopped_at(settings(data, tmp_path / "run", evaluate_every=4), 4)
    assert str(stopped).startswith("c3: stopped by SIGTERM after step 4, which is saved.")
    assert stopped.exit_code == 75
    assert not (tmp_path / "run" / "evaluations").exists()
    Run(settings(data, tmp_path / "run", evaluate_every=4), "c3").train()
    evaluated = {name[:13] for name in os.listdir(tmp_path / "run" / "evaluations")}
    assert evaluated == {"step-00000004", "step-00000008"}
    assert "best.npz" in saved_files(tmp_path / "run")


@pytest.mark.slow
def test_a_best_that_was_not_kept_in_time_is_kept_later(data, tmp_path, monkeypatch):
    def killed(self, path):
        raise KeyboardInterrupt

    config = settings(data, tmp_path / "run", evaluate_every=4)
    original = checkpoints.CheckpointStore.mark_best
    monkeypatch.setattr(checkpoints.CheckpointStore, "mark_best", killed)
    with pytest.raises(KeyboardInterrupt):
        Run(config, "c3").train()
    monkeypatch.setattr(checkpoints.CheckpointStore, "mark_best", original)
    assert saved_files(tmp_path / "run") == ["step-00000002.npz", "step-00000004.npz"]
    stopped_at(config, 5)
    best = checkpoints.read(str(tmp_path / "run" / "checkpoints" / "best.npz"))
    assert best[0]["step"] == 4


def test_changed_flags_are_refused_then_allowed_and_written_down(data, stopped):
    changed = {"learning_rate": 0.01, "steps": 7, "evaluate_every": 4}
    with pytest.raises(
        RunDirError, match=r"--steps: 8 -> 7; --learning_rate: 0\.001 -> 0\.01.*--allow_changed"
    ):
        Run(settings(data, stopped, **changed), "c3")
    allowed = settings(data, stopped, **changed, allow_changed_flags=True)
    Run(allowed, "c3").train()
    said = events(stopped)
    assert [e["event"] for e in said] == ["start", "stopped", "changed_flags", "start", "finished"]
    assert said[2]["step"] == 5
    assert said[2]["changes"] == ["--steps: 8 -> 7", "--learning_rate: 0.001 -> 0.01"]
    written = json.loads((stopped / "config.json").read_text())
    assert Config.from_dict(written["config"]) == allowed
    with pytest.raises(RunDirError, match="--steps: 7 -> 8"):
        Run(settings(data, stopped), "c3")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"steps": 4}, ConfigError, "`--steps` must be at least 5, which the run has done"),
        ({"supervised_steps": 6}, ConfigError, "`--supervised_steps` must be at most 5"),
    ],
)
def test_durations_that_the_run_has_left_behind_are_refused(data, stopped, options, error, message):
    before = (stopped / "config.json").read_bytes()
    changed = settings(data, stopped, **options, allow_changed_flags=True)
    with pytest.raises(error, match=message):
        Run(changed, "c3").train()
    assert (stopped / "config.json").read_bytes() == before


def test_a_file_of_class_weights_must_stay_what_it_was(data, tmp_path):
    path = tmp_path / "weights.json"
    config = settings(data, tmp_path / "run", class_weights=str(path), checkpoint_every=1)
    path.write_text(json.dumps(dict.fromkeys(tiny_command.LABEL_MAP.class_names, 2)))
    stopped_at(config, 1)
    facts = checkpoints.read(checkpoints.find(config.training.output))[0]
    assert facts["class_weights"] == [2.0] * 5
    path.write_text(path.read_text().replace("2", "3", 1))
    with pytest.raises(ConfigError, match="`--class_weights` must be those that the run was begun"):
        Run(config, "c3").train()
    stopped_at(config.with_options(allow_changed_flags=True), 2)
    changes = [event["changes"] for event in events(tmp_path / "run") if "changes" in event]
    assert changes == [[f"contents of --class_weights={path}"]]


@pytest.mark.parametrize(("weights", "kept"), [("student", 0.9), ("teacher", -1.0)])
def test_the_best_score_is_of_the_network_that_is_exported(data, stopped, weights, kept):
    config = settings(data, stopped)
    store = checkpoints.CheckpointStore(str(stopped), keep=2)
    run = Run(config, "c3")
    facts = store.restore(run.model)
    assert facts["best_of"] == "student"
    store.save(run.model, {**facts, "best": 0.9})
    again = Run(settings(data, stopped, export_weights=weights), "c3")
    assert again._restore() == 5
    assert again._best == kept


def test_a_run_whose_checkpoints_are_all_damaged_says_so(data, stopped):
    config = settings(data, stopped)
    for name in saved_files(stopped):
        (stopped / "checkpoints" / name).write_bytes(b"x")
    with pytest.raises(CheckpointError, match="is damaged or no checkpoint"):
        Run(config, "c3").train()


def test_streamed_data_that_is_deleted_under_a_run_is_named(tmp_path):
    folder = tmp_path / "data"
    tiny_command.write_data(folder)
    options = {"unlabeled_source": "stream", "shuffle_buffer": 1}
    run = Run(settings(folder, tmp_path / "run", **options), "c3")
    original = run._after_step

    def after_step(step):
        for shard in folder.glob("train-*.tfrecord"):
            shard.unlink()
        original(step)

    run._after_step = after_step
    with pytest.raises(DataError, match=r"a file cannot be read any more: .*Put it back; training"):
        run.train()


def test_training_that_ends_early_is_no_finished_run(data, tmp_path, monkeypatch):
    # As if a setting were unknown to `environment`; Keras is content with fewer steps.
    monkeypatch.setattr(environment, "settle", lambda: None)
    keras.config.set_max_steps_per_epoch(2)
    run = Run(settings(data, tmp_path / "run"), "c3")
    try:
        with pytest.raises(DataError, match=r"ended after step 2 in place of 3: .* cut it short"):
            run.train()
    finally:
        keras.config.set_max_steps_per_epoch(None)
    assert not {"results.json", "saved_model", "evaluations"} & set(os.listdir(tmp_path / "run"))
