"""Means over intervals, broken losses, and what is shown and written of them."""

import io
import json
import math
import re
import types

import keras
import numpy as np
import pytest

from c3tf import progress
from c3tf.config import Config
from c3tf.errors import UserError
from c3tf.runs.logging import callbacks
from c3tf.runs.logging.callbacks import EveryNSteps, Followers, JsonLines, ScalarLog
from c3tf.runs.logging.console import Console
from c3tf.runs.nonfinite import NonFiniteError
from c3tf.training.statistics import BATCH_READY


class Clock:
    """Stands in for `time`: moves when told."""

    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now + 1e9


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(callbacks, "time", clock)
    return clock


def take_steps(hook, logs, clock=None, seconds=0.5, start=0):
    """Runs a callback through the steps `start + 1`, ... as `fit` would."""
    optimizer = types.SimpleNamespace(iterations=start, learning_rate=0.25)
    hook.set_model(types.SimpleNamespace(optimizer=optimizer))
    hook.on_train_begin()
    for batch, entry in enumerate(logs):
        hook.on_train_batch_begin(batch)
        optimizer.iterations += 1
        if clock is not None:
            clock.now += seconds
        hook.on_train_batch_end(batch, entry)


class Terminal(io.StringIO):
    def isatty(self):
        return True


SUPERVISED = {
    "loss": 1.5,
    "supervised": 1.5,
    "learning_rate": 1.2e-4,
    "seconds_per_step": 0.5,
}
SEMI = {
    "loss": 2.0,
    "supervised": 0.5,
    "consistency": 0.02,
    "contrast": 3.0,
    "lambda1": 12.5,
    "confident": 0.684,
    "anchors": 100.0,
    "learning_rate": 1.2e-4,
    "seconds_per_step": 0.5,
}


def test_log_reports_the_mean_of_each_interval_and_of_the_rest(clock):
    reports = []
    log = ScalarLog(3, last_step=8, listeners=[lambda *report: reports.append(report)])
    take_steps(log, [{"loss": float(step)} for step in range(1, 9)], clock)
    assert [(step, scalars["loss"]) for step, scalars in reports] == [(3, 2.0), (6, 5.0), (8, 7.5)]
    for _, scalars in reports:
        assert scalars["learning_rate"] == 0.25
        assert scalars["seconds_per_step"] == pytest.approx(0.5)


def test_log_after_a_resume_counts_the_steps_it_saw(clock):
    reports = []
    log = ScalarLog(5, last_step=20, listeners=[lambda *report: reports.append(report)])
    take_steps(log, [{"loss": 2.0}] * 8, clock, start=7)
    assert [step for step, _ in reports] == [10, 15]
    assert [scalars["seconds_per_step"] for _, scalars in reports] == pytest.approx([0.5, 0.5])


def test_the_first_step_of_a_phase_which_compiles_says_nothing_of_the_speed(clock):
    reports = []
    log = ScalarLog(2, 4, [lambda step, scalars: reports.append(scalars)])
    take_steps(log, [{"loss": 1.0}], clock, seconds=60.0)
    take_steps(log, [{"loss": 1.0}] * 3, clock, seconds=0.5, start=1)
    # The second phase begins within the first interval, so that has no other step to go by.
    assert [scalars["seconds_per_step"] for scalars in reports] == pytest.approx([0.5, 0.5])


def test_waiting_for_input_is_measured_from_the_beginning_of_a_step(clock):
    reports = []
    log = ScalarLog(4, 4, [lambda step, scalars: reports.append(scalars)])
    ready = [clock.time() + 0.5 * step + wait for step, wait in enumerate((30.0, 0.1, 0.2, 0.3))]
    take_steps(log, [{"loss": 1.0, BATCH_READY: at} for at in ready], clock)
    assert reports[0]["input_wait"] == pytest.approx(0.2, abs=1e-6)
    assert BATCH_READY not in reports[0]


def test_time_that_listeners_take_is_no_training_time(clock):
    reports = []

    def evaluate(step, scalars):
        clock.now += 60
        reports.append(scalars["seconds_per_step"])

    take_steps(ScalarLog(2, 6, [evaluate]), [{"loss": 1.0}] * 6, clock)
    assert reports == pytest.approx([0.5, 0.5, 0.5])


def test_scalars_of_the_new_phase_are_averaged_over_its_own_steps():
    reports = []
    log = ScalarLog(4, 4, [lambda step, scalars: reports.append(scalars)])
    take_steps(log, [{"loss": 1.0}] * 3 + [{"loss": 5.0, "consistency": 0.5}])
    assert reports[0]["loss"] == 2.0
    assert reports[0]["consistency"] == 0.5


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_at_its_step_and_names_the_part(value):
    reports = []
    log = ScalarLog(4, 100, [lambda *report: reports.append(report)])
    logs = [{"loss": 1.0, "contrast": 1.0}] * 12
    logs[5] = {"loss": 1.0, "contrast": value}
    with pytest.raises(
        NonFiniteError, match=r"^At step 6 the loss is not finite: contrast = -?(nan|inf)\.$"
    ) as caught:
        take_steps(log, logs)
    assert caught.value.step == 6
    assert caught.value.parts["loss"] == 1.0
    assert caught.value.exit_code == 3
    assert [step for step, _ in reports] == [4]


def test_flushing_twice_reports_once():
    reports = []
    log = ScalarLog(10, 100, [lambda *report: reports.append(report)])
    take_steps(log, [{"loss": 1.0}] * 3)
    log.flush(3)
    log.flush(3)
    assert len(reports) == 1


@pytest.mark.parametrize(
    ("every", "last", "start", "expected"),
    [
        (3, 8, 0, [3, 6, 8]),
        (4, 8, 0, [4, 8]),
        (100, 8, 0, [8]),
        (3, 8, 5, [6, 8]),
        (1, 3, 1, [2, 3]),
    ],
)
def test_at_calls_at_every_nth_step_and_at_the_last(every, last, start, expected):
    called = []
    take_steps(EveryNSteps(every, last, called.append), [{}] * (last - start), start=start)
    assert called == expected


def test_console_prints_one_line_per_interval_into_a_file():
    stream = io.StringIO()
    console = Console("c3", 3000, 16, stream)
    console(50, SUPERVISED)
    console(2900, SEMI)
    assert stream.getvalue().splitlines() == [
        "c3 50/3000  24:35 left  32.0 images/s  loss 1.500  learning rate 1.2e-04",
        "c3 2900/3000  0:50 left  64.0 images/s  loss 2.000  supervised 0.500  "
        "consistency 0.020  contrast 3.000  lambda1 12.500  confident 68%  learning rate 1.2e-04",
    ]


def test_console_leaves_out_losses_that_are_switched_off_and_shows_hours():
    stream = io.StringIO()
    scalars = {name: value for name, value in SEMI.items() if name != "contrast"}
    Console("c3", 25000, 16, stream)(1, scalars)
    assert "contrast" not in stream.getvalue()
    assert "3:28:20 left" in stream.getvalue()


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    yield Terminal()
    progress.finish()


def test_console_moves_a_bar_on_a_terminal_until_the_last_step(monkeypatch, terminal):
    monkeypatch.setenv("COLUMNS", "100")
    console = Console("c3", 100, 16, terminal)
    console(50, SUPERVISED)
    console(100, SUPERVISED)
    assert "c3 100/100  0:00 left" in terminal.getvalue().splitlines()[-1]
    assert not progress._displays


@pytest.mark.parametrize("columns", [80, 200])
def test_a_bar_never_wraps(monkeypatch, columns, terminal):
    monkeypatch.setenv("COLUMNS", str(columns))
    console = Console("c3", 100, 16, terminal)
    console(50, SEMI)
    console(60, SUPERVISED)
    progress._displays[terminal]._bars.refresh()
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", terminal.getvalue())
    frames = [frame for frame in re.split(r"[\r\n]", plain) if frame]
    assert any("c3 60/100" in frame for frame in frames)
    assert max(map(len, frames)) <= columns


class Follower(keras.callbacks.Callback):
    """Records what it is told."""

    def __init__(self):
        super().__init__()
        self.told = []

    def __getattribute__(self, name):
        if name.startswith("on_"):
            return lambda *arguments: self.told.append((name, *arguments))
        return super().__getattribute__(name)


def test_followers_are_told_of_intervals_as_of_epochs():
    follower, model = Follower(), keras.Sequential()
    followers = Followers([follower], model, Config(), 40)
    followers(50, {"loss": 1.5})
    followers.scores({"student": 0.25})
    followers.end()
    assert follower.model is model
    assert follower.params["config"]["training"]["steps"] == follower.params["epochs"] == 25000
    assert follower.told == [
        ("on_train_begin",),
        ("on_epoch_begin", 40),
        ("on_epoch_end", 50, {"loss": 1.5}),
        ("on_epoch_begin", 50),
        ("on_test_begin",),
        ("on_test_end", {"mean_iou_student": 0.25}),
        ("on_train_end",),
    ]


def test_a_follower_that_asks_to_stop_is_passed_over_and_named_once(capsys):
    class Stops(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    model = keras.Sequential()
    followers = Followers([Stops()], model, Config(), 0)
    followers(10, {"loss": 1.0})
    followers(20, {"loss": 1.0})
    assert not model.stop_training
    assert capsys.readouterr().err == "Stops asks to stop; callbacks only observe a run.\n"


def test_a_follower_that_fails_is_named():
    class Fails(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            return logs["accuracy"]

    followers = Followers([Fails()], keras.Sequential(), Config(), 0)
    with pytest.raises(UserError, match="callback Fails failed in on_epoch_end: KeyError"):
        followers(10, {"loss": 1.0})


def test_json_lines_are_appended_whole(tmp_path):
    path = tmp_path / "metrics.jsonl"
    first = JsonLines(str(path), 0)
    first(50, SUPERVISED)
    first(60, SUPERVISED)
    # A run that continues after step 55 has never heard of step 60.
    JsonLines(str(path), 55)(100, SEMI)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert lines == [{"step": 50, **SUPERVISED}, {"step": 100, **SEMI}]


def test_json_lines_do_not_mind_a_line_that_a_killed_process_left_open(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 10, "loss": 1.0}\n{"step": 20, "lo')
    lines = JsonLines(str(path), 20)
    lines(30, {"loss": 2.0})
    with path.open("a") as file:
        file.write('{"step": 4')
    lines(40, {"loss": 3.0})
    JsonLines(str(path), 40)
    held = [json.loads(line) for line in path.read_text().splitlines()]
    assert [entry["step"] for entry in held] == [10, 30, 40]


def test_log_works_inside_fit(tmp_path):
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.compile(optimizer=keras.optimizers.SGD(0.5), loss="mse")
    path, called = tmp_path / "metrics.jsonl", []
    hooks = [ScalarLog(2, 5, [JsonLines(str(path), 0)]), EveryNSteps(2, 5, called.append)]
    data = np.ones((10, 2), np.float32), np.ones((10, 1), np.float32)
    model.fit(*data, batch_size=2, verbose=0, callbacks=hooks, shuffle=False)
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == called == [2, 4, 5]
    assert all(line["learning_rate"] == 0.5 and line["seconds_per_step"] > 0 for line in lines)
