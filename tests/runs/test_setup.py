"""What is ready before a run: which commands make the embedded data, and when none does."""

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from c3tf.config import Config
from c3tf.errors import UserError
from c3tf.io import native_log
from c3tf.runs import setup


class Commands:
    """Stands in for `subprocess`: notes the calls, and makes what a command would make."""

    def __init__(self, fails: str = "") -> None:
        self.calls, self.environments = [], []
        self.returncode = 0
        self._fails = fails

    def run(self, command, env, stderr):
        assert stderr == native_log.past_the_log()
        self.calls.append(command)
        self.environments.append(env)
        self.returncode = int(command[2] == self._fails)
        if not self.returncode:
            os.makedirs(command[-1].removeprefix("--output="))
        return self


def prepare(monkeypatch, data, commands, prepare="street_scenes"):
    monkeypatch.setattr(setup, "subprocess", commands)
    setup.ensure_data(Config().with_options(data=str(data), prepare=prepare))
    return commands.calls


@pytest.fixture
def commands():
    return Commands()


def test_draws_and_converts_where_nothing_is(tmp_path, monkeypatch, capsys, commands):
    data, raw = tmp_path / "demo" / "data", tmp_path / "demo" / "data_raw"
    # A slash at the end is part of no name.
    calls = prepare(monkeypatch, f"{data}/", commands)
    python = [sys.executable, "-m"]
    assert calls == [
        [*python, "data_tools.street_scenes", f"--output={raw}"],
        [*python, "data_tools.bdd100k", f"--source={raw}", f"--output={data}/"],
    ]
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == f"$ python -m data_tools.street_scenes --output={raw}"
    assert printed[1] == f"$ python -m data_tools.bdd100k --source={raw} --output={data}/"


def test_commands_find_the_project_from_any_directory(tmp_path, monkeypatch, commands):
    monkeypatch.setenv("PYTHONPATH", "mine")
    prepare(monkeypatch, tmp_path / "data", commands)
    for environment in commands.environments:
        first, *rest = environment["PYTHONPATH"].split(os.pathsep)
        assert (Path(first) / "data_tools" / "street_scenes" / "__main__.py").is_file()
        assert rest == ["mine"]
        assert environment["PATH"] == os.environ["PATH"]


def test_installed_packages_are_not_put_before_pythons_own_library(tmp_path, monkeypatch, commands):
    monkeypatch.setattr(setup, "_ROOT", tmp_path)
    monkeypatch.setenv("PYTHONPATH", "mine")
    prepare(monkeypatch, tmp_path / "data", commands)
    assert [environment["PYTHONPATH"] for environment in commands.environments] == ["mine"] * 2


def test_scenes_that_are_there_are_only_converted(tmp_path, monkeypatch, commands):
    (tmp_path / "data_raw").mkdir()
    calls = prepare(monkeypatch, tmp_path / "data", commands)
    assert [command[2] for command in calls] == ["data_tools.bdd100k"]


@pytest.mark.parametrize("interrupted", [True, False])
def test_a_whole_data_set_is_left_alone_and_an_interrupted_one_goes_on(
    tmp_path, monkeypatch, commands, interrupted
):
    (tmp_path / "data_raw").mkdir()
    if not interrupted:
        (tmp_path / "data").mkdir()
        (tmp_path / "data" / "dataset.json").write_text("{}")
    assert len(prepare(monkeypatch, tmp_path / "data", commands)) == interrupted


def test_nothing_is_made_unasked(tmp_path, monkeypatch, capsys, commands):
    assert prepare(monkeypatch, tmp_path / "data", commands, prepare="none") == []
    assert capsys.readouterr().out == ""
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    ("fails", "ran"), [("data_tools.street_scenes", 1), ("data_tools.bdd100k", 2)]
)
def test_a_command_that_fails_stops_the_run(tmp_path, monkeypatch, fails, ran):
    commands = Commands(fails)
    with pytest.raises(UserError, match=rf"`python -m {fails} .*` failed; see above"):
        prepare(monkeypatch, tmp_path / "data", commands)
    assert len(commands.calls) == ran


def test_no_data_directory_is_refused(monkeypatch, commands):
    with pytest.raises(UserError, match="`--data` must name"):
        prepare(monkeypatch, "", commands)
    assert commands.calls == []


def test_a_supervised_phase_that_is_over_is_refused_in_the_users_own_numbers():
    config = Config().with_options(supervised_share=0.9)
    setup.check_continues(config, 2250, has_teacher=True)
    with pytest.raises(UserError) as caught:
        setup.check_continues(config, 2000, has_teacher=True)
    assert str(caught.value) == (
        "`--supervised_steps` times `--supervised_share` must be at most 2000: the run's teacher "
        "has begun. Received: --supervised_steps=2500 --supervised_share=0.9"
    )
    with pytest.raises(UserError, match=r"^`--supervised_steps` must be .*steps=2500$"):
        setup.check_continues(Config(), 2000, has_teacher=True)


def test_class_weights_whose_file_has_changed_are_refused():
    config = Config().with_options(class_weights="w.json")
    weights = np.array([0.1, 1 / 3, 2.0])
    # As a checkpoint keeps them.
    stored = json.loads(json.dumps(weights.tolist()))
    assert not setup.check_class_weights(config, stored, weights)
    assert not setup.check_class_weights(config, None, None)
    for before, now in ((stored, weights * 2), (stored, None), (None, weights)):
        with pytest.raises(
            UserError, match=r"^`--class_weights` must be .* --class_weights=w.json$"
        ):
            setup.check_class_weights(config, before, now)
        allowed = config.with_options(allow_changed_flags=True)
        assert setup.check_class_weights(allowed, before, now)
