"""CutMix (Eq. 4) against the equation, the authors' boxes and cases done by hand."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

import references
from c3tf.method import cutmix
from c3tf.method.kernels.grid import FeatureGrid

pytestmark = pytest.mark.smoke

HEIGHT, WIDTH = 16, 24


def random_plan(seed=0, groups=2, size=2, mixing="cross_set", height=HEIGHT, width=WIDTH):
    rng = np.random.default_rng(seed)
    order = cutmix.draw_order(tf.constant(rng.random((groups, 2 * size))), mixing)
    boxes = cutmix.boxes_from_uniform(tf.constant(rng.random((groups, size, 3))), height, width)
    return cutmix.MixPlan(order, boxes)


def random_images(seed=0, number=4, height=HEIGHT, width=WIDTH, channels=3):
    rng = np.random.default_rng(seed)
    shape = (2, number, height, width, channels)
    return tuple(rng.integers(0, 256, shape).astype(np.uint8))


def test_authors_boxes(authors):
    state, drawn = np.random.RandomState(int(authors["e_seed"])), 50
    # Their generator drew fifty boxes, of which ten are kept: the share of the area of all (always
    # a half), then the aspect of all, then the positions of all.
    state.uniform(size=drawn)
    uniform = np.concatenate(
        [state.uniform(size=(drawn, 1)), state.uniform(size=(drawn, 2))], axis=1
    )[:10]
    boxes = cutmix.boxes_from_uniform(tf.constant(uniform), 256, 512)
    np.testing.assert_array_equal(boxes, authors["e_box_y0_x0_h_w"])
    # One labeled and one unlabeled image per box: inside, the labeled one shows the other.
    plan = cutmix.MixPlan(tf.constant([[0, 1]] * len(boxes)), boxes[:, None])
    inside = cutmix.sources(plan, 256, 512)[::2] >= len(boxes) * 256 * 512
    outside = np.unpackbits(authors["e_masks_packed"], axis=-1).astype(bool)
    np.testing.assert_array_equal(inside, ~outside)
    np.testing.assert_allclose(
        tf.reduce_mean(tf.cast(inside, tf.float64), axis=(1, 2)), authors["e_box_area_fraction"]
    )


@settings(deadline=None, max_examples=100)
@given(
    uniform=st.tuples(*[st.floats(0, 1, exclude_max=True)] * 3),
    height=st.integers(2, 600),
    width=st.integers(2, 600),
)
def test_boxes_cover_half_the_image_and_lie_inside(uniform, height, width):
    top, left, box_height, box_width = cutmix.boxes_from_uniform(
        tf.constant(uniform, tf.float64), height, width
    ).numpy()
    assert 0 <= top <= top + box_height <= height
    assert 0 <= left <= left + box_width <= width
    assert box_height >= 1
    assert box_width >= 1
    # Each side is rounded by up to half a pixel.
    rounding = 0.5 * (box_height + box_width) + 0.25
    assert abs(box_height * box_width - 0.5 * height * width) <= rounding


def test_box_sides_at_the_ends_of_the_draw():
    uniform = tf.constant([[0.0, 0, 0], [1.0, 0, 0], [0.5, 0.0, 0.0], [0.5, 1.0, 1.0]], tf.float64)
    boxes = cutmix.boxes_from_uniform(uniform, 100, 200).numpy().tolist()
    assert boxes == [[0, 0, 100, 100], [0, 0, 50, 200], [0, 0, 71, 141], [29, 59, 71, 141]]


def test_boxes_do_not_depend_on_the_precision_of_the_draw():
    uniform = np.random.default_rng(0).random((200, 3)).astype(np.float32)
    np.testing.assert_array_equal(
        cutmix.boxes_from_uniform(tf.constant(uniform), 256, 512),
        cutmix.boxes_from_uniform(tf.constant(uniform, tf.float64), 256, 512),
    )


@pytest.mark.parametrize("mixing", ["cross_set", "intra_set"])
@pytest.mark.parametrize("size", [2, 4])
def test_mix_is_eq_4(mixing, size):
    plan = random_plan(groups=2, size=size, mixing=mixing)
    labeled, unlabeled = random_images(number=2 * size)
    mixed = cutmix.mix(tf.constant(labeled), tf.constant(unlabeled), plan)
    assert mixed.dtype == tf.uint8
    expected = references.mix_groups(labeled, unlabeled, plan.order.numpy(), plan.boxes.numpy())
    np.testing.assert_array_equal(mixed, expected)


def test_a_pair_by_hand():
    labeled, unlabeled = tf.zeros([1, 2, 3, 1], tf.int32), tf.ones([1, 2, 3, 1], tf.int32)
    plan = cutmix.MixPlan(tf.constant([[0, 1]]), tf.constant([[[0, 1, 1, 2]]]))
    mixed = cutmix.mix(labeled, unlabeled, plan)[..., 0].numpy().tolist()
    assert mixed == [[[0, 1, 1], [0, 0, 0]], [[1, 0, 0], [1, 1, 1]]]
    swapped = plan._replace(order=tf.constant([[1, 0]]))
    mixed = cutmix.mix(labeled, unlabeled, swapped)[..., 0].numpy().tolist()
    assert mixed == [[[1, 0, 0], [1, 1, 1]], [[0, 1, 1], [0, 0, 0]]]


def test_pairs_are_complementary():
    """Every pixel of every image is in exactly one mixed image, at its own place."""
    plan = random_plan(size=2)
    number = np.arange(4, dtype=np.float32)[:, None, None, None]
    labeled, unlabeled = (
        np.broadcast_to(first + number, (4, HEIGHT, WIDTH, 1)) for first in (0, 4)
    )
    mixed = cutmix.mix(tf.constant(labeled), tf.constant(unlabeled), plan).numpy()[..., 0]
    np.testing.assert_array_equal(
        np.sort(mixed, axis=0), np.broadcast_to(np.arange(8)[:, None, None], mixed.shape)
    )
    for group in range(2):
        own = mixed[4 * group : 4 * group + 4]
        for i in range(2):
            assert set(np.unique(own[i])) == set(np.unique(own[i + 2]))
            assert len(np.unique(own[i])) == 2


@pytest.mark.parametrize("mixing", ["cross_set", "intra_set"])
@pytest.mark.parametrize("dtype", [tf.uint8, tf.float32, tf.int32])
def test_unmix_undoes_mix(mixing, dtype):
    plan = random_plan(groups=1, size=4, mixing=mixing)
    images = [tf.cast(part, dtype) for part in random_images()]
    for back, part in zip(cutmix.unmix(cutmix.mix(*images, plan), plan), images, strict=True):
        assert back.dtype == dtype
        np.testing.assert_array_equal(back, part)


@pytest.mark.parametrize(("height", "width"), [(HEIGHT, WIDTH), (8, 40)])
@pytest.mark.parametrize("stride", [1, 4, 8])
def test_unmix_on_the_feature_grid_follows_the_full_size_masks(stride, height, width):
    plan = random_plan(height=height, width=width)
    labeled, unlabeled = random_images(height=height, width=width)
    mixed = cutmix.mix(tf.constant(labeled), tf.constant(unlabeled), plan)
    grid = FeatureGrid.between((height // stride, width // stride), (height, width))
    parts = cutmix.unmix(grid.take(mixed), plan._replace(boxes=grid.boxes(plan.boxes)))
    for part, image in zip(parts, (labeled, unlabeled), strict=True):
        np.testing.assert_array_equal(part, image[:, stride // 2 :: stride, stride // 2 :: stride])


def test_unmix_takes_apart_what_was_never_mixed_like_the_reference():
    """Predictions are new values: each goes to the image that its pixel came from."""
    plan = random_plan(size=2)
    predictions = np.random.default_rng(5).normal(size=(8, HEIGHT, WIDTH, 2))
    source = references.sources(plan.order.numpy(), plan.boxes.numpy(), HEIGHT, WIDTH)
    expected = references.take_apart(predictions, source)
    parts = cutmix.unmix(tf.constant(predictions), plan)
    np.testing.assert_array_equal(np.concatenate(parts), expected)


def test_gradient_of_unmix_is_a_permutation():
    plan = random_plan()
    predictions = tf.random.stateless_normal([8, HEIGHT, WIDTH, 1], seed=(0, 1))
    with tf.GradientTape() as tape:
        tape.watch(predictions)
        total = tf.add_n([tf.reduce_sum(part) for part in cutmix.unmix(predictions, plan)])
    np.testing.assert_array_equal(tape.gradient(total, predictions), np.ones(predictions.shape))


def test_without_a_plan_nothing_is_mixed():
    labeled, unlabeled = random_images()
    mixed = cutmix.mix(tf.constant(labeled), tf.constant(unlabeled), None)
    np.testing.assert_array_equal(mixed, np.concatenate([labeled, unlabeled]))
    back = cutmix.unmix(mixed, None)
    np.testing.assert_array_equal(back[0], labeled)
    np.testing.assert_array_equal(back[1], unlabeled)


@pytest.mark.parametrize("mixing", ["cross_set", "intra_set"])
def test_origins_name_the_image_outside_and_the_one_inside_each_rectangle(mixing):
    plan = random_plan(groups=3, size=2, mixing=mixing)
    images = np.broadcast_to(np.arange(12, dtype=np.int32)[:, None, None, None], (12, 16, 24, 1))
    mixed = cutmix.mix(tf.constant(images[:6]), tf.constant(images[6:]), plan).numpy()[..., 0]
    boxes = tf.reshape(tf.concat([plan.boxes, plan.boxes], axis=1), [-1, 4]).numpy()
    outside, inside = cutmix.origins(plan)
    for got, box, around, within in zip(mixed, boxes, outside, inside, strict=True):
        top, left, height, width = box
        expected = np.full((16, 24), around)
        expected[top : top + height, left : left + width] = within
        np.testing.assert_array_equal(got, expected)
    assert sorted(outside.numpy()) == sorted(inside.numpy()) == list(range(12))


@pytest.mark.parametrize("size", [2, 4])
def test_intra_set_never_mixes_the_sets(size):
    for seed in range(20):
        order = random_plan(seed, groups=3, size=size, mixing="intra_set").order.numpy()
        np.testing.assert_array_equal(np.sort(order, axis=1), np.tile(np.arange(2 * size), (3, 1)))
        first, second = order[:, :size], order[:, size:]
        np.testing.assert_array_equal(first < size, second < size)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_cross_set_draws_all_permutations(size):
    orders = {
        tuple(row)
        for seed in range(40)
        for row in random_plan(seed, groups=8, size=size).order.numpy().tolist()
    }
    assert all(sorted(row) == list(range(2 * size)) for row in orders)
    crossed = [
        sum((a < size) != (b < size) for a, b in zip(row, row[size:], strict=False))
        for row in orders
    ]
    assert len(orders) == {1: 2, 2: 24}.get(size, len(orders))
    # Pairs across the sets and pairs within a set both come up.
    assert max(crossed) == size
    if size > 1:
        assert min(crossed) == 0


def test_groups_do_not_mix_with_each_other():
    plan = random_plan(groups=2, size=2)
    labeled, unlabeled = random_images()
    whole = cutmix.mix(tf.constant(labeled), tf.constant(unlabeled), plan)
    for group in range(2):
        own = slice(2 * group, 2 * group + 2)
        alone = cutmix.mix(
            tf.constant(labeled[own]),
            tf.constant(unlabeled[own]),
            cutmix.MixPlan(plan.order[group : group + 1], plan.boxes[group : group + 1]),
        )
        np.testing.assert_array_equal(alone, whole[4 * group : 4 * group + 4])


def test_unknown_mixing_is_named():
    with pytest.raises(ValueError, match=r"`mixing` must be .* mixing='all'"):
        cutmix.draw_order(tf.zeros([1, 4]), "all")
