"""The runs of an experiment: what a request to stop leaves unbegun."""

import signal

import pytest

from c3tf.config import Config
from c3tf.errors import Stopped
from c3tf.runs import series

pytestmark = pytest.mark.smoke


@pytest.fixture
def begun(monkeypatch):
    """Names of the runs that are begun, during each of which somebody asks to stop."""
    names = []

    def train(config, devices, stop, followers):
        names.append(config.method.name)
        stop.received = signal.SIGTERM

    class Fitting:
        def __init__(self, *_):
            pass

        def check_can_go_on(self):
            pass

    monkeypatch.setattr(series, "_train", train)
    monkeypatch.setattr(series, "_make_ready", lambda *_: None)
    monkeypatch.setattr(series, "Run", Fitting)
    monkeypatch.setattr(series.results_sheet, "draw", lambda *_: "predictions.png")
    return names


def test_no_run_begins_after_a_request_to_stop(tmp_path, begun):
    with pytest.raises(Stopped, match="c3: stopped before it was begun"):
        series.train(Config().with_options(output=str(tmp_path), baseline=True))
    assert begun == ["supervised"]


def test_a_request_during_the_last_run_is_told(tmp_path, begun):
    result = series.train(Config().with_options(output=str(tmp_path)))
    assert (begun, result.stop_requested) == (["c3"], True)
