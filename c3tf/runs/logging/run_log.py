"""What a run logs while it trains: lines of progress, metrics.jsonl, TensorBoard."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from c3tf.config import Config
from c3tf.data.batch import SemiBatch, SupervisedBatch
from c3tf.io import run_files
from c3tf.labels import LabelMap
from c3tf.runs.logging import callbacks
from c3tf.runs.logging.console import Console
from c3tf.runs.logging.tensorboard import EventLog
from c3tf.training import statistics
from c3tf.training.pictures import Pictures
from c3tf.training.trainer import SemiSupervisedTrainer


class RunLog:
    """Logs the scalars and pictures of one run; on hosts other than the chief only checks them."""

    def __init__(self, config: Config, title: str, label_map: LabelMap, is_chief: bool) -> None:
        """Prepares the log of a run that progress lines call `title`; only the chief writes."""
        self._config, self._title, self._label_map = config, title, label_map
        self._is_chief = is_chief
        self._events: EventLog | None = None
        self._scalars: callbacks.ScalarLog | None = None
        self._followers: callbacks.Followers | None = None

    def callbacks(
        self,
        model: SemiSupervisedTrainer,
        step: int,
        first_batch: Callable[[], SemiBatch | SupervisedBatch],
        followers: Sequence[keras.callbacks.Callback] = (),
    ) -> list[keras.callbacks.Callback]:
        """Returns what Keras is to call after each step.

        Args:
            model: the model that trains.
            step: steps that are done.
            first_batch: makes the batch whose images the pictures show.
            followers: see `callbacks.Followers`.
        """
        training = self._config.training
        if training.tensorboard and self._is_chief:
            self._events = EventLog(training.output, step)
        if followers and self._is_chief:
            self._followers = callbacks.Followers(followers, model, self._config, step)
        # Without listeners too: a loss that is not finite must end every host's process.
        self._scalars = callbacks.ScalarLog(
            training.log_every,
            training.steps,
            self._listeners(step) if self._is_chief else [],
            lambda logs: _scalars(model, logs, self._label_map),
        )
        hooks: list[keras.callbacks.Callback] = [self._scalars]
        if self._events and training.image_log_interval:
            pictures = Pictures(model, self._label_map, first_batch)

            def draw(step: int) -> None:
                self._events.pictures(step, pictures.draw())

            hooks.append(callbacks.EveryNSteps(training.image_log_interval, training.steps, draw))
        return hooks

    def _listeners(self, step: int) -> list[Callable[[int, dict[str, float]], None]]:
        training = self._config.training
        listeners = [
            Console(self._title, training.steps, self._config.labeled_batch_size),
            callbacks.JsonLines(os.path.join(training.output, run_files.METRICS), step),
        ]
        return [*listeners, *filter(None, (self._events, self._followers))]

    def flush(self, step: int) -> None:
        """Logs what is held back since the last line."""
        self._scalars.flush(step)

    def scores(self, step: int, mean_iou: dict[str, float]) -> None:
        """Logs the mean IoU of each evaluated network."""
        if self._events:
            self._events(step, {f"mean_iou/{name}": value for name, value in mean_iou.items()})
        if self._followers:
            self._followers.scores(mean_iou)

    def end(self) -> None:
        """Tells who follows that the last step is done."""
        if self._followers:
            self._followers.end()

    def close(self) -> None:
        """Closes the TensorBoard events."""
        if self._events:
            self._events.close()


def _scalars(
    model: SemiSupervisedTrainer, logs: dict[str, Any], label_map: LabelMap
) -> dict[str, float]:
    thresholds = None
    if model.semi_supervised:
        thresholds = tf.convert_to_tensor(model.thresholds).numpy()
    return statistics.describe(logs, label_map.class_names, thresholds)
