"""A network's files for other runtimes than TensorFlow's own: Keras and TensorFlow Lite."""

from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from c3tf.inference.networks import class_map, output_stride

KERAS_FILE = "model.keras"
# By the type that the weights are stored in; both compute in float32 and take the same images.
TFLITE_FILES = {"float32": "model_float32.tflite", "float16": "model_float16.tflite"}


def write_keras(network: keras.Model, path: Path) -> None:
    """Writes a network as a `.keras` archive of built-in layers.

    The archived model maps RGB images `(B, H, W, 3)` in 0..255 to logits `(B, H', W', C)`, with
    H' and W' rounded up to multiples of the output stride. No built-in layer crops to a size that
    is known only at the call; `[:, :H, :W]` does. Logits without an `output_stride` are not
    upsampled.

    Args:
        network: maps images to logits at its output stride.
        path: ends in `.keras`.
    """
    stride = output_stride(network)
    logits = network.output if stride is None else _upsampled(network.output, stride)
    keras.Model(network.inputs[0], logits, name="segmenter").save(path)


def _upsampled(logits: Any, stride: int) -> Any:
    """Enlarges logits bilinearly, with half-pixel centres, by layers that take any size.

    `UpSampling2D(interpolation="bilinear")` fails where the size is unknown when a graph is
    traced. Repeating each value `2 * stride` times and averaging as many at every second place is
    the same: the average of a step function is linear, and at the border the pooling counts
    inside values alone, which repeats the outermost value.
    """
    x, repeats = logits, 2 * stride
    for name, factor, step in (
        ("rows", (repeats, 1), (2, 1)),
        ("columns", (1, repeats), (1, 2)),
    ):
        x = keras.layers.UpSampling2D(factor, dtype="float32", name=f"repeated_{name}")(x)
        x = keras.layers.AveragePooling2D(
            factor, step, padding="same", dtype="float32", name=f"averaged_{name}"
        )(x)
    return x


def write_tflite(network: keras.Model, folder: Path, size: tuple[int, int]) -> None:
    """Writes a network as two TensorFlow Lite files, see `TFLITE_FILES`.

    Their one signature takes `images` uint8 `(1, H, W, 3)` and gives `class_map` uint8
    `(1, H, W)`, as the SavedModel's `serving_default` does.

    Args:
        network: maps images to logits at its output stride.
        folder: where the files go.
        size: H and W, fixed in the files.
    """
    images = tf.TensorSpec([1, *size, 3], tf.uint8, name="images")

    @tf.function(input_signature=[images])
    def serving_default(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"class_map": class_map(network, images)}

    module = tf.Module()
    module.weights = [variable.value for variable in network.weights]
    for kind, name in TFLITE_FILES.items():
        converter = tf.lite.TFLiteConverter.from_concrete_functions(
            [serving_default.get_concrete_function()], module
        )
        if kind == "float16":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.target_spec.supported_types = [tf.float16]
        (folder / name).write_bytes(converter.convert())
