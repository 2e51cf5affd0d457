"""A run directory belongs to one configuration and nothing in it is overwritten."""

import json
import os
import re

import pytest

from c3tf.config import OPTIONS, Config, Resume
from c3tf.runs import run_dir
from c3tf.runs.run_dir import RunDirError

pytestmark = pytest.mark.smoke

CONFIG = Config().with_options(learning_rate=0.001, scales=[0.75, 1.0])


def begun(output, config=CONFIG):
    """Makes the directory of a run that has a checkpoint."""
    run_dir.claim(str(output), config, "abc", "123")
    (output / "checkpoints").mkdir()
    (output / "checkpoints" / "step-00000001.npz").write_text("x")


def test_claims_a_new_directory_and_writes_the_whole_configuration(tmp_path):
    output = tmp_path / "runs" / "first"
    run_dir.claim(str(output), CONFIG, "abc", "123")
    written = json.loads((output / "config.json").read_text())
    assert Config.from_dict(written["config"]) == CONFIG
    assert written["split"] == "abc"
    assert written["versions"] == run_dir.versions()
    assert {"c3tf", "tensorflow", "keras", "python"} == set(written["versions"])
    assert os.listdir(output) == ["config.json"]


def test_claims_an_empty_directory(tmp_path):
    run_dir.claim(str(tmp_path), CONFIG, "abc", "123")
    assert os.listdir(tmp_path) == ["config.json"]


def test_checking_writes_nothing_and_refuses_what_claiming_refuses(tmp_path):
    run_dir.check(str(tmp_path / "run"), CONFIG)
    assert os.listdir(tmp_path) == []
    begun(tmp_path)
    run_dir.check(str(tmp_path), CONFIG)
    with pytest.raises(RunDirError, match="--seed"):
        run_dir.check(str(tmp_path), CONFIG.with_options(seed=1))


def test_another_data_set_is_refused(tmp_path):
    begun(tmp_path)
    with pytest.raises(RunDirError, match="data: 123 -> 456"):
        run_dir.claim(str(tmp_path), CONFIG, "abc", "456")


def test_the_same_configuration_goes_on_and_leaves_the_file_alone(tmp_path):
    run_dir.claim(str(tmp_path), CONFIG, "abc", "123")
    before = (tmp_path / "config.json").read_bytes()
    (tmp_path / "checkpoints").mkdir()
    run_dir.claim(str(tmp_path), CONFIG, "abc", "123")
    # Where the data lie and how often something is written decides nothing that is learned.
    moved = CONFIG.with_options(
        data="elsewhere",
        output="x",
        log_every=7,
        checkpoint_every=9,
        evaluate_every=18,
        keep_checkpoints=3,
        cache="disk",
        cache_dir="y",
        input_threads=2,
        strategy="mirrored",
        replicas=2,
        image_log_interval=3,
        allow_changed_flags=True,
    )
    for changed in (moved, CONFIG.with_options(tensorboard=False)):
        run_dir.claim(str(tmp_path), changed, "abc", "123")
        assert (tmp_path / "config.json").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"learning_rate": 0.01}, r"--learning_rate: 0\.001 -> 0\.01"),
        ({"scales": [0.5]}, r"--scales: 0\.75,1\.0 -> 0\.5"),
        ({"seed": 1}, "--seed: 0 -> 1"),
        ({"backbone": "resnet50"}, "--backbone: resnet101 -> resnet50"),
        ({"method": "supervised"}, "--method: c3 -> supervised"),
    ],
)
def test_another_configuration_is_refused_with_the_flag_and_both_values(tmp_path, options, message):
    begun(tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    with pytest.raises(RunDirError, match=message):
        run_dir.claim(str(tmp_path), CONFIG.with_options(**options), "abc", "123")
    assert (tmp_path / "config.json").read_bytes() == before


@pytest.mark.parametrize("options", [{"backbone": "resnet50"}, {"crop_height": 96}])
def test_a_run_without_a_checkpoint_gives_way_to_another(tmp_path, options):
    """Its memory did not suffice, say, and the next try has another network or a smaller crop."""
    run_dir.claim(str(tmp_path), CONFIG, "abc", "123")
    for name in ("events.jsonl", "metrics.jsonl", "tensorflow.log"):
        (tmp_path / name).write_text("{}")
    (tmp_path / "tensorboard").mkdir()
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / ".step-00000001.npz.partial-9").write_text("half")
    other = CONFIG.with_options(**options)
    changes = run_dir.claim(str(tmp_path), other, "abc", "123")
    assert [change.name for change in changes] == [f"--{name}" for name in options]
    run_dir.record(str(tmp_path), other, "abc", "123")
    assert run_dir.claim(str(tmp_path), other, "abc", "123") == []


@pytest.mark.parametrize("name", ["results.json", "nonfinite-step-00000001.npz", "notes.txt"])
def test_whatever_else_a_run_holds_is_protected(tmp_path, name):
    run_dir.claim(str(tmp_path), CONFIG, "abc", "123")
    (tmp_path / name).write_text("x")
    with pytest.raises(RunDirError, match="--seed"):
        run_dir.claim(str(tmp_path), CONFIG.with_options(seed=1), "abc", "123")


@pytest.mark.parametrize("checkpoints", [None, "link", "folder"])
def test_a_run_whose_checkpoints_are_out_of_reach_is_protected(tmp_path, checkpoints):
    """Their disk is not mounted, say: a link that leads nowhere, or an empty folder."""
    run_dir.claim(str(tmp_path), CONFIG, "abc", "123")
    trained = CONFIG.training.checkpoint_every if checkpoints != "link" else 1
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": {trained}, "loss": 1.0}}\n')
    if checkpoints == "link":
        (tmp_path / "checkpoints").symlink_to(tmp_path / "absent")
    elif checkpoints == "folder":
        (tmp_path / "checkpoints").mkdir()
    for options in (
        {"seed": 1},
        {"backbone": "resnet50"},
        {"allow_changed_flags": True, "seed": 1},
    ):
        with pytest.raises(RunDirError, match="no checkpoint is found to go on from"):
            run_dir.claim(str(tmp_path), CONFIG.with_options(**options), "abc", "123")


def test_a_run_before_its_first_checkpoint_gives_way(tmp_path):
    run_dir.claim(str(tmp_path), CONFIG, "abc", "123")
    trained = CONFIG.training.checkpoint_every - 1
    (tmp_path / "metrics.jsonl").write_text(f'{{"step": {trained}, "loss": 1.0}}\n')
    assert run_dir.claim(str(tmp_path), CONFIG.with_options(seed=1), "abc", "123")


def test_all_differences_are_named_the_split_included(tmp_path):
    begun(tmp_path)
    with pytest.raises(RunDirError) as caught:
        run_dir.claim(str(tmp_path), CONFIG.with_options(seed=4, temperature=0.2), "def", "123")
    for part in ("--seed: 0 -> 4", "--temperature", "split: abc -> def"):
        assert part in str(caught.value)
    assert "--learning_rate" not in str(caught.value)


def test_an_option_that_the_run_did_not_have_has_its_default(tmp_path):
    begun(tmp_path)
    path = tmp_path / "config.json"
    written = json.loads(path.read_text())
    del written["config"]["method"]["temperature"]
    path.write_text(json.dumps(written))
    assert run_dir.claim(str(tmp_path), CONFIG, "abc", "123") == []
    with pytest.raises(RunDirError, match=r"--temperature: 0\.15 -> 0\.2"):
        run_dir.claim(str(tmp_path), CONFIG.with_options(temperature=0.2), "abc", "123")


def test_changed_flags_are_returned_when_asked_for_and_recorded_later(tmp_path):
    begun(tmp_path)
    before = (tmp_path / "config.json").read_bytes()
    changed = CONFIG.with_options(seed=4, steps=30000, allow_changed_flags=True)
    changes = run_dir.claim(str(tmp_path), changed, "abc", "123")
    assert sorted(map(str, changes)) == ["--seed: 0 -> 4", "--steps: 25000 -> 30000"]
    assert (tmp_path / "config.json").read_bytes() == before
    run_dir.record(str(tmp_path), changed, "abc", "123")
    assert run_dir.claim(str(tmp_path), changed, "abc", "123") == []
    with pytest.raises(RunDirError, match="--seed: 4 -> 0"):
        run_dir.claim(str(tmp_path), CONFIG, "abc", "123")


@pytest.mark.parametrize(
    "options", [{"backbone": "resnet50"}, {"method": "supervised"}, {"embedding_dim": 8}]
)
def test_another_network_is_refused_even_when_asked_for(tmp_path, options):
    begun(tmp_path)
    changed = CONFIG.with_options(allow_changed_flags=True, **options)
    with pytest.raises(RunDirError, match=r"another network .* cannot continue"):
        run_dir.check(str(tmp_path), changed)


def test_options_that_mean_nothing_to_the_baseline_do_not_tie_it(tmp_path):
    """Earlier versions recorded them."""
    baseline = CONFIG.with_options(method="supervised")
    begun(tmp_path, baseline.with_options(supervised_steps=3, consistency_weight=7.0))
    run_dir.check(str(tmp_path), baseline)
    for name, value in {"loss_averaging": "batch", "class_weights": "inverse_frequency"}.items():
        with pytest.raises(RunDirError, match=f"--{name}"):
            run_dir.check(str(tmp_path), baseline.with_options(**{name: value}))


def test_a_directory_in_which_a_process_trains_is_refused(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    other = run_dir.locked(str(tmp_path))
    with run_dir.locked(str(tmp_path)):
        for enter in (other.__enter__, lambda: run_dir.check_unlocked(str(tmp_path))):
            with pytest.raises(RunDirError, match="Another process"):
                enter()
    run_dir.check_unlocked(str(tmp_path))
    with run_dir.locked(str(tmp_path)):
        pass
    assert os.listdir(tmp_path) == ["config.json"]


def test_what_a_killed_process_left_half_done_is_no_obstacle_and_is_removed(tmp_path):
    (tmp_path / ".config.json.partial-123").write_text("{")
    run_dir.check(str(tmp_path), CONFIG)
    run_dir.claim(str(tmp_path), CONFIG, "abc", "123")
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / ".step-00000002.npz.partial-9").write_text("x")
    (tmp_path / "checkpoints" / "step-00000001.npz").write_text("x")
    for name in (".saved_model.partial-77", ".saved_model.earlier-77"):
        (tmp_path / name / "variables").mkdir(parents=True)
    with run_dir.locked(str(tmp_path)):
        assert sorted(os.listdir(tmp_path)) == ["checkpoints", "config.json"]
        assert os.listdir(tmp_path / "checkpoints") == ["step-00000001.npz"]


def test_a_directory_of_something_else_is_refused_and_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(RunDirError, match="is not empty and holds no run"):
        run_dir.claim(str(tmp_path), CONFIG, "abc", "123")
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_a_file_is_refused(tmp_path):
    file = tmp_path / "run"
    file.write_text("mine")
    with pytest.raises(RunDirError, match=r"must be a directory, but .* is a file"):
        run_dir.claim(str(file), CONFIG, "abc", "123")
    with pytest.raises(RunDirError, match="Cannot write to"):
        run_dir.claim(str(file / "below"), CONFIG, "abc", "123")
    assert file.read_text() == "mine"


def test_a_directory_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    def refuse(path, data):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(run_dir.json_files, "write", refuse)
    with pytest.raises(RunDirError, match=r"Cannot write to .*Permission denied"):
        run_dir.claim(str(tmp_path / "run"), CONFIG, "abc", "123")


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"config": 3, "split": ""}', "\x00"])
def test_a_damaged_or_foreign_config_file_is_refused_and_left_alone(tmp_path, text):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(RunDirError, match=r"config\.json .*Choose another --output"):
        run_dir.claim(str(tmp_path), CONFIG, "abc", "123")
    assert (tmp_path / "config.json").read_text() == text


def test_the_documentation_lists_what_may_change(repository):
    rows = re.findall(
        r"^\| (free|never)[^|]*\| (.*) \|$", (repository / "docs/training.md").read_text(), re.M
    )
    for kind, listed in rows:
        names = {
            name for name, at in OPTIONS.items() if at.field.metadata["resume"] is Resume(kind)
        }
        assert set(re.findall(r"`--(\w+)`", listed)) == names, kind
    assert [kind for kind, _ in rows] == ["free", "never"]


def test_a_run_of_older_flag_names_continues(tmp_path):
    """What a run of the version before wrote differs in nothing but names."""
    plain = CONFIG.to_dict()
    plain["method"]["method"] = plain["method"].pop("name")
    plain["data"]["split"] = plain["data"].pop("labeled_list")
    plain["training"]["backbone_rate"] = plain["training"].pop("backbone_lr_multiplier")
    plain["training"]["learning_rate_power"] = plain["training"].pop("poly_power")
    assert Config.from_dict(plain) == CONFIG
    before = {"config": plain, "split": "abc", "data": "123"}
    now = {"config": CONFIG.to_dict(), "split": "abc", "data": "123"}
    assert run_dir.differences(before, now) == []
    plain["training"]["backbone_rate"] = 0.5
    assert [change.name for change in run_dir.differences(before, now)] == [
        "--backbone_lr_multiplier"
    ]
