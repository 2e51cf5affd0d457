"""The runs of an experiment: the method's own and, where it is asked for, its baseline's before."""

import contextlib
import dataclasses
import gc
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

import keras

from c3tf.config import Config, ConfigError
from c3tf.errors import Stopped
from c3tf.evaluation import metrics
from c3tf.io import writable
from c3tf.runs import journal, run_dir, setup
from c3tf.runs import results as run_results
from c3tf.runs.configs import BASELINE, configs_of
from c3tf.runs.results import RunResult
from c3tf.runs.run import Run
from c3tf.runs.stopping import StopRequest
from c3tf.training import distribution
from c3tf.visualization import results_sheet


@dataclasses.dataclass(frozen=True)
class SeriesResult:
    """What the runs of an experiment have produced.

    Attributes:
        results: by the method's name, the baseline first.
        outputs: the run directories, by the same names.
        finished: names of the runs that were finished before, of which nothing was left to do.
        predictions: picture of validation scenes with what all networks predict.
        stop_requested: a signal asked to stop while the last results were being written.
    """

    results: Mapping[str, RunResult]
    outputs: Mapping[str, str]
    finished: Sequence[str]
    predictions: str
    stop_requested: bool = False

    @property
    def own(self) -> RunResult:
        """The result of the method itself."""
        return list(self.results.values())[-1]

    def table(self) -> str:
        """Lays out IoU per class and their means, networks side by side, as printable text."""
        columns = {}
        for name, result in self.results.items():
            columns[f"{name} student" if result.teacher else name] = result.student.confusion
            if result.teacher:
                columns[f"{name} teacher"] = result.teacher.confusion
        text = metrics.table(columns, self.own.label_map.class_names)
        if len(self.results) == 1:
            return text
        name = list(self.results)[-1]
        before, after = self.results[BASELINE].student.mean_iou(), self.own.student.mean_iou()
        return (
            f"{text}\nmIoU: supervised baseline {before:.2%}, {name} {after:.2%} "
            f"({100 * (after - before):+.2f} points)"
        )


def train(
    config: Config,
    callbacks: keras.callbacks.Callback | Sequence[keras.callbacks.Callback] | None = (),
) -> SeriesResult | None:
    """Trains the runs of an experiment, or goes on with them, and exports their networks.

    Args:
        config: what to do.
        callbacks: what follows the method's own run, see `c3tf.runs.logging.callbacks.Followers`.

    Returns:
        What came out; None on hosts other than the chief, which write nothing.

    Raises:
        Stopped: SIGTERM or Ctrl-C asked to stop; a checkpoint is written.
        StorageError: something cannot be written.
        UserError: data, weights, devices or the output directory do not fit.
    """
    callbacks = _observers(callbacks)
    configs = configs_of(config)
    for run in configs:
        run_dir.check(run.training.output, run)
    results = {run.method.name: run_results.read(run) for run in configs}
    held = {name: result is not None for name, result in results.items()}
    _make_ready(config, distribution.read_cluster(), all(held.values()))
    # Several hosts meet here, and TensorFlow must not have computed anything before. What is
    # finished is so for all of them, or one that does not see it would wait for the others.
    devices = distribution.create_devices(config)
    left = [run for run in configs if not all(devices.gather(int(held[run.method.name])))]
    # All runs are opened before the first one is trained, so that none fails after an hour.
    for run in left[1:]:
        Run(run, run.method.name, devices).check_can_go_on()
        _free_memory()
    with _stop_request() as stop:
        for run in left:
            if any(devices.gather(int(stop.requested))):
                raise Stopped(f"{run.method.name}: stopped before it was begun.")
            followers = callbacks if run is configs[-1] else ()
            results[run.method.name] = _train(run, devices, stop, followers)
    if not devices.cluster.is_chief:
        return None
    outputs = {run.method.name: run.training.output for run in configs}
    with journal.writing(configs[-1].training.output, "All runs are finished."):
        predictions = results_sheet.draw(outputs, configs[-1].training.output)
    return SeriesResult(
        results=results,
        outputs=outputs,
        finished=[run.method.name for run in configs if run not in left],
        predictions=predictions,
        stop_requested=stop.requested,
    )


# What a Keras callback would do to a training, and what does it here.
_ACTING = {
    "ModelCheckpoint": "--checkpoint_every; the best one is kept as best.npz",
    "BackupAndRestore": "--checkpoint_every; the same command goes on from the newest checkpoint",
    "EarlyStopping": "--steps; the best checkpoint is kept as best.npz",
    "ReduceLROnPlateau": "--learning_rate and --poly_power",
    "LearningRateScheduler": "--learning_rate and --poly_power",
    "SwapEMAWeights": "--ema_decay; the teacher is the moving average",
    "TensorBoard": "nothing; the run writes its own events to tensorboard/",
    "TerminateOnNaN": "nothing; a loss that is not finite ends every run",
}


def _observers(callbacks: Any) -> Sequence[keras.callbacks.Callback]:
    """Returns what was given as callbacks, one or several, or refuses it.

    Raises:
        ConfigError: it is no callback, or one of Keras' own that would act on the training.
    """
    if isinstance(callbacks, keras.callbacks.Callback):
        callbacks = [callbacks]
    try:
        given = list(callbacks or ())
    except TypeError:
        given = [callbacks]
    for callback in given:
        if not isinstance(callback, keras.callbacks.Callback):
            raise ConfigError(f"`callbacks` must be Keras callbacks. Received: {callback!r}")
        for name, instead in _ACTING.items():
            if isinstance(callback, getattr(keras.callbacks, name)):
                raise ConfigError(
                    f"`callbacks` only observe a run, and {type(callback).__name__} acts on it. "
                    f"Use in its place: {instead}."
                )
    return given


def _make_ready(config: Config, cluster: distribution.Cluster, is_finished: bool) -> None:
    """Sees to what training needs, where there is something left to train."""
    if cluster.is_chief and not is_finished:
        writable.check_folder(config.training.output)
    if cluster.num_workers > 1:
        print(f"{cluster}: waits for the other hosts", file=sys.stderr)
    elif not is_finished:
        setup.ensure_data(config)


def _stop_request() -> contextlib.AbstractContextManager[StopRequest]:
    """Listens for signals where Python lets one: in the main thread."""
    if threading.current_thread() is threading.main_thread():
        return StopRequest()
    return contextlib.nullcontext(StopRequest())


def _train(
    config: Config,
    devices: distribution.Devices,
    stop: StopRequest,
    callbacks: Sequence[keras.callbacks.Callback],
) -> RunResult | None:
    """Trains one run and frees its memory, so that two runs need no more than one."""
    run = Run(config, config.method.name, devices)
    if devices.cluster.is_chief:
        print(run.describe(), flush=True)
    result = run.train(stop, callbacks)
    del run
    _free_memory()
    return result


def _free_memory() -> None:
    # Networks and their compiled functions refer to each other in circles.
    gc.collect()
