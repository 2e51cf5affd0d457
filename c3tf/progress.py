"""The progress line of a command."""

import sys
import time
from typing import TextIO


class Progress:
    """Prints `done/total unit, rate, time left`: rewritten on a terminal, else now and then."""

    def __init__(self, total: int, unit: str, stream: TextIO | None = None) -> None:
        """Starts the clock.

        Args:
            total: number of units to do.
            unit: what is counted, e.g. `"images"`.
            stream: where to print; standard error when absent, so that results can be piped.
        """
        self._total, self._unit = total, unit
        self._stream = stream or sys.stderr
        self._live = self._stream.isatty()
        # A log file wants some lines, a terminal a moving one.
        self._interval = 0.2 if self._live else 10.0
        self._start = self._last = time.monotonic()

    def __call__(self, done: int) -> None:
        """Prints the state when enough time has passed since the last print, or at the end."""
        now = time.monotonic()
        if done < self._total and now - self._last < self._interval:
            return
        self._last = now
        rate = done / max(now - self._start, 1e-9)
        left = (self._total - done) / rate if rate else 0.0
        text = f"{done}/{self._total} {self._unit}, {rate:.2f} per second, {left:.0f} s left"
        if not self._live:
            print(text, file=self._stream, flush=True)
            return
        end = "\n" if done >= self._total else ""
        # Blanks cover what a longer line may have left.
        print(f"\r{text:<78}", end=end, file=self._stream, flush=True)
