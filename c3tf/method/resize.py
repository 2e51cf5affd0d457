"""Resizing between the feature grid and the image, in the dtype of the input."""

import numpy as np
import tensorflow as tf


def bilinear(x: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Resizes maps bilinearly, with pixel centres at half coordinates.

    Equal to `tf.image.resize`, which always answers in float32; this keeps float64, and its two
    matrix products are as fast forward and faster backward.

    Args:
        x: `(B, h, w, C)` floating, h and w static.
        height: rows of the result.
        width: columns of the result.

    Returns:
        `(B, height, width, C)` of the dtype of `x`.
    """
    rows = tf.constant(interpolation_matrix(x.shape[1], height), x.dtype)
    columns = tf.constant(interpolation_matrix(x.shape[2], width), x.dtype)
    channels = x.shape[3]
    # Both products read and write the maps as they lie in memory; as one `einsum` they would be
    # transposed in between.
    wide = tf.reshape(tf.matmul(columns, x), [-1, x.shape[1], width * channels])
    return tf.reshape(tf.matmul(rows, wide), [-1, height, width, channels])


def interpolation_matrix(size: int, new_size: int) -> np.ndarray:
    """Returns the weights of linear interpolation from `size` to `new_size` samples.

    Args:
        size: samples of the input.
        new_size: samples of the output.

    Returns:
        `(new_size, size)` float64; each row sums to 1.
    """
    position = np.clip((np.arange(new_size) + 0.5) * size / new_size - 0.5, 0, size - 1)
    low = np.minimum(position.astype(int), max(size - 2, 0))
    fraction = position - low
    matrix = np.zeros((new_size, size))
    matrix[np.arange(new_size), low] += 1 - fraction
    matrix[np.arange(new_size), np.minimum(low + 1, size - 1)] += fraction
    return matrix


def nearest_grid(x: tf.Tensor, stride: int) -> tf.Tensor:
    """Takes the pixel at the centre of every feature: nearest-neighbour resizing to the grid.

    The centre is where `bilinear` puts the feature, so labels and logits speak of the same place.

    Args:
        x: `(B, H, W, ...)` of any dtype; H and W are multiples of `stride`.
        stride: image pixels per feature.

    Returns:
        `(B, H / stride, W / stride, ...)`.
    """
    return x[:, stride // 2 :: stride, stride // 2 :: stride]
