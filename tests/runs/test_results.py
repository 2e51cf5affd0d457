"""The training command on a run that is finished, and on one whose end is not whole."""

import contextlib
import io
import json
import os
import shutil
import subprocess

import pytest

import loopback
import tiny_command
from c3tf import train
from c3tf.config import Config
from c3tf.io import leftovers
from c3tf.runs import configs, results, run_dir, series, setup
from c3tf.training import builder
from c3tf.visualization import examples

pytestmark = pytest.mark.usefixtures("tiny_networks")


def settings(data, output, **options) -> Config:
    options = {"steps": 4, "supervised_steps": 2, "evaluate_every": 4, **options}
    return Config().with_options(**tiny_command.options(data, output, baseline=True, **options))


def said(config, capsys):
    """Runs the command and returns what it prints."""
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(train.absl_flags, "from_flags", lambda: config)
        train.main()
    return capsys.readouterr().out


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A folder with a finished run and its finished baseline, and what the command printed."""
    output = tmp_path_factory.mktemp("trained") / "run"
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(io.StringIO()) as text:
        patch.setattr(builder, "build_model", tiny_command.build_model)
        patch.setattr(train.absl_flags, "from_flags", lambda: settings(data, output))
        train.main()
    return output, text.getvalue()


@pytest.fixture
def done(trained, tmp_path):
    """A copy of the folder."""
    return shutil.copytree(trained[0], tmp_path / "run")


def contents(folder):
    """Every file with its bytes and when it was written."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in paths}


def forbid(monkeypatch, place, name):
    def refuse(*_, **__):
        raise AssertionError(f"{name} was called")

    monkeypatch.setattr(place, name, refuse)


def plan(config, method="c3"):
    """The configuration of one of the command's two runs."""
    config = configs.baseline_of(config) if method == "supervised" else config
    return configs.in_its_folder(config)


def test_a_finished_run_says_so_and_is_left_alone(data, done, monkeypatch, capsys):
    before = contents(done)
    forbid(monkeypatch, series, "Run")
    forbid(monkeypatch, setup, "ensure_data")
    printed = said(settings(data, done), capsys)
    assert contents(done) == before
    for method in ("supervised", "c3"):
        assert f"{method}: finished already, all of it is in {done / method}\n" in printed
    held = json.loads((done / "c3" / "results.json").read_text())
    for network in ("student", "teacher"):
        mean = held[network]["metrics"]["mean_iou_cityscapes"]
        assert f"{100 * mean:.2f}" in printed
    assert "mIoU: supervised baseline" in printed
    assert f"SavedModel: {done / 'c3' / 'saved_model'}\n" in printed
    assert f"Predictions: {done / 'c3' / 'predictions.png'}\n" in printed


def test_it_needs_neither_data_nor_checkpoints(data, done, tmp_path, monkeypatch, capsys):
    shutil.rmtree(done / "c3" / "checkpoints")
    forbid(monkeypatch, series, "Run")
    forbid(monkeypatch, setup, "ensure_data")
    assert "c3: finished already" in said(settings(tmp_path / "gone", done), capsys)


def test_the_table_is_that_of_the_training(data, trained, capsys):
    output, printed = trained
    first = printed.splitlines()
    again = said(settings(data, output), capsys).splitlines()
    assert [line.split(":")[0] for line in again[:2]] == ["supervised", "c3"]
    assert len(again) > 10
    assert again[2:] == first[2 - len(again) :]


@pytest.mark.parametrize("method", ["c3", "supervised"])
def test_a_run_killed_while_it_exports_is_finished_alone(data, done, monkeypatch, capsys, method):
    folder = done / method
    evaluated = json.loads((folder / "results.json").read_text())
    (folder / "results.json").unlink()
    (folder / "saved_model").rename(folder / ".partial-1-saved_model")
    other = done / ("supervised" if method == "c3" else "c3")
    before = contents(other)
    printed = said(settings(data, done), capsys)
    before_but_sheet = {path: held for path, held in before.items() if path.suffix != ".png"}
    assert before_but_sheet.items() <= contents(other).items()
    assert f"{other.name}: finished already" in printed
    assert f"{method}: finished already" not in printed
    assert json.loads((folder / "results.json").read_text()) == evaluated
    assert not (folder / ".partial-1-saved_model").exists()
    assert results.read(plan(settings(data, done), method)) is not None


def remove(path):
    shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.parametrize(
    "name",
    [
        "results.json",
        "saved_model",
        "saved_model/saved_model.pb",
        "saved_model/label_map.json",
        "saved_model/variables",
        "examples",
        "examples/00-image.png",
        "evaluations/step-00000004-teacher.json",
    ],
)
def test_a_run_that_lacks_something_is_not_finished(data, done, name):
    config = plan(settings(data, done))
    assert results.read(config).teacher is not None
    remove(done / "c3" / name)
    assert results.read(config) is None


@pytest.mark.parametrize("name", ["results.json", "saved_model/saved_model.pb"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"student": {"schema": 1}}'])
def test_a_run_of_damaged_files_is_not_finished(data, done, name, content):
    (done / "c3" / name).write_bytes(content)
    assert results.read(plan(settings(data, done))) is None


@pytest.mark.parametrize(
    "options", [{"steps": 5}, {"learning_rate": 0.5}, {"export_weights": "teacher"}]
)
def test_a_run_of_another_configuration_is_not_finished(data, done, options):
    assert results.read(plan(settings(data, done, **options))) is None


def test_the_results_of_another_step_are_not_the_last(data, done):
    path = done / "c3" / "results.json"
    held = json.loads(path.read_text())
    held["teacher"]["protocol"]["step"] = 2
    path.write_text(json.dumps(held))
    assert results.read(plan(settings(data, done))) is None


def test_other_data_are_refused_as_before(data, done, tmp_path, capsys):
    other = shutil.copytree(data, tmp_path / "data")
    described = json.loads((other / "dataset.json").read_text())
    described["splits"]["train"]["shards"][0]["sha256"] = "0" * 64
    (other / "dataset.json").write_text(json.dumps(described))
    with pytest.raises(run_dir.RunDirError, match=r"data: \w+ -> \w+"):
        said(settings(other, done), capsys)


def test_only_a_missing_sheet_is_drawn(data, done, monkeypatch, capsys):
    sheet = done / "c3" / "predictions.png"
    drawn = sheet.read_bytes()
    # What a process that was killed while it drew has left.
    half = done / "c3" / leftovers.partial_name(str(sheet))
    half.write_bytes(drawn[:9])
    forbid(monkeypatch, series, "Run")
    for harm in (os.remove, lambda path: path.write_bytes(b"")):
        harm(sheet)
        before = contents(done / "c3" / "saved_model")
        said(settings(data, done), capsys)
        assert sheet.read_bytes() == drawn
        assert contents(done / "c3" / "saved_model") == before
        assert not half.exists()


def test_a_sheet_of_other_runs_is_drawn_anew(data, done, monkeypatch, capsys):
    both = (done / "c3" / "predictions.png").read_bytes()
    forbid(monkeypatch, series, "Run")
    said(settings(data, done).with_options(baseline=False), capsys)
    assert (done / "c3" / "predictions.png").read_bytes() != both
    said(settings(data, done), capsys)
    assert (done / "c3" / "predictions.png").read_bytes() == both
    assert examples.read(str(done / "c3")) is not None


@pytest.mark.slow
def test_several_hosts_find_a_run_finished_together(data, repository, tmp_path):
    options = {"method": "supervised", "steps": 2, "supervised_steps": 1, "evaluate_every": 2}
    command = tiny_command.command(tiny_command.flag_words(data, tmp_path / "run", **options))
    for said in ("mean IoU", "supervised: finished already"):
        processes = [
            subprocess.Popen(
                command,
                env={**tiny_command.environment(repository), **place},
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for place in loopback.places(2)
        ]
        printed = [process.communicate(timeout=300)[0] for process in processes]
        assert [process.returncode for process in processes] == [0, 0], printed
        assert said in printed[0]
        assert "mean IoU" not in printed[1]


def test_a_bad_place_is_refused_before_data_are_made(tmp_path, monkeypatch, capsys):
    (tmp_path / "file").write_text("mine")
    forbid(monkeypatch, setup, "ensure_data")
    with pytest.raises(ValueError, match="`--output` cannot be written"):
        said(settings(tmp_path / "absent", tmp_path / "file" / "run"), capsys)
