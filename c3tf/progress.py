"""How far a command is: a bar where a person watches, lines in a log elsewhere."""

import importlib.util
import sys
import time
from typing import Any, TextIO

# One display per stream: two bars on one terminal must know of each other.
_displays: dict[TextIO, "_Display"] = {}


class Line:
    """One line of text about a number of units: a bar that moves, or printed again and again."""

    def __init__(self, total: int, stream: TextIO | None = None) -> None:
        """Prints nothing yet.

        Args:
            total: number of units to do.
            stream: where to print; standard error when absent, so that results can be piped.
        """
        # While a bar is shown, rich puts itself before standard error.
        own = getattr(sys.stderr, "rich_proxied_file", sys.stderr)
        self._total, self._stream = total, stream or own
        self.live = self._stream.isatty() or _in_notebook()
        self._bar: Any = None

    def show(self, done: int, text: str) -> None:
        """Shows the state; what is shown last stays.

        Args:
            done: units done so far.
            text: what to say of them.
        """
        if not self.live:
            print(text, file=self._stream, flush=True)
            return
        display = _displays.get(self._stream) or _Display(self._stream)
        if self._bar is None or display is not self._bar[0]:
            self._bar = display, display.add(self._total)
        display.show(self._bar[1], done, text)
        if done >= self._total:
            display.remove(self._bar[1], text)
            self._bar = None


class Progress:
    """Shows `done/total unit, rate, time left`."""

    def __init__(self, total: int, unit: str, stream: TextIO | None = None) -> None:
        """Starts the clock.

        Args:
            total: number of units to do.
            unit: what is counted, e.g. `"images"`.
            stream: where to print; standard error when absent.
        """
        self._total, self._unit, self._line = total, unit, Line(total, stream)
        # A log file wants some lines, a bar a moving one.
        self._interval = 0.2 if self._line.live else 10.0
        self._start = self._last = time.monotonic()

    def __call__(self, done: int) -> None:
        """Shows the state when enough time has passed since the last time, or at the end."""
        now = time.monotonic()
        if done < self._total and now - self._last < self._interval:
            return
        self._last = now
        rate = done / max(now - self._start, 1e-9)
        left = (self._total - done) / rate if rate else 0.0
        text = f"{done}/{self._total} {self._unit}, {rate:.2f} per second, {left:.0f} s left"
        self._line.show(done, text)


def finish() -> None:
    """Ends all bars as they stand, for whatever is printed next."""
    for display in list(_displays.values()):
        display.stop()


class _Display:
    """The bars on one terminal, or below one cell of a notebook."""

    def __init__(self, stream: TextIO) -> None:
        # Imported here: a command whose output is no terminal does without.
        from rich import progress
        from rich.console import Console
        from rich.table import Column

        self._stream = stream
        # Lines that are printed meanwhile go above the bars; piped output is left alone.
        watched = sys.stdout.isatty() and not _in_notebook()
        self._bars = progress.Progress(
            progress.BarColumn(bar_width=16),
            progress.TextColumn(
                "{task.description}",
                markup=False,
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            console=None
            if _in_notebook()
            else Console(file=getattr(stream, "for_terminal", stream)),
            transient=True,
            expand=True,
            redirect_stdout=watched,
            redirect_stderr=watched,
        )
        self._bars.start()
        # A process that is killed could not show it again.
        self._bars.console.show_cursor(True)
        _displays[stream] = self

    def add(self, total: int) -> int:
        """Adds a bar and returns its number."""
        return self._bars.add_task("", total=total)

    def show(self, bar: int, done: int, text: str) -> None:
        """Moves a bar."""
        self._bars.update(bar, completed=done, description=text)

    def remove(self, bar: int, text: str) -> None:
        """Replaces a bar by a line that stays, and stops after the last one."""
        self._bars.remove_task(bar)
        if not self._bars.tasks:
            self.stop()
        self._print(text)

    def stop(self) -> None:
        """Stops, leaving the lines of bars that have not come to their end."""
        self._bars.stop()
        _displays.pop(self._stream, None)
        for task in self._bars.tasks:
            self._print(task.description)

    def _print(self, text: str) -> None:
        self._bars.console.print(text, markup=False, highlight=False, soft_wrap=True)


def _in_notebook() -> bool:
    """Whether this is a notebook in which a bar can move."""
    if "ipykernel" not in sys.modules or importlib.util.find_spec("ipywidgets") is None:
        return False
    from rich.console import Console

    return Console().is_jupyter
