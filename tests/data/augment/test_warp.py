"""Geometry against Pillow and NumPy: exact crops, rotation, alignment, valid masks."""

import math

import hypothesis
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import strategies as st
from PIL import Image

import view_options
from c3tf.data.augment.geometry import draw_geometry
from c3tf.data.augment.warp import valid_mask, warp_image, warp_label
from c3tf.data.pixels import cut
from c3tf.labels import IGNORE


def noise(height: int, width: int, channels: int = 3, seed: int = 0) -> np.ndarray:
    random = np.random.RandomState(seed)
    return random.randint(0, IGNORE, (height, width, channels)).astype(np.uint8)


def smooth(height: int, width: int) -> np.ndarray:
    small = Image.fromarray(noise(height // 8, width // 8))
    return np.asarray(small.resize((width, height), Image.BICUBIC))


def view(image, label, seed, options):
    return [part.numpy() for part in view_options.weak(image, label, seed, options)]


def reference(image, geometry, options):
    """Reads every pixel from the equation in double precision: image, nearest, valid."""
    height, width = options.crop_size
    top, left = geometry.window.numpy()[:2]
    rows, columns = image.shape[:2]
    matrix = geometry.matrix.numpy().astype(np.float64)
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    from_x, from_y = (row[0] * x + row[1] * y + row[2] for row in matrix)
    from_x, from_y = from_x + left, from_y + top
    valid = (from_x >= 0) & (from_x < columns) & (from_y >= 0) & (from_y < rows)
    x0, y0 = np.floor(from_x - 0.5).astype(int), np.floor(from_y - 0.5).astype(int)
    share_x, share_y = (from_x - 0.5 - x0)[..., None], (from_y - 0.5 - y0)[..., None]

    def at(row, column):
        return image[row.clip(0, rows - 1), column.clip(0, columns - 1)].astype(np.float64)

    upper = at(y0, x0) * (1 - share_x) + at(y0, x0 + 1) * share_x
    lower = at(y0 + 1, x0) * (1 - share_x) + at(y0 + 1, x0 + 1) * share_x
    mixed = upper * (1 - share_y) + lower * share_y
    nearest = at(np.floor(from_y).astype(int), np.floor(from_x).astype(int))
    return mixed * valid[..., None], nearest, valid[..., None]


@pytest.mark.parametrize("size", [(20, 30), (12, 40), (40, 9), (5, 6), (1, 1)])
def test_flip_and_crop_are_exact(size):
    options = view_options.geometry((12, 16), max_degrees=0)
    image = noise(*size)
    seen = set()
    for seed in range(20):
        ours, label, valid = view(image, image[..., :1], [seed, 0], options)
        geometry = draw_geometry([seed, 0], size, options)
        top, left, height, width = geometry.window.numpy()
        expected = image[top : top + height, left : left + width]
        expected = expected[:, ::-1] if geometry.flip else expected
        missing = ((0, 12 - height), (0, 16 - width), (0, 0))
        np.testing.assert_array_equal(ours, np.pad(expected, missing))
        np.testing.assert_array_equal(
            label, np.pad(expected[..., :1], missing, constant_values=IGNORE)
        )
        np.testing.assert_array_equal(valid, np.pad(np.ones((height, width, 1), bool), missing))
        assert height == min(12, size[0])
        assert width == min(16, size[1])
        seen.add((int(top), bool(geometry.flip)))
    assert len(seen) > (4 if size[0] > 13 else 1)


@pytest.mark.parametrize("seed", range(6))
def test_rotation_equals_pillow(seed):
    # The whole image is the crop, so the view is Pillow's rotation about the centre.
    image = smooth(96, 128)
    label = noise(96, 128, 1)
    options = view_options.geometry((96, 128), flip=False, max_degrees=10, integer_degrees=True)
    geometry = draw_geometry([seed, 1], (96, 128), options)
    degrees = round(math.degrees(math.atan2(geometry.matrix[1, 0], geometry.matrix[0, 0])))
    ours, nearest, valid = view(image, label, [seed, 1], options)
    theirs = np.asarray(Image.fromarray(image).rotate(degrees, Image.BILINEAR)).astype(int)
    inside = valid[..., 0] & ~(theirs == 0).all(axis=-1)
    assert inside.mean() > 0.85
    assert np.abs(ours.astype(int) - theirs)[inside].max() <= 1
    turned = Image.fromarray(label[..., 0]).rotate(degrees, Image.NEAREST, fillcolor=IGNORE)
    # Pillow rotates labels in 16 bit fixed point: a point on a pixel's edge may fall either way.
    assert np.mean(nearest[..., 0] != np.asarray(turned)) < 0.01


@hypothesis.settings(max_examples=40, deadline=None, derandomize=True)
@hypothesis.given(
    st.tuples(st.integers(1, 90), st.integers(1, 90)),
    st.integers(0, 10**6),
    st.sampled_from([(10.0, ()), (10.0, (0.75, 1.0, 1.25)), (0.0, (0.5, 2.0)), (90.0, (1.0,))]),
)
def test_views_equal_the_equation(size, seed, kind):
    degrees, scales = kind
    options = view_options.geometry((24, 40), max_degrees=degrees, scales=scales)
    image = noise(*size, seed=seed)
    geometry = draw_geometry([seed, 3], size, options)
    mixed, nearest, expected = reference(image, geometry, options)
    ours, label, valid = view(image, image[..., :1], [seed, 3], options)
    top, left, height, width = geometry.window.numpy()
    assert top >= 0
    assert left >= 0
    assert height >= 1
    assert width >= 1
    assert top + height <= size[0]
    assert left + width <= size[1]
    # Single precision may put a point on the other side of a border or of a pixel's edge.
    assert np.mean(valid != expected) < 0.005
    both = valid & expected
    assert np.all(np.abs(ours - mixed)[both[..., 0]] <= 0.6)
    assert np.mean((label != nearest[..., :1])[both]) < 0.01 if both.any() else True
    np.testing.assert_array_equal(label == IGNORE, ~valid)
    assert not ours[~valid[..., 0]].any()
    assert not (geometry.covered and not valid.all())


def test_scales_change_the_step_between_pixels():
    options = view_options.geometry((16, 16), flip=False, max_degrees=0, scales=(0.75, 1.0, 1.25))
    steps = {
        round(1 / float(draw_geometry([seed, 0], (60, 80), options).matrix[0, 0]), 3)
        for seed in range(30)
    }
    assert steps == {0.75, 1.0, 1.25}


def test_scale_of_one_copies_pixels():
    options = view_options.geometry((16, 20), max_degrees=0, scales=(1.0, 2.0))
    exact = view_options.geometry((16, 20), max_degrees=0, scales=(1.0,))
    image = noise(50, 60)
    compared = 0
    for seed in range(12):
        geometry = draw_geometry([seed, 0], (50, 60), options)
        if abs(float(geometry.matrix[1, 1])) == 1.0:
            ours = view(image, image[..., :1], [seed, 0], options)
            theirs = view(image, image[..., :1], [seed, 0], exact)
            for part, other in zip(ours, theirs, strict=True):
                np.testing.assert_array_equal(part, other)
            compared += 1
    assert compared


@pytest.mark.parametrize("degrees", [0, 10])
def test_image_and_label_stay_aligned(degrees):
    # Blocks of one colour that encodes the class: away from their borders both must agree.
    classes = np.kron(np.arange(48).reshape(6, 8), np.ones((16, 16))).astype(np.uint8)[..., None]
    image = np.concatenate([classes * 5, classes * 3 + 7, 200 - classes], axis=-1)
    options = view_options.geometry((64, 96), max_degrees=degrees)
    for seed in range(8):
        ours, label, valid = view(image, classes, [seed, 4], options)
        kept = valid[..., 0]
        seen = label[kept].astype(int)
        expected = np.concatenate([seen * 5, seen * 3 + 7, 200 - seen], axis=-1)
        agree = np.all(ours[kept] == expected, axis=-1)
        assert agree.mean() > (0.8 if degrees else 0.9999)
        assert set(np.unique(label)) <= {*range(48), IGNORE}


def test_constant_image_stays_constant_where_valid():
    image = np.full((30, 40, 3), 201, np.uint8)
    ours, _, valid = view(image, image[..., :1], [5, 5], view_options.geometry((64, 64)))
    assert 0 < valid.mean() < 1
    np.testing.assert_array_equal(ours, np.where(valid, image[:1, :1], np.uint8(0)))


def test_draws_are_uniform():
    options = view_options.geometry((40, 50), max_degrees=10)
    dataset = tf.data.Dataset.range(3000).map(
        lambda index: tuple(draw_geometry([index, 1], (60, 80), options))
    )
    matrix, _, flip, *_ = next(dataset.batch(3000).as_numpy_iterator())
    assert abs(flip.mean() - 0.5) < 0.05
    sign = np.where(flip, -1, 1)
    angles = np.degrees(np.arctan2(matrix[:, 1, 0] * sign, matrix[:, 0, 0] * sign))
    assert np.abs(angles).max() <= 10.001
    np.testing.assert_allclose(np.quantile(angles, (0.25, 0.5, 0.75)), (-5, 0, 5), atol=0.6)
    np.testing.assert_array_equal(np.sign(matrix[:, 0, 0]), sign)


def test_integer_degrees_are_whole_and_reach_both_ends():
    options = view_options.geometry((8, 8), flip=False, max_degrees=3, integer_degrees=True)
    dataset = tf.data.Dataset.range(200).map(
        lambda index: draw_geometry([index, 1], (60, 80), options).matrix
    )
    matrix = next(dataset.batch(200).as_numpy_iterator())
    angles = np.degrees(np.arctan2(matrix[:, 1, 0], matrix[:, 0, 0]))
    np.testing.assert_allclose(angles, np.round(angles), atol=1e-4)
    assert set(np.round(angles)) == set(range(-3, 4))


def test_crop_positions_reach_both_ends():
    options = view_options.geometry((4, 6), flip=False, max_degrees=0)
    windows = np.array(
        [draw_geometry([seed, 2], (7, 8), options).window.numpy() for seed in range(80)]
    )
    assert set(windows[:, 0]) == {0, 1, 2, 3}
    assert set(windows[:, 1]) == {0, 1, 2}


@pytest.mark.parametrize("degrees", [0, 10])
def test_window_alone_gives_the_same_view(degrees):
    options = view_options.geometry((24, 32), max_degrees=degrees, scales=(0.75, 1.25))
    image = noise(90, 120)
    for seed in range(6):
        geometry = draw_geometry([seed, 9], (90, 120), options)
        _, _, height, width = geometry.window.numpy()
        assert height <= options.window_limit[0]
        assert width <= options.window_limit[1]
        window = cut(image, geometry.window)
        ours, label, valid = view(image, image[..., :1], [seed, 9], options)
        np.testing.assert_array_equal(warp_image(window, geometry, options), ours)
        np.testing.assert_array_equal(warp_label(window[..., :1], geometry, options), label)
        np.testing.assert_array_equal(valid_mask(geometry, options), valid)


def test_refuses_the_wrong_window():
    options = view_options.geometry((24, 32))
    geometry = draw_geometry([0, 0], (90, 120), options)
    with pytest.raises(tf.errors.InvalidArgumentError, match="size of the geometry's window"):
        warp_image(noise(90, 120), geometry, options)
    with pytest.raises(ValueError, match="`window` must be uint8"):
        warp_image(noise(90, 120).astype(np.float32), geometry, options)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ({"crop_size": (0, 4)}, "crop_size"),
        ({"crop_size": (4,)}, "crop_size"),
        ({"crop_size": (4, 4.5)}, "crop_size"),
        ({"crop_size": (4, 4), "max_degrees": -1}, "max_degrees"),
        ({"crop_size": (4, 4), "max_degrees": 2.5, "integer_degrees": True}, "max_degrees"),
        ({"crop_size": (4, 4), "scales": (1.0, 0.0)}, "scales"),
        ({"crop_size": (4, 4), "scales": (float("inf"),)}, "scales"),
    ],
)
def test_refuses_bad_options(arguments, name):
    with pytest.raises(ValueError, match=f"`{name}` must be .* Received: {name}="):
        view_options.geometry(**arguments)


LAST = {"max_degrees": 10, "integer_degrees": True, "rotation_order": "last"}


@pytest.mark.parametrize("seed", range(6))
def test_rotation_of_the_crop_equals_pillow(seed):
    # The order of the authors' labeled images: flip, crop, then Pillow's rotation of the crop.
    image, label = smooth(90, 120), noise(90, 120, 1)
    options = view_options.geometry((48, 64), **LAST)
    geometry = draw_geometry([seed, 1], (90, 120), options)
    ours, nearest, valid = view(image, label, [seed, 1], options)
    top, left, height, width = geometry.window.numpy()
    parts = [part[top : top + height, left : left + width] for part in (image, label[..., 0])]
    sign = -1 if geometry.flip else 1
    parts = [Image.fromarray(np.ascontiguousarray(part[:, ::sign])) for part in parts]
    matrix = geometry.matrix.numpy()
    degrees = round(math.degrees(math.atan2(matrix[1, 0], matrix[1, 1])))
    theirs = np.asarray(parts[0].rotate(degrees, Image.BILINEAR)).astype(int)
    assert (height, width) == (48, 64)
    inside = valid[..., 0] & ~(theirs == 0).all(axis=-1)
    assert (valid.mean() < 1) == (degrees != 0)
    assert inside.mean() > 0.75
    assert np.abs(ours.astype(int) - theirs)[inside].max() <= 1
    turned = parts[1].rotate(degrees, Image.NEAREST, fillcolor=IGNORE)
    assert np.mean(nearest[..., 0] != np.asarray(turned)) < 0.01
    assert not ours[~valid[..., 0]].any()


@pytest.mark.parametrize("size", [(90, 120), (20, 30), (90, 30)])
def test_rotation_of_the_crop_at_any_scale_shows_the_crop_alone(size):
    options = view_options.geometry((24, 32), scales=(0.75, 1.25), **LAST)
    image = np.full((*size, 3), 201, np.uint8)
    for seed in range(8):
        geometry = draw_geometry([seed, 4], size, options)
        ours, label, valid = view(image, image[..., :1], [seed, 4], options)
        np.testing.assert_array_equal(ours, np.where(valid, image[:1, :1], np.uint8(0)))
        np.testing.assert_array_equal(label == IGNORE, ~valid)
        if size == (90, 120):
            # Of a turned rectangle this much stays inside itself.
            tangent = abs(float(geometry.matrix[1, 0] / geometry.matrix[1, 1]))
            lost = tangent * (24**2 + 32**2) / 4 / (24 * 32)
            assert valid.mean() == pytest.approx(1 - lost, abs=0.05)


def test_rotation_order_is_one_of_two():
    with pytest.raises(ValueError, match="`rotation_order` must be one of"):
        view_options.geometry((4, 4), rotation_order="never")
