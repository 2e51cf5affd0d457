"""TensorBoard events of scalars and pictures.

TensorFlow's own `tf.summary.scalar` needs the package `tensorboard`, which only who looks at the
events must have; `tf.summary.write`, which they are made of, does not.
"""

import os

import numpy as np
import tensorflow as tf
from tensorflow.core.framework import summary_pb2

from c3tf.io import tensorflow_errors
from c3tf.io.run_files import TENSORBOARD
from c3tf.runs import journal


class EventLog:
    """Appends to the event files of one run."""

    def __init__(self, run_dir: str) -> None:
        """Prepares the log; the first event makes the file."""
        self._folder = os.path.join(run_dir, TENSORBOARD)
        self._writer: tf.summary.SummaryWriter | None = None

    def __call__(self, step: int, scalars: dict[str, float]) -> None:
        """Writes scalars by name; raises `StorageError` where they cannot be written."""
        metadata = _metadata("scalars", summary_pb2.DATA_CLASS_SCALAR)
        values = {name: tf.constant(value, tf.float32) for name, value in scalars.items()}
        self._write(step, values, metadata)

    def pictures(self, step: int, pictures: dict[str, np.ndarray]) -> None:
        """Writes uint8 pictures `(N, H, W, 3)` by name, or raises `StorageError`."""
        metadata = _metadata("images", summary_pb2.DATA_CLASS_BLOB_SEQUENCE)
        self._write(step, {name: _encoded(p) for name, p in pictures.items()}, metadata)

    def close(self) -> None:
        """Closes the file; a later event opens another."""
        if self._writer:
            self._writer.close()
            self._writer = None

    def _write(
        self, step: int, values: dict[str, tf.Tensor], metadata: summary_pb2.SummaryMetadata
    ) -> None:
        with journal.writing(self._folder):
            try:
                self._writer = self._writer or tf.summary.create_file_writer(self._folder)
                with self._writer.as_default():
                    for name, value in values.items():
                        tf.summary.write(name, value, step, metadata)
                self._writer.flush()
            except tf.errors.OpError as error:
                raise OSError(tensorflow_errors.reason(error)) from error


def _metadata(plugin: str, data_class: int) -> summary_pb2.SummaryMetadata:
    data = summary_pb2.SummaryMetadata.PluginData(plugin_name=plugin)
    return summary_pb2.SummaryMetadata(plugin_data=data, data_class=data_class)


def _encoded(pictures: np.ndarray) -> tf.Tensor:
    """Returns width, height and one PNG per picture, as TensorBoard's image plugin wants them."""
    height, width = pictures.shape[1:3]
    files = [tf.io.encode_png(picture) for picture in pictures]
    return tf.stack([tf.constant(str(width)), tf.constant(str(height)), *files])
