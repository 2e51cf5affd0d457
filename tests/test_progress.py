"""Progress lines on a terminal and in a log."""

import io

import pytest

from c3tf import progress

pytestmark = pytest.mark.smoke


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_log_gets_the_end_and_not_every_step(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    show = progress.Progress(40, "images", stream)
    for done in range(1, 41):
        now[0] += 0.5
        show(done)
    lines = stream.getvalue().splitlines()
    assert lines == [
        "20/40 images, 2.00 per second, 10 s left",
        "40/40 images, 2.00 per second, 0 s left",
    ]


def test_a_terminal_keeps_one_line(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    stream = Terminal()
    show = progress.Progress(3, "images", stream)
    for done in (1, 2, 3):
        now[0] += 1
        show(done)
    text = stream.getvalue()
    assert text.count("\r") == 3
    assert text.count("\n") == 1
    assert "3/3 images" in text.rsplit("\r", 1)[1]
