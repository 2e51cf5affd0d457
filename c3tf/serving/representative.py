"""Images of a data set that stand for what a network will see."""

import numpy as np
import tensorflow as tf

from c3tf.data import manifest, tfrecord

COUNT = 100
_SPLIT = "train"


def images(data: str, size: tuple[int, int], count: int = COUNT) -> list[np.ndarray]:
    """Reads training images, spread evenly over the split, at one size.

    Args:
        data: folder of a data set that a converter made.
        size: height and width; images of another size are resized.
        count: how many; all where there are fewer.

    Returns:
        uint8 `(H, W, 3)` each; the same images for the same data.

    Raises:
        UserError: there is no such data set, or it is damaged.
    """
    described = manifest.verify(data)
    held = described.count(_SPLIT)
    wanted = set(np.linspace(0, held - 1, min(count, held)).round().astype(int).tolist())
    records = (record for path in described.shards(_SPLIT) for record in tfrecord.read_shard(path))
    return [
        _resized(tfrecord.decode_image(record.image), size)
        for index, record in enumerate(records)
        if index in wanted
    ]


def _resized(image: tf.Tensor, size: tuple[int, int]) -> np.ndarray:
    if tuple(image.shape[:2]) == size:
        return image.numpy()
    resized = tf.image.resize(image, size, method="bilinear", antialias=True)
    return tf.cast(tf.round(tf.clip_by_value(resized, 0, 255)), tf.uint8).numpy()
