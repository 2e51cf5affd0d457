"""Resizing against the definition and against `tf.image`."""

import numpy as np
import pytest
import tensorflow as tf

import references
from c3tf.method.kernels.resize import bilinear, interpolation_matrix

pytestmark = pytest.mark.smoke

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


@pytest.mark.parametrize(("size", "new_size"), [*SIZES[:3], ((3, 2), (5, 4)), ((33, 65), (64, 96))])
def test_aligned_corners_as_the_definition_and_tensorflow_have_them(size, new_size):
    maps = np.random.default_rng(0).normal(size=(2, *size, 3))
    resized = bilinear(tf.constant(maps), *new_size, align_corners=True)
    expected = [references.resize_bilinear(image, *new_size, True) for image in maps]
    np.testing.assert_allclose(resized, expected, rtol=0, atol=1e-13)
    theirs = tf.raw_ops.ResizeBilinear(
        images=np.float32(maps), size=new_size, align_corners=True, half_pixel_centers=False
    )
    np.testing.assert_allclose(resized, theirs, rtol=0, atol=1e-4)
    for corner in ((0, 0), (0, -1), (-1, 0), (-1, -1)):
        np.testing.assert_allclose(
            resized[(slice(None), *corner)], maps[(slice(None), *corner)], rtol=0, atol=1e-13
        )


def test_the_dtype_is_kept():
    for dtype in (tf.float16, tf.bfloat16, tf.float32, tf.float64):
        assert bilinear(tf.ones([1, 2, 2, 1], dtype), 4, 4).dtype == dtype


@pytest.mark.parametrize(("size", "new_size"), [(1, 5), (5, 1), (4, 32), (33, 10), (7, 7)])
def test_rows_of_the_matrix_are_weights(size, new_size):
    for align_corners in (False, True):
        matrix = interpolation_matrix(size, new_size, align_corners)
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
