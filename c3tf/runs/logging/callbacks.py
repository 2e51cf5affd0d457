"""Keras callbacks between steps: means of scalars, calls at every n-th step, JSON lines."""

import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from c3tf.config import Config
from c3tf.errors import UserError
from c3tf.io import files
from c3tf.runs import journal
from c3tf.runs.nonfinite import NonFiniteError
from c3tf.training import statistics
from c3tf.training.optimizer import steps_done

Scalars = dict[str, float]
# What the train step returns, in one flat dictionary as Keras hands it on.
Logs = dict[str, Any]


class StepCallback(keras.callbacks.Callback):
    """Counts the steps of the run without asking the device for them."""

    def __init__(self) -> None:
        super().__init__()
        self._step = 0

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Reads the step at which this phase begins."""
        self._step = steps_done(self.model.optimizer)

    def on_train_batch_end(self, batch: int, logs: Logs | None = None) -> None:
        """Counts a step and calls `on_step`."""
        self._step += 1
        self.on_step(self._step, logs or {})

    def on_step(self, step: int, logs: Logs) -> None:
        """Does what is to be done after `step` steps, given what the train step returned."""
        raise NotImplementedError


class ScalarLog(StepCallback):
    """Averages the step's scalars over intervals and hands them to its listeners."""

    def __init__(
        self,
        every: int,
        last_step: int,
        listeners: list[Callable[[int, Scalars], None]],
        describe: Callable[[Logs], Scalars] = dict,
    ) -> None:
        """Creates the log.

        Args:
            every: steps per interval.
            last_step: the step after which the run ends.
            listeners: called with the step and the means of its interval.
            describe: turns the means of everything that the step returns into scalars.
        """
        super().__init__()
        self._every, self._last_step, self._listeners = every, last_step, listeners
        self._describe = describe
        self._pending: list[Logs] = []
        self._seconds: list[float] = []
        self._waits: list[float] = []
        self._began, self._asked = time.monotonic(), time.time()
        self._warm = False

    def on_train_begin(self, logs: Logs | None = None) -> None:
        """Prepares for a phase: its first step compiles it, which says nothing of its speed."""
        super().on_train_begin(logs)
        self._warm = False

    def on_train_batch_begin(self, batch: int, logs: Logs | None = None) -> None:
        """Notes when the step began, by asking for its batch."""
        # What happens between steps, an evaluation say, is no training time.
        self._began, self._asked = time.monotonic(), time.time()

    def on_step(self, step: int, logs: Logs) -> None:
        """Takes the scalars of a step; at the end of an interval reports their means.

        Raises:
            NonFiniteError: one is not finite; the message names the step and the part.
        """
        logs = dict(logs)
        ready = logs.pop(statistics.BATCH_READY, None)
        if self._warm:
            self._seconds.append(time.monotonic() - self._began)
        if self._warm and ready is not None:
            self._waits.append(max(ready - self._asked, 0.0))
        self._warm = True
        parts = {name: float(v) for name, v in logs.items() if name not in statistics.COUNTS}
        if not all(map(math.isfinite, parts.values())):
            raise NonFiniteError.of_loss(step, parts)
        self._pending.append(logs)
        if step % self._every == 0 or step == self._last_step:
            self.flush(step)

    def flush(self, step: int) -> None:
        """Reports what has been gathered since the last report."""
        if not self._pending:
            return
        gathered = self._pending
        # Names of the newest step: a phase that began in this interval speaks for itself.
        means = {
            name: np.mean([logs[name] for logs in gathered if name in logs], axis=0)
            for name in gathered[-1]
        }
        scalars = {name: float(value) for name, value in self._describe(means).items()}
        scalars["learning_rate"] = float(self.model.optimizer.learning_rate)
        seconds = self._seconds or [time.monotonic() - self._began]
        scalars["seconds_per_step"] = float(np.mean(seconds))
        if self._waits:
            scalars["input_wait"] = float(np.mean(self._waits))
        self._pending, self._seconds, self._waits = [], [], []
        for listener in self._listeners:
            listener(step, scalars)


class EveryNSteps(StepCallback):
    """Calls a function at every n-th step and at the last one."""

    def __init__(self, every: int, last_step: int, call: Callable[[int], None]) -> None:
        """Calls `call(step)` at every `every`-th step and after `last_step`."""
        super().__init__()
        self._every, self._last_step, self._call = every, last_step, call

    def on_step(self, step: int, logs: Logs) -> None:
        """Calls the function when its step has come."""
        if step % self._every == 0 or step == self._last_step:
            self._call(step)


class Followers:
    """Callbacks of the user's, such as MLflow's, which follow a run.

    To them an interval of the log is an epoch, numbered by its last step:
    `on_train_begin`, then `on_epoch_begin` and `on_epoch_end` with the scalars of `metrics.jsonl`,
    `on_test_begin` and `on_test_end` with the mean IoU of each network, and `on_train_end` after
    the last step. Single steps are not told: their scalars would have to leave the device.

    A callback observes. A request to stop (`stop_training`) is told to the user once and passed
    over: the learning rate and every phase are planned for the whole run.
    """

    def __init__(
        self,
        callbacks: Sequence[keras.callbacks.Callback],
        model: keras.Model,
        config: Config,
        step: int,
    ) -> None:
        """Begins with the model as it stands at `step`.

        Raises:
            UserError: a callback fails, then or in any of the calls below; it is named.
        """
        params = {"epochs": config.training.steps, "config": config.to_dict()}
        self._callbacks, self._model, self._asked = list(callbacks), model, False
        for callback in self._callbacks:
            callback.set_params({"verbose": 0, "steps": None, **params})
            callback.set_model(model)
        self._tell("on_train_begin")
        self._tell("on_epoch_begin", step)

    def __call__(self, step: int, scalars: Scalars) -> None:
        """Tells the scalars of an interval, and that the next one begins."""
        self._tell("on_epoch_end", step, scalars)
        self._tell("on_epoch_begin", step)

    def scores(self, mean_iou: dict[str, float]) -> None:
        """Tells what an evaluation has found."""
        self._tell("on_test_begin")
        self._tell("on_test_end", {f"mean_iou_{name}": score for name, score in mean_iou.items()})

    def end(self) -> None:
        """Tells that the last step is done."""
        self._tell("on_train_end")

    def _tell(self, event: str, *facts: int | Scalars) -> None:
        for callback in self._callbacks:
            name = type(callback).__name__
            own = [dict(fact) if isinstance(fact, dict) else fact for fact in facts]
            try:
                getattr(callback, event)(*own)
            except Exception as error:
                raise UserError(
                    f"The callback {name} failed in {event}: {type(error).__name__}: {error}. "
                    "Mend it or leave it out; training goes on from its newest checkpoint."
                ) from error
            if not getattr(self._model, "stop_training", False):  # a model in `fit` has it
                continue
            self._model.stop_training = False
            if not self._asked:
                print(f"{name} asks to stop; callbacks only observe a run.", file=sys.stderr)
            self._asked = True


class JsonLines:
    """Appends the scalars to a file, one JSON object per interval."""

    def __init__(self, path: str, step: int) -> None:
        """Appends to `path`, which is cut back to what a run knew when it stood at `step`."""
        self._path = path
        if not os.path.exists(path):
            return
        kept = [entry for entry in journal.read(path) if entry["step"] <= step]
        with journal.writing(path):
            files.write_text(path, "".join(map(journal.line, kept)))

    def __call__(self, step: int, scalars: Scalars) -> None:
        """Writes one line."""
        journal.append(self._path, {"step": step, **scalars})
