"""Resizing against the definition and against `tf.image`."""

import numpy as np
import pytest
import tensorflow as tf

import references
from c3tf.method.resize import bilinear, interpolation_matrix, nearest_grid

SIZES = [
    ((4, 5), (32, 40)),
    ((5, 3), (33, 17)),
    ((6, 8), (6, 8)),
    ((9, 7), (4, 5)),
    ((1, 1), (3, 2)),
    ((3, 1), (1, 4)),
    ((12, 15), (180, 240)),
]


@pytest.mark.parametrize(("size", "new_size"), SIZES)
def test_bilinear_is_its_definition_and_tf_image(size, new_size):
    maps = np.random.default_rng(0).normal(size=(2, *size, 3))
    resized = bilinear(tf.constant(maps), *new_size)
    assert resized.dtype == tf.float64
    expected = [references.resize_bilinear(image, *new_size) for image in maps]
    np.testing.assert_allclose(resized, expected, rtol=0, atol=1e-13)
    # Which does not shrink with an average either, and answers in float32.
    np.testing.assert_allclose(resized, tf.image.resize(maps, new_size), rtol=0, atol=1e-5)


def test_the_dtype_is_kept():
    for dtype in (tf.float16, tf.bfloat16, tf.float32, tf.float64):
        assert bilinear(tf.ones([1, 2, 2, 1], dtype), 4, 4).dtype == dtype


@pytest.mark.parametrize(("size", "new_size"), [(1, 5), (5, 1), (4, 32), (33, 10), (7, 7)])
def test_rows_of_the_matrix_are_weights(size, new_size):
    matrix = interpolation_matrix(size, new_size)
    assert matrix.shape == (new_size, size)
    assert (matrix >= 0).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1, rtol=1e-15)


def test_gradient_is_the_transpose():
    maps = tf.constant(np.random.default_rng(0).normal(size=(1, 4, 5, 2)))
    upstream = np.random.default_rng(1).normal(size=(1, 9, 11, 2))
    with tf.GradientTape() as tape:
        tape.watch(maps)
        value = tf.reduce_sum(bilinear(maps, 9, 11) * upstream)
    gradient = tape.gradient(value, maps).numpy()
    # Linear: <gradient, maps> is the value itself, for any maps.
    assert (gradient * maps.numpy()).sum() == pytest.approx(float(value), rel=1e-12)
    other = np.random.default_rng(2).normal(size=maps.shape)
    expected = (bilinear(tf.constant(other), 9, 11).numpy() * upstream).sum()
    assert (gradient * other).sum() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(
    ("height", "width", "stride"), [(16, 24, 8), (8, 32, 4), (5, 5, 1), (3, 9, 3)]
)
def test_nearest_grid_takes_the_pixel_at_the_centre_of_every_feature(height, width, stride):
    maps = np.arange(2 * height * width, dtype=np.int32).reshape(2, height, width)
    grid = nearest_grid(tf.constant(maps), stride).numpy()
    rows, columns = height // stride, width // stride
    assert grid.shape == (2, rows, columns)
    for b, y, x in np.ndindex(*grid.shape):
        assert grid[b, y, x] == maps[b, y * stride + stride // 2, x * stride + stride // 2]


def test_nearest_grid_keeps_channels_and_dtype():
    grid = nearest_grid(tf.zeros([1, 8, 8, 5], tf.bool), 4)
    assert grid.shape == (1, 2, 2, 5)
    assert grid.dtype == tf.bool


def test_grid_and_bilinear_speak_of_the_same_place():
    """Labels taken at the features of a ramp, and brought back, lie on the ramp again."""
    stride, size = 8, 64
    ramp = np.broadcast_to(np.arange(size, dtype=np.float64)[:, None], (size, size))
    features = nearest_grid(tf.constant(ramp[None, ..., None]), stride)
    back = bilinear(features, size, size)[0, ..., 0].numpy()
    inner = slice(stride, -stride)
    # Even strides have no middle pixel: half a pixel is the best there is.
    np.testing.assert_allclose(back[inner], ramp[inner], atol=0.5)
