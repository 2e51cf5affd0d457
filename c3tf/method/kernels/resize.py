"""Resizing from the feature grid to the image, in the dtype of the input."""

import numpy as np
import tensorflow as tf


def bilinear(x: tf.Tensor, height: int, width: int, align_corners: bool = False) -> tf.Tensor:
    """Resizes maps bilinearly, with pixel centres at half coordinates by default.

    Equal to `tf.image.resize`, which always answers in float32; this keeps float64, and its two
    matrix products are as fast forward and faster backward.

    Args:
        x: `(B, h, w, C)` floating, h and w static.
        height: rows of the result.
        width: columns of the result.
        align_corners: put corner pixels on corner pixels instead (authors' code).

    Returns:
        `(B, height, width, C)` of the dtype of `x`.
    """
    rows = tf.constant(interpolation_matrix(x.shape[1], height, align_corners), x.dtype)
    columns = interpolation_matrix(x.shape[2], width, align_corners)
    columns = tf.constant(columns, x.dtype)
    channels = x.shape[3]
    # Both products read and write the maps as they lie in memory; as one `einsum` they would be
    # transposed in between.
    wide = tf.reshape(tf.matmul(columns, x), [-1, x.shape[1], width * channels])
    return tf.reshape(tf.matmul(rows, wide), [-1, height, width, channels])


def interpolation_matrix(size: int, new_size: int, align_corners: bool = False) -> np.ndarray:
    """Returns the weights of linear interpolation from `size` to `new_size` samples.

    Args:
        size: samples of the input.
        new_size: samples of the output.
        align_corners: put the first and last sample on the first and last sample.

    Returns:
        `(new_size, size)` float64; each row sums to 1.
    """
    if align_corners:
        position = np.linspace(0, size - 1, new_size)
    else:
        position = np.clip((np.arange(new_size) + 0.5) * size / new_size - 0.5, 0, size - 1)
    low = np.minimum(position.astype(int), max(size - 2, 0))
    fraction = position - low
    matrix = np.zeros((new_size, size))
    matrix[np.arange(new_size), low] += 1 - fraction
    matrix[np.arange(new_size), np.minimum(low + 1, size - 1)] += fraction
    return matrix
