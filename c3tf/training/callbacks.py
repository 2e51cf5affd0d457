"""What happens between steps: progress, checkpoints, evaluation."""

import json
import math
import os
import shutil
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

import keras
import numpy as np

from c3tf.errors import UserError
from c3tf.training.optimizer import steps_done

Scalars = dict[str, float]


class NonFiniteLossError(UserError):
    """A loss became infinite or not a number."""


class ScalarLog(keras.callbacks.Callback):
    """Averages the step's scalars over intervals and hands them to its listeners."""

    def __init__(
        self,
        every: int,
        last_step: int,
        listeners: list[Callable[[int, Scalars], None]],
    ) -> None:
        """Creates the log.

        Args:
            every: steps per interval.
            last_step: the step after which the run ends.
            listeners: called with the step and the means of its interval.
        """
        super().__init__()
        self._every, self._last_step, self._listeners = every, last_step, listeners
        self._pending: list[dict[str, Any]] = []
        self._since = time.monotonic()

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Starts the clock of the first interval."""
        self._since = time.monotonic()

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Takes the scalars of a step; at the end of an interval reports their means."""
        step = steps_done(self.model.optimizer)
        self._pending.append(dict(logs))
        if step % self._every == 0 or step == self._last_step:
            self.flush(step)

    def flush(self, step: int) -> None:
        """Reports what has been gathered since the last report.

        Raises:
            NonFiniteLossError: a loss is not finite; the message names the steps.
        """
        if not self._pending:
            return
        count, now = len(self._pending), time.monotonic()
        means = {
            name: float(np.mean([float(logs[name]) for logs in self._pending if name in logs]))
            for name in self._pending[-1]
        }
        self._pending = []
        if not all(math.isfinite(value) for value in means.values()):
            raise NonFiniteLossError(
                f"A loss is not finite between steps {step - count + 1} and {step}: {means}. The "
                "checkpoints are from before. Try a lower --learning_rate, in another --output."
            )
        means["learning_rate"] = float(self.model.optimizer.learning_rate)
        means["seconds_per_step"] = (now - self._since) / count
        self._since = now
        for listener in self._listeners:
            listener(step, means)
        # Time that listeners take, an evaluation say, is no training time.
        self._since = time.monotonic()


class At(keras.callbacks.Callback):
    """Calls a function at every n-th step and at the last one."""

    def __init__(self, every: int, last_step: int, call: Callable[[int], None]) -> None:
        """Creates the callback.

        Args:
            every: n.
            last_step: the step after which the run ends.
            call: called with the step.
        """
        super().__init__()
        self._every, self._last_step, self._call = every, last_step, call

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Calls the function when its step has come."""
        step = steps_done(self.model.optimizer)
        if step % self._every == 0 or step == self._last_step:
            self._call(step)


class Console:
    """Prints the scalars: one line that is rewritten on a terminal, one per interval elsewhere."""

    def __init__(
        self, title: str, steps: int, labeled_batch_size: int, stream: TextIO | None = None
    ) -> None:
        """Creates the printer.

        Args:
            title: what is trained.
            steps: steps in all.
            labeled_batch_size: labeled images per step; the semi-supervised phase adds as many.
            stream: where to print; standard error when absent.
        """
        self._title, self._steps, self._labeled = title, steps, labeled_batch_size
        self._stream = stream or sys.stderr

    def __call__(self, step: int, scalars: Scalars) -> None:
        """Prints one interval."""
        semi = "consistency" in scalars
        images, seconds = self._labeled * (2 if semi else 1), scalars["seconds_per_step"]
        # What matters most comes first: a narrow terminal cuts the end of the line.
        shown = [
            f"{self._title} {step}/{self._steps}",
            f"{_clock((self._steps - step) * seconds)} left",
            f"{images / seconds:.1f} images/s",
            f"loss {scalars['loss']:.3f}",
        ]
        if semi:
            parts = ("supervised", "consistency", "contrast", "lambda1")
            shown += [f"{name} {scalars[name]:.3f}" for name in parts if name in scalars]
            shown.append(f"confident {scalars['confident']:.0%}")
        shown.append(f"learning rate {scalars['learning_rate']:.1e}")
        text, live = "  ".join(shown), self._stream.isatty()
        if live:
            # A wrapped line cannot be rewritten; blanks cover what a longer one has left.
            width = shutil.get_terminal_size().columns - 1
            text = "\r" + text[:width].ljust(width)
        end = "\n" if not live or step == self._steps else ""
        print(text, end=end, file=self._stream, flush=True)


class JsonLines:
    """Appends the scalars to a file, one JSON object per interval."""

    def __init__(self, path: str, step: int) -> None:
        """Appends to `path`, which is cut back to what a run knew when it stood at `step`."""
        self._path = path
        if os.path.exists(path):
            with open(path, encoding="utf-8") as file:
                kept = [line for line in file if json.loads(line)["step"] <= step]
            with open(f"{path}.part", "w", encoding="utf-8") as file:
                file.writelines(kept)
            os.replace(f"{path}.part", path)

    def __call__(self, step: int, scalars: Scalars) -> None:
        """Writes one line."""
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **scalars}) + "\n")


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
