"""The feature grid: pixels of features, labels and boxes on it."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import references
from c3tf.method.kernels.grid import FeatureGrid
from c3tf.method.kernels.resize import bilinear

pytestmark = pytest.mark.smoke


@pytest.mark.parametrize(
    ("features", "pixels"),
    [(2, 16), (8, 32), (5, 5), (3, 9), (33, 256), (65, 512), (1, 8), (13, 97)],
)
@pytest.mark.parametrize("align_corners", [False, True])
def test_places_are_the_nearest_pixels(features, pixels, align_corners):
    if features == 1 and align_corners:
        return
    grid = FeatureGrid.between((features, 1), (pixels, 1), align_corners)
    expected = references.feature_places(features, pixels, align_corners)
    assert grid.rows.tolist() == expected
    assert grid.columns.tolist() == [0]


def test_at_a_stride_the_pixel_is_that_of_the_middle():
    grid = FeatureGrid.between((4, 6), (32, 48))
    assert grid.rows.tolist() == [4, 12, 20, 28]
    assert grid.columns.tolist() == [4, 12, 20, 28, 36, 44]


def test_aligned_corners_lie_on_the_corners():
    grid = FeatureGrid.between((33, 65), (256, 512), align_corners=True)
    assert grid.rows[[0, -1]].tolist() == [0, 255]
    assert grid.columns[[0, -1]].tolist() == [0, 511]
    # Where the network's own strides have them, to a pixel.
    assert np.abs(grid.rows - 8 * np.arange(33)).max() == 1


@pytest.mark.parametrize("dtype", [tf.uint8, tf.int32, tf.bool, tf.float64])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_take_picks_pixels(dtype, channels):
    maps = np.random.default_rng(0).integers(0, 2, (2, 10, 14, *channels))
    grid = FeatureGrid.between((3, 5), (10, 14), align_corners=True)
    taken = grid.take(tf.cast(maps, dtype))
    assert taken.dtype == dtype
    np.testing.assert_array_equal(tf.cast(taken, tf.int64), maps[:, grid.rows][:, :, grid.columns])


@pytest.mark.parametrize(("align_corners", "tolerance"), [(False, 0.5), (True, 0.6)])
def test_grid_and_bilinear_speak_of_the_same_place(align_corners, tolerance):
    """Labels taken at the features of a ramp, and brought back, lie on the ramp again."""
    size, features = 64, 8
    ramp = np.broadcast_to(np.arange(size, dtype=np.float64)[:, None], (size, size))
    grid = FeatureGrid.between((features, features), (size, size), align_corners)
    taken = grid.take(tf.constant(ramp[None, ..., None]))
    back = bilinear(taken, size, size, align_corners)[0, ..., 0].numpy()
    inner = slice(features, -features)
    # A feature between two pixels takes one of them: half a pixel is the best there is.
    np.testing.assert_allclose(back[inner], ramp[inner], atol=tolerance)


@settings(deadline=None, max_examples=60)
@given(
    top=st.integers(0, 39),
    left=st.integers(0, 39),
    height=st.integers(0, 40),
    width=st.integers(0, 40),
    features=st.integers(2, 40),
    align_corners=st.booleans(),
)
def test_boxes_on_the_grid_are_the_full_size_masks(
    top, left, height, width, features, align_corners
):
    box = np.array([[[top, left, min(height, 40 - top), min(width, 40 - left)]]], np.int32)
    grid = FeatureGrid.between((features, 7), (40, 40), align_corners)
    on_grid = grid.boxes(tf.constant(box)).numpy()
    full = inside(box, 40, 40)[grid.rows][:, grid.columns]
    np.testing.assert_array_equal(inside(on_grid, features, 7), full)


def inside(box, height, width):
    """Draws one rectangle as a mask."""
    mask = np.zeros((height, width), bool)
    top, left, rows, columns = box[0, 0]
    mask[top : top + rows, left : left + columns] = True
    return mask
