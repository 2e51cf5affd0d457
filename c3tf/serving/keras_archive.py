"""A network as a Keras archive of built-in layers."""

from pathlib import Path

import keras

from c3tf.inference.networks import output_stride
from c3tf.nets import upsampling
from c3tf.serving.options import KERAS, ServingError

KERAS_FILE = "model.keras"


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
