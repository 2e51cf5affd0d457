"""TensorBoard events of scalars and pictures.

TensorFlow's own `tf.summary` needs the package `tensorboard` for scalars and cannot say that a run
has been continued; event files are TFRecords of messages that TensorFlow comes with.
"""

import os
import socket
import time
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import summary_pb2
from tensorflow.core.util import event_pb2

from c3tf.io import tensorflow_errors
from c3tf.io.run_files import TENSORBOARD
from c3tf.runs import journal

# The first message of a file.
_VERSION = "brain.Event:2"


class EventLog:
    """Writes an event file of one run."""

    def __init__(self, run_dir: str, step: int) -> None:
        """Prepares the log of a run that stands at `step`; the first event makes the file.

        What earlier files tell of later steps, TensorBoard then leaves out of its curves.
        """
        self._folder, self._step = os.path.join(run_dir, TENSORBOARD), step
        self._writer: tf.io.TFRecordWriter | None = None

    def __call__(self, step: int, scalars: dict[str, float]) -> None:
        """Writes scalars by name; raises `StorageError` where they cannot be written."""
        metadata = _metadata("scalars", summary_pb2.DATA_CLASS_SCALAR)
        values = {name: np.float32(value) for name, value in scalars.items()}
        self._write(step, values, metadata)

    def pictures(self, step: int, pictures: dict[str, np.ndarray]) -> None:
        """Writes uint8 pictures `(N, H, W, 3)` by name, or raises `StorageError`."""
        metadata = _metadata("images", summary_pb2.DATA_CLASS_BLOB_SEQUENCE)
        self._write(step, {name: _encoded(p) for name, p in pictures.items()}, metadata)

    def close(self) -> None:
        """Closes the file."""
        if self._writer:
            self._writer.close()

    def _write(
        self, step: int, values: dict[str, Any], metadata: summary_pb2.SummaryMetadata
    ) -> None:
        shown = [
            summary_pb2.Summary.Value(
                tag=name, tensor=tf.make_tensor_proto(value), metadata=metadata
            )
            for name, value in values.items()
        ]
        with journal.writing(self._folder):
            try:
                self._writer = self._writer or self._opened()
                _add(self._writer, step=step, summary=summary_pb2.Summary(value=shown))
                self._writer.flush()
            except tf.errors.OpError as error:
                raise OSError(tensorflow_errors.reason(error)) from error

    def _opened(self) -> tf.io.TFRecordWriter:
        """Opens a new file, which says where its run continues."""
        os.makedirs(self._folder, exist_ok=True)
        # TensorBoard reads files in the order of their names.
        name = f"events.out.tfevents.{time.time():.6f}.{socket.gethostname()}"
        writer = tf.io.TFRecordWriter(os.path.join(self._folder, name))
        start = event_pb2.SessionLog(status=event_pb2.SessionLog.START)
        _add(writer, file_version=_VERSION)
        _add(writer, step=self._step + 1, session_log=start)
        return writer


def _add(writer: tf.io.TFRecordWriter, **held: Any) -> None:
    event = event_pb2.Event(wall_time=time.time(), **held)
    writer.write(event.SerializeToString())


def _metadata(plugin: str, data_class: int) -> summary_pb2.SummaryMetadata:
    data = summary_pb2.SummaryMetadata.PluginData(plugin_name=plugin)
    return summary_pb2.SummaryMetadata(plugin_data=data, data_class=data_class)


def _encoded(pictures: np.ndarray) -> list[bytes]:
    """Returns width, height and one PNG per picture, as TensorBoard's image plugin wants them."""
    height, width = pictures.shape[1:3]
    files = [tf.io.encode_png(picture).numpy() for picture in pictures]
    return [str(width).encode(), str(height).encode(), *files]
