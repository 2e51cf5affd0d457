"""Mixing of unlabeled images with each other, by hand-computed cases."""

import numpy as np
import pytest
import tensorflow as tf

from c3tf.method import mixing

pytestmark = pytest.mark.smoke


def test_the_next_image_is_of_the_same_group():
    maps = tf.reshape(tf.range(6 * 2), [6, 2, 1])
    for group, order in ((2, [1, 0, 3, 2, 5, 4]), (3, [1, 2, 0, 4, 5, 3]), (6, [1, 2, 3, 4, 5, 0])):
        np.testing.assert_array_equal(
            mixing.next_of_group(maps, group), maps.numpy()[order], err_msg=str(group)
        )


@pytest.mark.parametrize("channels", [(), (3,)])
def test_paste_takes_the_inside_where_the_mask_is(channels):
    rng = np.random.default_rng(0)
    mask = rng.random((2, 3, 4)) < 0.5
    inside, outside = rng.integers(0, 9, (2, 2, 3, 4, *channels))
    found = mixing.paste(tf.constant(mask), tf.constant(inside), tf.constant(outside))
    wide = mask.reshape(*mask.shape, *[1] * len(channels))
    np.testing.assert_array_equal(found, wide * inside + (1 - wide) * outside)


def test_rectangles_are_their_pixels():
    boxes = [[0, 0, 2, 3], [1, 2, 2, 1], [3, 4, 0, 0], [0, 0, 4, 5]]
    masks = mixing.rectangles(tf.constant(boxes), 4, 5).numpy()
    for mask, (top, left, height, width) in zip(masks, boxes, strict=True):
        expected = np.zeros((4, 5), bool)
        expected[top : top + height, left : left + width] = True
        np.testing.assert_array_equal(mask, expected)


def test_half_of_the_classes_that_are_there():
    predicted = np.array([[[0, 1, 1], [3, 4, 3]], [[2, 2, 2], [2, 2, 2]], [[0, 1, 2], [0, 1, 2]]])
    valid = np.ones(predicted.shape, bool)
    # Class 4 is not of the first image: only padding shows it.
    valid[0, 1, 1] = False
    uniform = np.array([[0.3, 0.9, 0.0, 0.5, 0.1], [0.5] * 5, [0.9, 0.2, 0.8, 0.1, 0.0]])
    found = mixing.half_of_classes(*map(tf.constant, (predicted.astype(np.int32), valid, uniform)))
    # Of 0, 1 and 3 one; of one class none; of three classes one.
    np.testing.assert_array_equal(found, [predicted[0] == 0, predicted[1] < 0, predicted[2] == 1])


def test_the_classes_are_chosen_equally_often_and_from_the_seed():
    predicted = tf.tile(tf.reshape(tf.range(5), [1, 1, 5]), [400, 1, 1])
    uniform = tf.random.stateless_uniform([400, 5], [1, 2])
    found = mixing.half_of_classes(predicted, predicted >= 0, uniform)[:, 0].numpy()
    assert (found.sum(axis=1) == 2).all()
    assert np.abs(found.mean(axis=0) - 0.4).max() < 0.08


AREAS, ASPECTS = (0.02, 0.4), (0.3, 1 / 0.3)


def test_boxes_lie_inside_and_have_the_drawn_areas_and_aspects():
    uniform = tf.random.stateless_uniform([500, 64, 4], [3, 4])
    boxes = mixing.boxes_of_area(uniform, 256, 512, areas=AREAS, aspects=ASPECTS).numpy()
    top, left, height, width = boxes.T
    assert (boxes >= 0).all()
    assert ((top + height <= 256) & (left + width <= 512)).all()
    share = height * width / (256 * 512)
    # Sides are cut to whole pixels.
    assert share.min() > 0.019
    assert share.max() <= 0.4
    assert share.max() > 0.3
    aspect = height / width
    assert aspect.min() > 0.28
    assert aspect.max() < 3.5
    assert len(np.unique(top)) > 50


def test_the_first_trial_that_lies_inside_is_taken():
    # Area 0.21, aspect 1: 45 x 45 of 100 x 98 pixels.
    square = [0.5, 0.7 / (1 / 0.3 - 0.3)]
    trials = tf.constant([[[*square, 0.9, 0.1], [*square, 0.3, 0.2], [*square, 0.0, 0.0]]])
    box = mixing.boxes_of_area(trials, 100, 98, areas=AREAS, aspects=ASPECTS)
    np.testing.assert_array_equal(box, [[30, 19, 45, 45]])
    none = mixing.boxes_of_area(trials[:, :1], 100, 98, areas=AREAS, aspects=ASPECTS)
    np.testing.assert_array_equal(none, [[0, 0, 0, 0]])
