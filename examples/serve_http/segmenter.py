"""Runs the SavedModel: in one thread of its own, with a short queue before it."""

import asyncio
import concurrent.futures
import json
import logging
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from serve_http import images
from serve_http.limits import Limits, RefusedError, busy

_LOG = logging.getLogger(__name__)
_WARM_UP = np.zeros((64, 64, 3), np.uint8)


class Segmenter:
    """A SavedModel that is loaded in the background and computes one request at a time.

    TensorFlow spreads one request over all cores, so that two at a time would only wait for each
    other and hold twice the memory.
    """

    def __init__(self, model: str, limits: Limits) -> None:
        self._path, self._limits = Path(model), limits
        self._executor = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="segmenter")
        # Headers are parsed beside the event loop too, because hostile ones take their time.
        self._checker = concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="checker")
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
        """Ends the threads; what is being computed is finished."""
        self._checker.shutdown()
        self._executor.shutdown(cancel_futures=True)

    async def class_maps(self, encoded: Sequence[bytes]) -> list[np.ndarray]:
        """Computes the class maps of encoded images.

        Args:
            encoded: JPEG or PNG images of one size.

        Returns:
            `(H, W)` uint8 train ids for each.

        Raises:
            RefusedError: the images are unfit, or the server has too much to do.
        """
        if not self.ready:
            raise busy("The model is still being loaded.")
        await asyncio.get_running_loop().run_in_executor(
            self._checker, images.check, encoded, self._limits
        )
        return await self._queued(lambda: self._compute(encoded))

    async def _queued(self, work: Callable[[], list[np.ndarray]]) -> list[np.ndarray]:
        if self._pending > self._limits.queue:
            raise busy(f"{self._pending} requests are waiting already.")
        future = self._executor.submit(work)
        self._pending += 1
        loop = asyncio.get_running_loop()
        # Counted until the work has ended, also when its client has stopped waiting.
        future.add_done_callback(lambda _: loop.call_soon_threadsafe(self._one_less))
        try:
            async with asyncio.timeout(self._limits.compute_seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError as error:
            raise busy(
                f"The answer took more than {math.ceil(self._limits.compute_seconds)} seconds."
            ) from error

    def _one_less(self) -> None:
        self._pending -= 1

    def _compute(self, encoded: Sequence[bytes]) -> list[np.ndarray]:
        try:
            answer = self._module.signatures["image_bytes"](image_bytes=tf.constant(encoded))
        except tf.errors.InvalidArgumentError as error:
            raise RefusedError(
                400, "unreadable_image", "An image must be a readable JPEG or PNG file."
            ) from error
        return list(answer["class_map"].numpy())

    def _load(self) -> None:
        try:
            self.card = json.loads((self._path / "model_card.json").read_text(encoding="utf-8"))
            module = tf.saved_model.load(str(self._path))
            warm_up = tf.io.encode_png(_WARM_UP)[tf.newaxis]
            module.signatures["image_bytes"](image_bytes=warm_up)
            self._module = module
        except Exception:
            # Whatever it is, `/healthz` reports it, and the process goes on to say so.
            _LOG.exception("%s cannot be loaded", self._path)
            self.failed = True
