"""Weak and strong views: one geometry, static shapes, repeatable in parallel."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import view_options
from c3tf.config import AugmentConfig
from c3tf.data.augment.color_jitter import ColorJitterOptions
from c3tf.data.augment.geometry import GeometryOptions
from c3tf.data.augment.views import StrongOptions, strong_view

CROP = (32, 48)
IMAGE = np.random.RandomState(1).randint(0, 250, (60, 90, 3)).astype(np.uint8)


def both_views(index: tf.Tensor) -> tuple[tf.Tensor, ...]:
    # The image's shape is unknown to the graph, as after decoding.
    image = tf.io.decode_png(tf.io.encode_png(IMAGE), channels=3)
    seed = tf.stack([index, 11])
    weak, label, valid = view_options.weak(image, image[..., :1], seed, view_options.geometry(CROP))
    strong = strong_view(
        weak, tf.random.experimental.stateless_fold_in(seed, 1), view_options.strong()
    )
    return weak, label, valid, strong


def test_parallel_calls_equal_sequential_and_eager_ones():
    indices = tf.data.Dataset.range(24)
    sequential = indices.map(both_views)
    parallel = indices.map(both_views, num_parallel_calls=tf.data.AUTOTUNE)
    shapes = [spec.shape for spec in parallel.element_spec]
    assert shapes == [(*CROP, 3), (*CROP, 1), (*CROP, 1), (*CROP, 3)]
    dtypes = [spec.dtype for spec in parallel.element_spec]
    assert dtypes == [tf.uint8, tf.uint8, tf.bool, tf.uint8]
    changed = 0
    for index, (one, other) in enumerate(zip(sequential, parallel, strict=True)):
        for part, same in zip(one, other, strict=True):
            np.testing.assert_array_equal(part, same)
        if index % 8 == 0:
            eager = both_views(tf.constant(index, tf.int64))
            for part, same in zip(one, eager, strict=True):
                np.testing.assert_array_equal(part, same)
        changed += np.any(one[0] != one[3])
    assert changed > 12


def test_iterator_with_views_resumes_exactly(tmp_path):
    # Operations with hidden state make saving the iterator fail.
    iterator = iter(tf.data.Dataset.range(6).map(both_views))
    for _ in range(3):
        next(iterator)
    checkpoint = tf.train.Checkpoint(iterator=iterator)
    path = checkpoint.write(str(tmp_path / "iterator"))
    expected = next(iterator)
    checkpoint.read(path)
    for part, same in zip(expected, next(iterator), strict=True):
        np.testing.assert_array_equal(part, same)


def test_weak_view_without_label():
    with_label = view_options.weak(IMAGE, IMAGE[..., :1], [3, 4], view_options.geometry(CROP))
    without = view_options.weak(IMAGE, None, [3, 4], view_options.geometry(CROP))
    assert without[1] is None
    np.testing.assert_array_equal(without[0], with_label[0])
    np.testing.assert_array_equal(without[2], with_label[2])


def test_strong_view_moves_no_pixel():
    # Table operations keep equal bytes equal per channel; none of them moves a pixel.
    image = np.repeat(np.repeat(IMAGE[:4, :6], 8, axis=0), 8, axis=1)
    blocks = StrongOptions(
        view_options.color_jitter(), view_options.rand_augment(num_ops=2, magnitude_std=0.0)
    )
    for seed in range(10):
        strong = strong_view(image, [seed, 0], blocks).numpy().reshape(4, 8, 6, 8, 3)
        inner = strong[:, 2:-2, :, 2:-2]
        np.testing.assert_array_equal(inner, np.broadcast_to(inner[:, :1, :, :1], inner.shape))


@pytest.mark.parametrize(
    "options",
    [
        StrongOptions(jitter=None, rand_augment=None),
        StrongOptions(
            ColorJitterOptions(0, 0, 0, 0, 1, 1, 1, 0), view_options.rand_augment(num_ops=0)
        ),
    ],
)
def test_strong_view_that_changes_nothing(options):
    np.testing.assert_array_equal(strong_view(IMAGE, [1, 1], options), IMAGE)


def test_strong_view_of_one_pixel():
    image = np.array([[[3, 200, 90]]], np.uint8)
    assert strong_view(image, [0, 0], view_options.strong()).shape == (1, 1, 3)


def test_seeds_of_both_widths_agree():
    views = [
        strong_view(IMAGE, tf.constant([5, 6], dtype), view_options.strong())
        for dtype in (tf.int32, tf.int64)
    ]
    np.testing.assert_array_equal(*views)


def test_the_options_of_a_configuration_are_its_own():
    augment = AugmentConfig(scales=(0.5,), scale_unlabeled=False, randaugment_std=0.25)
    labeled, unlabeled = (GeometryOptions.of(augment, labeled=kind) for kind in (True, False))
    assert (labeled.rotation_order, unlabeled.rotation_order) == ("last", "first")
    assert (labeled.scales, unlabeled.scales) == ((0.5,), ())
    assert labeled.crop_size == (augment.crop_height, augment.crop_width)
    assert labeled.integer_degrees
    first = dataclasses.replace(augment, rotation_order="first", scale_unlabeled=True)
    assert GeometryOptions.of(first, labeled=True) == GeometryOptions.of(first, labeled=False)
    colors = StrongOptions.of(augment)
    assert colors.jitter.hue_probability == 0.25
    assert colors.rand_augment.magnitude_std == 0.25
    assert StrongOptions.of(dataclasses.replace(augment, randaugment=False)).rand_augment is None
