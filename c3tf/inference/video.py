"""Prediction of a video: read, seen by the network and written side by side, frame by frame.

No more frames are in memory than two batches that are read, one that the network sees and three
that wait to be written, however long the video is.
"""

import collections
import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import tensorflow as tf

from c3tf.errors import DataError, UserError
from c3tf.inference import reading
from c3tf.inference.model import Opener
from c3tf.inference.networks import Predictor
from c3tf.inference.video_files import ENDING, VideoReader, VideoWriter
from c3tf.inference.video_options import BESIDE, VideoOptions
from c3tf.io import files, locks, writable
from c3tf.labels import LabelMap
from c3tf.visualization import drawing

# Batches that wait to be written, and positions of broken frames that are remembered.
_WAITING, _NAMED = 2, 10

# Frames in order, None where one cannot be read.
_Batch = list[np.ndarray | None]


@dataclasses.dataclass(frozen=True)
class VideoSummary:
    """What became of the frames.

    Attributes:
        frames: that were predicted.
        broken: that could not be read and show the one before.
        first_broken: positions of the first of these, from 1.
        lost: that could not be read at the end and are not there.
        rate: frames per second of the video.
        seconds: that prediction took.
        advice: what may be wrong with them all, for people; None if nothing is.
    """

    frames: int
    broken: int
    first_broken: tuple[int, ...]
    lost: int
    rate: float
    seconds: float
    advice: str | None = None

    def complaints(self) -> list[str]:
        """Says which frames could not be read."""
        lines = [
            f"frame {position} (at {(position - 1) / self.rate:.2f} s) cannot be read; it shows "
            "the one before"
            for position in self.first_broken
        ]
        if more := self.broken - len(lines):
            lines.append(f"{more} more frames cannot be read")
        if self.lost:
            lines.append(
                f"it ends after frame {self.frames + self.broken}: the last {self.lost} of the "
                "frames that it names cannot be read"
            )
        return lines


def predict_video(
    open_model: Opener,
    video: str,
    output: str,
    options: VideoOptions | None = None,
    progress: Callable[[int, str], Callable[[int], None]] | None = None,
) -> VideoSummary:
    """Predicts the frames of a video and writes a video of what was predicted.

    The result has its frame rate, stands upright as players show it, and has no sound. It is there
    whole or not at all. A frame that cannot be read shows the one before.

    Args:
        open_model: opens the model, once the video is found.
        video: the file.
        output: the file to write, which ends in `.mp4`.
        options: how to predict and to draw.
        progress: as for `predict_files`.

    Raises:
        UserError: model, video or options cannot be used, or a file is in the way.
    """
    options = options or VideoOptions()
    if not output.lower().endswith(ENDING):
        raise UserError(f"`--output` must end in {ENDING} for a video. Received: --output={output}")
    writable.check_file(output, replace=options.overwrite)
    with contextlib.closing(VideoReader(video)) as reader:
        if os.path.exists(output) and os.path.samefile(video, output):
            raise UserError(f"{output} is the video itself. Give another --output.")
        opened = open_model()
        work = _Work(reader, opened.predictor(options.inference), opened.label_map, options)
        with files.replacing(output) as beside:
            summary = work.run(beside, output, progress)
    rows, scales = {reader.rows: summary.frames}, options.inference.tta_scales
    advice = opened.advice(rows, options.height, scales)
    return dataclasses.replace(summary, advice=advice)


class _Work:
    """One pass over a video."""

    def __init__(
        self, reader: VideoReader, predict: Predictor, label_map: LabelMap, options: VideoOptions
    ) -> None:
        self._reader, self._predict, self._options = reader, predict, options
        self._label_map = label_map
        self._predicted = self._broken = 0
        self._first_broken: list[int] = []

    def run(
        self,
        path: str,
        name: str,
        progress: Callable[[int, str], Callable[[int], None]] | None,
    ) -> VideoSummary:
        """Writes the result to `path`, which errors call `name`."""
        count = self._reader.count
        # Some streams do not say how long they are.
        report = progress(count, "frames") if progress and count else lambda done: None
        writer = VideoWriter(path, self._reader.rate, name)
        start = time.monotonic()
        # Marks the file as one that is being written, so that nobody takes it for a leftover.
        open(path, "xb").close()
        with locks.holding(path):
            try:
                self._run(writer, report)
            except BaseException:
                writer.abandon()
                raise
            writer.close()
        return VideoSummary(
            self._predicted,
            self._broken,
            tuple(self._first_broken),
            self._reader.lost,
            self._reader.rate,
            time.monotonic() - start,
        )

    def _run(self, writer: VideoWriter, report: Callable[[int], None]) -> None:
        pending: collections.deque[Future[None]] = collections.deque()
        with ThreadPoolExecutor(1) as reads, ThreadPoolExecutor(1) as writes:
            for batch in _ahead(reads, self._batches()):
                self._note(batch)
                maps = self._maps([frame for frame in batch if frame is not None])
                pending.append(writes.submit(self._write, writer, batch, maps))
                # What waits to be written is bounded, however slow the disk is.
                while len(pending) > _WAITING:
                    pending.popleft().result()
                report(self._predicted + self._broken)
            for future in pending:
                future.result()

    def _batches(self) -> Iterator[_Batch]:
        """Yields frames in order, `batch_size` of them that can be read at a time."""
        batch: _Batch = []
        readable = 0
        for frame in self._reader.frames():
            batch.append(frame)
            readable += frame is not None
            if readable == self._options.batch_size:
                yield batch
                batch, readable = [], 0
        if batch:
            yield batch

    def _note(self, batch: _Batch) -> None:
        for frame in batch:
            if frame is not None:
                self._predicted += 1
                continue
            self._broken += 1
            if len(self._first_broken) < _NAMED:
                self._first_broken.append(self._predicted + self._broken)

    def _maps(self, frames: list[np.ndarray]) -> np.ndarray:
        size = frames[0].shape[:2]
        shown = [reading.resized(tf.constant(frame), self._options.height) for frame in frames]
        problem = reading.too_large(*shown[0].shape[:2], len(shown))
        try:
            if not problem:
                return self._predict(tf.stack(shown), tf.constant(size, tf.int32)).numpy()
        except tf.errors.ResourceExhaustedError:
            problem = reading.NO_MEMORY
        raise DataError(f"{self._reader.path}: {problem}.")

    def _write(self, writer: VideoWriter, batch: _Batch, class_maps: np.ndarray) -> None:
        maps = iter(class_maps)
        for frame in batch:
            if frame is None:
                writer.repeat()
                continue
            picture = drawing.overlay(frame, next(maps), self._label_map, self._options.opacity)
            if self._options.show == BESIDE:
                picture = np.concatenate([frame, picture], axis=1)
            writer.write(picture)


def _ahead(pool: ThreadPoolExecutor, batches: Iterator[_Batch]) -> Iterator[_Batch]:
    """Reads the next batch while one is worked on."""
    coming = pool.submit(next, batches, None)
    while (batch := coming.result()) is not None:
        coming = pool.submit(next, batches, None)
        yield batch
