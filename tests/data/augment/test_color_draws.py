"""What colour jitter and RandAugment draw: ranges, probabilities, order and levels."""

import numpy as np
import pytest
import tensorflow as tf

import view_options
from c3tf.data.augment.color_jitter import draw_color_jitter
from c3tf.data.augment.color_ops import ColorOp
from c3tf.data.augment.rand_augment import (
    OPS,
    draw_rand_augment,
    level_to_value,
)

pytestmark = pytest.mark.smoke

DRAWS = 4000
JITTER = (ColorOp.BRIGHTNESS, ColorOp.CONTRAST, ColorOp.SATURATION, ColorOp.HUE)
ALWAYS = {f"{name}_probability": 1.0 for name in ("brightness", "contrast", "saturation", "hue")}


def draws(draw, options) -> tuple[np.ndarray, np.ndarray]:
    dataset = tf.data.Dataset.range(DRAWS).map(lambda index: tuple(draw([index, 5], options)))
    ops, values = next(dataset.batch(DRAWS).as_numpy_iterator())
    return ops, values


def test_jitter_applies_each_operation_with_its_probability():
    ops, _ = draws(draw_color_jitter, view_options.color_jitter())
    for op, probability in zip(JITTER, (0.5, 0.5, 0.5, 0.25), strict=True):
        share = np.mean(np.any(ops == op, axis=1))
        # Five standard deviations of the share.
        assert abs(share - probability) < 5 * np.sqrt(probability * (1 - probability) / DRAWS)


def test_jitter_values_are_uniform_in_their_range():
    ops, values = draws(draw_color_jitter, view_options.color_jitter(**ALWAYS))
    for op, low, high in zip(JITTER, (0.5, 0.5, 0.5, -0.25), (1.5, 1.5, 1.5, 0.25), strict=True):
        drawn = values[ops == op]
        assert len(drawn) == DRAWS
        assert low <= drawn.min() < low + 0.01
        assert high - 0.01 < drawn.max() <= high
        quartiles = np.quantile((drawn - low) / (high - low), (0.25, 0.5, 0.75))
        np.testing.assert_allclose(quartiles, (0.25, 0.5, 0.75), atol=0.04)


def test_jitter_draws_every_order_equally_often():
    ops, _ = draws(draw_color_jitter, view_options.color_jitter(**ALWAYS))
    orders, counts = np.unique(ops, axis=0, return_counts=True)
    assert len(orders) == 24
    assert abs(counts - DRAWS / 24).max() < 5 * np.sqrt(DRAWS / 24)


def test_rand_augment_draws_with_replacement():
    ops, _ = draws(draw_rand_augment, view_options.rand_augment(op_probability=1.0))
    assert ops.shape == (DRAWS, 2)
    values, counts = np.unique(ops, return_counts=True)
    assert set(values) == set(OPS)
    assert len(OPS) == 10
    assert abs(counts - 2 * DRAWS / 10).max() < 5 * np.sqrt(2 * DRAWS / 10)
    assert abs(np.mean(ops[:, 0] == ops[:, 1]) - 0.1) < 0.03


def test_rand_augment_applies_half_of_its_operations():
    ops, _ = draws(draw_rand_augment, view_options.rand_augment())
    applied = ops != ColorOp.IDENTITY
    assert abs(applied.mean() - 0.5) < 0.03
    assert abs(applied.all(axis=1).mean() - 0.25) < 0.04


def test_rand_augment_levels_are_a_clipped_normal():
    ops, values = draws(draw_rand_augment, view_options.rand_augment(op_probability=1.0))
    factors = values[np.isin(ops, (ColorOp.SATURATION, ColorOp.SHARPNESS))]
    levels = (factors - 0.1) / 0.18
    assert abs(np.mean(levels > 9.9999) - 0.5) < 0.06
    # Below the mean it is a half normal: the mean of the distance is std * sqrt(2 / pi).
    below = 10 - levels[levels < 9.9999]
    assert abs(below.mean() - 0.5 * np.sqrt(2 / np.pi)) < 0.03
    assert set(values[ops == ColorOp.POSTERIZE]) == {3.0, 4.0}


def test_levels_as_the_authors_read_them():
    table = {
        ColorOp.SATURATION: (0.1, 1.0, 1.792, 1.9),
        ColorOp.POSTERIZE: (0, 2, 3, 4),
        ColorOp.SOLARIZE: (0, 128, 240, 256),
        ColorOp.SOLARIZE_ADD: (0, 55, 103, 110),
        ColorOp.INVERT: (0, 0, 0, 0),
    }
    for op, expected in table.items():
        values = level_to_value(tf.fill([4], int(op)), tf.constant([0.0, 5.0, 9.4, 10.0]))
        np.testing.assert_allclose(values, expected, rtol=1e-6)


def test_no_operations():
    program = draw_rand_augment([1, 2], view_options.rand_augment(num_ops=0))
    assert program.ops.shape == (0,)
    assert program.values.shape == (0,)


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
def test_draws_depend_on_the_seed_alone(dtype):
    for draw, options in (
        (draw_color_jitter, view_options.color_jitter()),
        (draw_rand_augment, view_options.rand_augment()),
    ):
        first, again, other = (
            draw(tf.constant(seed, dtype), options) for seed in ([7, 1], [7, 1], [7, 2])
        )
        np.testing.assert_array_equal(first.values, again.values)
        np.testing.assert_array_equal(first.ops, again.ops)
        assert np.any(first.values != other.values)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        (lambda: view_options.color_jitter(brightness=1.2), "brightness"),
        (lambda: view_options.color_jitter(hue=0.6), "hue"),
        (lambda: view_options.color_jitter(hue_probability=-0.1), "hue_probability"),
        (lambda: view_options.color_jitter(contrast=float("nan")), "contrast"),
        (lambda: view_options.rand_augment(num_ops=-1), "num_ops"),
        (lambda: view_options.rand_augment(num_ops=1.5), "num_ops"),
        (lambda: view_options.rand_augment(magnitude=11), "magnitude"),
        (lambda: view_options.rand_augment(magnitude_std=-0.5), "magnitude_std"),
        (lambda: view_options.rand_augment(op_probability=2), "op_probability"),
    ],
)
def test_refuses_bad_options(options, name):
    with pytest.raises(ValueError, match=f"`{name}` must.* Received: {name}="):
        options()
