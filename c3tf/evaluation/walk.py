"""Walks once through a labeled data set, on one device or on several side by side."""

import collections
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import tensorflow as tf

from c3tf.errors import UserError

# Images uint8 (B, H, W, 3) and labels uint8 (B, h, w, 1) to a tuple of tensors, inside a graph.
Step = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, ...]]

_IMAGE = tf.TensorSpec([None, None, None, 3], tf.uint8, name="image")
_LABEL = tf.TensorSpec([None, None, None, 1], tf.uint8, name="label")


class EvaluationError(UserError):
    """A data set cannot be evaluated as it is."""


class Walk:
    """Applies a step to every batch of a data set; compiled once, used as often as wanted."""

    def __init__(self, steps: Sequence[Step], devices: Sequence[str | None] = (None,)) -> None:
        """Compiles the steps, one trace each for all batch, image and label sizes.

        Args:
            steps: the step once for every device, each on the variables of its own device.
            devices: names of logical devices; None where TensorFlow shall choose.
        """
        if len(steps) != len(devices) or not steps:
            raise ValueError(
                "`steps` must hold one step per device. "
                f"Received: {len(steps)} steps, {len(devices)} devices"
            )
        self._steps = [tf.function(step, input_signature=[_IMAGE, _LABEL]) for step in steps]
        self._devices = tuple(devices)

    def over(self, dataset: Iterable[dict[str, tf.Tensor]]) -> Iterator[tuple[list[str], Any]]:
        """Yields the names and the step's results of every batch, in order.

        Args:
            dataset: batches with `"image"`, `"label"` and `"name"` string `(B,)`.

        Raises:
            EvaluationError: a record cannot be read or counted; the message says which.
        """
        # Every device takes the next batch when its last one is done; one batch is read ahead.
        pending: collections.deque[tuple[list[str], Future]] = collections.deque()
        with ThreadPoolExecutor(len(self._steps)) as pool:
            for index, batch in enumerate(_read(dataset)):
                if len(pending) == len(self._steps):
                    yield _finished(*pending.popleft())
                names = [name.decode() for name in np.asarray(batch["name"])]
                pending.append((names, pool.submit(self._apply, index, batch)))
            while pending:
                yield _finished(*pending.popleft())

    def _apply(self, index: int, batch: dict[str, tf.Tensor]) -> tuple[tf.Tensor, ...]:
        place = index % len(self._steps)
        with tf.device(self._devices[place]):
            return self._steps[place](batch["image"], batch["label"])


def _finished(names: list[str], future: Future) -> tuple[list[str], Any]:
    try:
        return names, future.result()
    except tf.errors.InvalidArgumentError as error:
        raise EvaluationError(f"Cannot evaluate {', '.join(names)}: {_reason(error)}") from error


def _read(dataset: Iterable) -> Iterator[dict[str, tf.Tensor]]:
    """Reads batch by batch, and says where a failure happened."""
    last = "the start"
    iterator = iter(dataset)
    while True:
        try:
            batch = next(iterator)
        except StopIteration:
            return
        except (tf.errors.InvalidArgumentError, tf.errors.DataLossError) as error:
            raise EvaluationError(
                f"The data set cannot be read after {last}: {_reason(error)}"
            ) from error
        last = np.asarray(batch["name"])[-1].decode()
        yield batch


def _reason(error: tf.errors.OpError) -> str:
    """Keeps the sentence of a TensorFlow error, not the listing of the graph after it."""
    lines = [line.strip() for line in str(error.message).splitlines() if line.strip()]
    said = [line for line in lines if "Received:" in line or "assertion failed" in line]
    return (said or lines or [type(error).__name__])[0]
