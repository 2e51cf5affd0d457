"""A network's files for other runtimes than TensorFlow's own: Keras and TensorFlow Lite."""

from pathlib import Path

import keras
import tensorflow as tf

from c3tf.inference.networks import class_map, output_stride
from c3tf.nets import upsampling
from c3tf.serving.options import KERAS, ServingError

KERAS_FILE = "model.keras"
# By the type that the weights are stored in; both compute in float32 and take the same images.
TFLITE_FILES = {"float32": "model_float32.tflite", "float16": "model_float16.tflite"}


def write_keras(network: keras.Model, path: Path) -> None:
    """Writes a network as a `.keras` archive of built-in layers.

    The archived model maps RGB images `(B, H, W, 3)` in 0..255 to logits `(B, H', W', C)`, with
    H' and W' rounded up to multiples of the output stride. No built-in layer crops to a size that
    is known only at the call; `[:, :H, :W]` does.

    Args:
        network: maps images to logits at its output stride, see `check_keras`.
        path: ends in `.keras`.
    """
    logits = upsampling.upsampled(network.output, output_stride(network), dtype="float32")
    keras.Model(network.inputs[0], logits, name="segmenter").save(path)


def check_keras(network: keras.Model) -> None:
    """Refuses a network whose logits no built-in layer brings to the size of the image.

    Raises:
        ServingError: it was trained with aligned corners or a rounded-up grid, where a position of
            the logits stands for no block of pixels.
    """
    if output_stride(network) is None:
        raise ServingError(
            f"`--format={KERAS}` needs a network whose logits lie on blocks of pixels, and this "
            "one has aligned corners or a rounded-up grid (--align_corners, --max_pool_ceil): "
            "built-in layers cannot bring its logits to the image's size. Give another --format."
        )


def write_tflite(network: keras.Model, folder: Path, size: tuple[int, int]) -> None:
    """Writes a network as two TensorFlow Lite files, see `TFLITE_FILES`.

    Their one signature takes `images` uint8 `(1, H, W, 3)` and gives `class_map` uint8
    `(1, H, W)`, as the SavedModel's `serving_default` does.

    Args:
        network: maps images to logits at its output stride.
        folder: where the files go.
        size: H and W, fixed in the files: an interpreter that is told of another size refuses.
    """
    images = tf.TensorSpec([1, *size, 3], tf.uint8, name="images")

    @tf.function(input_signature=[images])
    def serving_default(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return {"class_map": class_map(network, _only(images, *size))}

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


def _only(images: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Returns images as they are, if they are of this size.

    An interpreter may be told to resize its input, and would compute nonsense with the sizes that
    are fixed further on. Concatenation is refused where other sides differ, so a column and a row
    are added and cut off again.
    """
    wider = tf.concat([images, tf.zeros([1, height, 1, 3], images.dtype)], axis=2)
    taller = tf.concat([wider, tf.zeros([1, 1, width + 1, 3], images.dtype)], axis=1)
    return taller[:, :height, :width]
