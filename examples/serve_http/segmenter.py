"""Runs the SavedModel: in one thread of its own, with a short queue before it."""

import asyncio
import concurrent.futures
import json
import logging
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import tensorflow as tf

from serve_http import images, operations, orientation
from serve_http.limits import Limits, busy
from serve_http.metrics import Metrics

_LOG = logging.getLogger("uvicorn.error")
_WARM_UP = np.zeros((64, 64, 3), np.uint8)
_Result = TypeVar("_Result")


class Segmenter:
    """A SavedModel that is loaded in the background and computes one request at a time.

    TensorFlow spreads one request over all cores, so that two at a time would only wait for each
    other and hold twice the memory.
    """

    def __init__(self, model: str, limits: Limits, metrics: Metrics, exif: str) -> None:
        self._path, self._limits, self._metrics = Path(model), limits, metrics
        self._exif = exif
        self._executor = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="segmenter")
        self._pending = 0
        self._module: Any = None
        self.card: dict[str, Any] = {}
        self.failed = False

    @property
    def ready(self) -> bool:
        """Whether requests can be computed."""
        return self._module is not None

    def start(self) -> None:
        """Begins to load the SavedModel."""
        self._executor.submit(self._load)

    def stop(self) -> None:
        """Drops what waits; what is being computed cannot be stopped and is not waited for."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def check_ready(self) -> None:
        """Refuses requests that would be in vain.

        Raises:
            RefusedError: the model is not loaded, or too many requests wait.
        """
        if not self.ready:
            raise busy("The model is still being loaded.")
        if self._pending > self._limits.queue:
            raise busy(f"{self._pending} requests are waiting already.")

    async def run(self, work: Callable[[], _Result]) -> _Result:
        """Runs work in the model's thread; everything that a client's bytes cause belongs there.

        Cancelled, it drops work that has not begun.

        Raises:
            RefusedError: `work` raised it, or the server has too much to do.
        """
        self.check_ready()
        # A list, because work that is dropped stays in the queue as it is until its turn.
        held = [work]
        future = self._executor.submit(self._timed, held)
        self._count(1)
        loop = asyncio.get_running_loop()
        # Counted until the work has ended, also when its client has stopped waiting.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._count, -1))
        try:
            async with asyncio.timeout(self._limits.compute_seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            raise busy(
                f"The answer took more than {math.ceil(self._limits.compute_seconds)} seconds."
            ) from error
        finally:
            if future.cancel():
                held.clear()
                self._metrics.count("dropped_before_computing_total")

    def class_maps(self, encoded: Sequence[bytes]) -> np.ndarray:
        """Computes class maps, within `run`.

        Args:
            encoded: JPEG or PNG images.

        Returns:
            `(B, H, W)` uint8 train ids.

        Raises:
            RefusedError: the images are unfit.
        """
        orientations = images.check(encoded, self._limits, self._exif)
        signatures = self._module.signatures
        try:
            if any(one != orientation.UPRIGHT for one in orientations):
                upright = tf.constant(images.upright(encoded, orientations))
                answer = signatures["serving_default"](images=upright)
            else:
                answer = signatures["image_bytes"](image_bytes=tf.constant(encoded))
        except tf.errors.InvalidArgumentError as error:
            raise images.unreadable() from error
        return answer["class_map"].numpy()

    def _count(self, change: int) -> None:
        self._pending += change
        self._metrics.gauge("queued_or_computing", self._pending)

    def _timed(self, held: list[Callable[[], _Result]]) -> _Result:
        began = time.monotonic()
        try:
            return held.pop()()
        finally:
            self._metrics.count("computations_total")
            self._metrics.count("computing_seconds_total", time.monotonic() - began)

    def _load(self) -> None:
        try:
            self.card = json.loads((self._path / "model_card.json").read_text(encoding="utf-8"))
            # A SavedModel is a program; only the operations of exported models are run.
            module = operations.load(self._path)
            warm_up = tf.io.encode_png(_WARM_UP)[tf.newaxis]
            module.signatures["image_bytes"](image_bytes=warm_up)
            self._module = module
        except Exception:
            # Whatever it is, `/healthz` reports it, and the process goes on to say so.
            _LOG.exception("%s cannot be loaded", self._path)
            self.failed = True
