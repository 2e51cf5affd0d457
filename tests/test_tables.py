"""The command that makes tables."""

import csv
import dataclasses
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from absl import flags

import tiny_command
import tiny_tables
from c3tf import tables as command
from c3tf.config import absl_flags
from c3tf.data import manifest as manifests
from c3tf.errors import UserError
from c3tf.experiment import Experiment
from c3tf.io import leftovers
from c3tf.runs import configs, run_dir, series, setup
from c3tf.runs.tables import plan, table_file
from c3tf.training import builder


def options(folder, data, *words):
    """The flags of the command on a table of tiny runs, below a folder."""
    settings = tiny_command.flag_words(data, "unused", steps=4, supervised_steps="50%")
    settings = [word for word in settings if not word.startswith(("--labeled=", "--output="))]
    text = tiny_tables.TEXT.partition("[paper")[0].replace(
        'title = "Tiny"', 'title = "Tiny"\nmeasures = ["student", "teacher"]'
    )
    text = re.sub(r"many = .*\n", "", re.sub(r"seeds = .*\n", "", text))
    text += '"Ours*" = { measure = "confident" }\n'
    table = tiny_tables.write(folder, text)
    (folder / "tiny.flags").write_text("\n".join(settings))
    return [f"--table={table}", f"--output={folder / 'out'}", *words]


@pytest.fixture
def call(monkeypatch, capsys):
    """Calls the command in this process and returns its exit code and what it prints."""

    def make(words):
        values = flags.FlagValues()
        command.define_flags(values)
        values(["c3tf.tables", *words])
        monkeypatch.setattr(command.flags, "FLAGS", values)
        capsys.readouterr()
        code = command.main()
        return code, capsys.readouterr().out

    return make


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables") / "data"
    tiny_command.write_data(folder)
    return folder


def cells_of(folder):
    with open(folder / "out" / "tiny.csv", newline="") as file:
        return {(line["measure"], line["row"]): line for line in csv.DictReader(file)}


def test_a_table_is_trained_and_written_and_then_left_alone(tmp_path, data, call, monkeypatch):
    """With made-up numbers in the place of training."""
    words, made = options(tmp_path, data), []

    def train(config, callbacks):
        made.append(config)
        tiny_tables.write_results(configs.in_its_folder(config), len(made))

    def evaluate(experiment, split="val", weights=None, options=None):
        assert (split, weights, options.ignore_low_confidence) == ("val", "teacher", True)
        return tiny_tables.result(9, 4)

    monkeypatch.setattr(series, "train", train)
    monkeypatch.setattr(Experiment, "evaluate", evaluate)
    code, said = call([*words, "--list"])
    assert code == 0
    assert said.endswith("2 of 2 runs are left, 8 steps.\n")
    assert not (tmp_path / "out").exists()
    code, said = call([*words, "--only_report"])
    assert code == 0
    assert {line["mean"] for line in cells_of(tmp_path).values()} == {""}
    assert made == []

    code, said = call(words)
    assert code == 0
    assert "[2/2] data_2_c3_" in said
    assert [config.method.name for config in made] == ["supervised", "c3"]
    cells = cells_of(tmp_path)
    held = {key: float(line["mean"]) for key, line in cells.items()}
    assert held.keys() == MEASURED
    expected = tiny_tables.result(9, 4)
    expected = dataclasses.replace(expected, confusion=expected.confident)
    assert held["confident", "Ours*"] == 100 * expected.mean_iou()
    text = (tmp_path / "out" / "tiny.md").read_text()
    assert f"| {held['student', 'Baseline']:.2f}, n = 1 |" in text
    assert (tmp_path / "out" / "tiny.html").read_text().startswith("<!DOCTYPE html>")

    left = [f"out/{leftovers.partial_name(f'tiny.{ending}')}" for ending in ("csv", "md")]
    for name in left:
        (tmp_path / name).write_text("of a killed one")
    code, said = call(words)
    assert (code, "[1/" in said, len(made)) == (0, False, 2)
    assert cells_of(tmp_path) == cells
    assert not any((tmp_path / name).exists() for name in left)
    code, said = call([*words, "--list"])
    assert said.endswith("0 of 2 runs are left, 0 steps.\n")


@pytest.mark.parametrize("words", [[], ["--list"], ["--only_report"]])
def test_a_finished_run_of_other_data_is_no_tables_number(tmp_path, data, call, monkeypatch, words):
    """The data set's folder has the name that it had before, and holds something else."""
    flags_of = options(tmp_path, data)
    (table,) = (word.partition("=")[2] for word in flags_of if word.startswith("--table="))
    made = plan.make([table_file.read(table)], str(tmp_path / "out"))
    monkeypatch.setattr(series, "train", lambda config, callbacks: pytest.fail("nothing is left"))
    for job in made.jobs.values():
        tiny_tables.finish(job)
    assert call([*flags_of, *words])[0] == 0
    run_dir.record(job.folder, job.config, "5b117", "other data")
    with pytest.raises(UserError, match=r"a run of another configuration .*data: other data"):
        call([*flags_of, *words])


MEASURED = {
    ("student", "Baseline"),
    ("student", "Ours"),
    ("confident", "Ours*"),
    ("teacher", "Baseline"),
    ("teacher", "Ours"),
}


@pytest.mark.slow
def test_runs_of_a_table_are_those_of_the_training_command(tmp_path, data, call, monkeypatch):
    monkeypatch.setattr(builder, "build_model", tiny_command.build_model)
    assert call(options(tmp_path, data))[0] == 0
    cells = cells_of(tmp_path)
    held = {key: float(line["mean"]) for key, line in cells.items()}
    assert held.keys() == MEASURED
    (name,) = set(cells["student", "Ours"]["runs"].split(";"))
    # What the training command makes of the same flags, to the last bit.
    run = absl_flags.from_files(
        [tmp_path / "tiny.flags"],
        {"labeled": 2, "output": tmp_path / "alone"},
    )
    own = series.train(run).own
    assert held["student", "Ours"] == 100 * own.student.mean_iou()
    assert held["teacher", "Ours"] == 100 * own.teacher.mean_iou()
    # The command for single runs finds its result there, and the teacher on confident pixels.
    assert os.path.isdir(tmp_path / "out" / "runs" / name / "c3" / "saved_model")
    assert held["confident", "Ours*"] != held["teacher", "Ours"]


def test_what_fails_is_named_with_exit_code_1(tmp_path, data, call, monkeypatch):
    words = options(tmp_path, data)

    def train(config, callbacks):
        raise UserError("no luck")

    monkeypatch.setattr(series, "train", train)
    code, said = call(words)
    assert code == 1
    assert said.count("failed: no luck") == 2
    assert "(tiny: Ours, few) failed: no luck" in said
    assert (tmp_path / "out" / "tiny.md").exists()


def test_what_no_run_could_use_is_refused_before_the_first(tmp_path, data, call):
    words = options(tmp_path, data)
    with pytest.raises(UserError, match=r"`--set` must be NAME=VALUE\. Received: --set=steps$"):
        call([*words, "--set=steps"])
    with pytest.raises(UserError, match="`python -m data_tools"):
        call([*words, f"--set=data={tmp_path / 'photos'}"])
    (tmp_path / "tiny.toml").write_text(
        (tmp_path / "tiny.toml").read_text().replace("labeled = 2", "labeled = 7")
    )
    with pytest.raises(UserError, match=r"`--labeled` must be at most 6, .* Received: --labeled=7"):
        call(words)


def test_runs_of_other_data_are_no_part_of_the_table(tmp_path, data, call):
    """A finished one too: the folder's name says nothing of the data's contents."""
    words = options(tmp_path, data)
    table = tiny_tables.table_file.read(words[0].partition("=")[2])
    job = next(iter(plan.make([table], str(tmp_path / "out")).jobs.values()))
    tiny_tables.finish(job)
    manifest = manifests.load(str(data))
    split = setup.open_split(manifest, job.config)
    run_dir.record(job.folder, job.config, split.hash, "others")
    with pytest.raises(UserError, match=rf"{job.name}.*data: others -> {manifest.digest()}"):
        call(words)


def test_hosts_of_one_run_are_refused(tmp_path, data, call, monkeypatch):
    hosts = '{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 0}}'
    monkeypatch.setenv("TF_CONFIG", hosts)
    with pytest.raises(UserError, match="`TF_CONFIG` must not be set"):
        call(options(tmp_path, data))


SCRIPT = """
from absl import flags
import tiny_command
from c3tf import cli, tables
from c3tf.training import builder
builder.build_model = tiny_command.build_model
tables.define_flags()
cli.run(tables.main)
"""


@pytest.mark.slow
def test_a_killed_table_goes_on_from_its_checkpoint(tmp_path, data, repository):
    script = tmp_path / "run_tables.py"
    script.write_text(SCRIPT)
    numbers = []
    for name, kill in (("calm", False), ("killed", True)):
        folder = tmp_path / name
        folder.mkdir()
        words = [sys.executable, str(script), *options(folder, data, "--set=steps=60")]
        environment = tiny_command.environment(repository)
        process = subprocess.Popen(words, env=environment)
        seen = False
        while kill and process.poll() is None and not seen:
            seen = any((folder / "out").rglob("c3/checkpoints/step-*.npz"))
            time.sleep(0.002)
        if kill:
            assert seen
            process.send_signal(signal.SIGKILL)
            process.wait()
            assert subprocess.run(words, env=environment).returncode == 0
            journal = next((folder / "out").rglob("c3/events.jsonl")).read_text()
            assert re.findall(r'"event": "start", "step": (\d+)', journal)[1] != "0"
        assert process.wait() == (-signal.SIGKILL if kill else 0)
        numbers.append({key: line["values"] for key, line in cells_of(folder).items()})
    assert numbers[0] == numbers[1]
