"""Progress on a terminal and in a log."""

import io

import pytest

from c3tf import progress

pytestmark = pytest.mark.smoke


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


@pytest.fixture
def terminal(monkeypatch):
    """A terminal of 80 columns, of which nothing else shows a bar."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    yield Terminal()
    progress.finish()


def test_a_log_gets_the_end_and_not_every_step(clock):
    stream = io.StringIO()
    show = progress.Progress(40, "images", stream)
    for done in range(1, 41):
        clock[0] += 0.5
        show(done)
    lines = stream.getvalue().splitlines()
    assert lines == [
        "20/40 images, 2.00 per second, 10 s left",
        "40/40 images, 2.00 per second, 0 s left",
    ]


def test_a_terminal_keeps_the_last_line(terminal):
    line = progress.Line(3, terminal)
    for done in (1, 2, 3):
        line.show(done, f"{done}/3 images")
    text = terminal.getvalue()
    assert text.splitlines()[-1].strip().endswith("3/3 images")
    assert not progress._displays


def test_a_bar_never_hides_the_cursor_for_good(terminal):
    progress.Line(3, terminal).show(1, "1/3")
    shown, hidden = "\x1b[?25h", "\x1b[?25l"
    text = terminal.getvalue()
    assert text.rfind(shown) > text.rfind(hidden)


def test_two_bars_share_a_terminal(terminal):
    outer, inner = progress.Line(2, terminal), progress.Line(2, terminal)
    outer.show(1, "training 1/2")
    inner.show(2, "images 2/2")
    assert list(progress._displays) == [terminal]
    outer.show(2, "training 2/2")
    assert not progress._displays
    lines = [line.strip() for line in terminal.getvalue().splitlines()]
    assert any(line.endswith("images 2/2") for line in lines)
    assert lines[-1].endswith("training 2/2")


def test_a_bar_that_is_cut_short_leaves_its_line(terminal):
    progress.Line(9, terminal).show(4, "4/9 images [bold]")
    progress.finish()
    assert terminal.getvalue().splitlines()[-1].endswith("4/9 images [bold]")
