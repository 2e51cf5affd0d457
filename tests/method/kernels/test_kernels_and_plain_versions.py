"""What trains against the executable paper (`plain`), gradients included."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from c3tf.labels import IGNORE
from c3tf.method import confidence, cutmix, losses, plain, schedules
from c3tf.method.contrast import ContrastInputs, contrastive, pixel_contrast, unit_norm
from c3tf.method.kernels.grid import FeatureGrid
from c3tf.method.kernels.resize import bilinear
from c3tf.method.sampling import sample_pixels
from gradients import with_gradient

TOLERANCE = {"float64": 1e-9, "float32": 1e-5}
TEMPERATURE = 0.15


def assert_close(ours, plain, dtype, scale=1.0):
    for one, other in zip(ours, plain, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=TOLERANCE[dtype] * scale)


def pairs(dtype, anchors=40, keys=50, channels=6, num_classes=4):
    rng = np.random.default_rng(0)
    return (
        tf.constant(rng.normal(size=(anchors, channels)), dtype),
        tf.constant(rng.integers(0, num_classes, anchors), tf.int32),
        tf.constant(rng.normal(size=(keys, channels)), dtype),
        tf.constant(rng.integers(0, num_classes, keys), tf.int32),
        tf.constant(rng.permutation(60)[:anchors]),
        tf.constant(rng.permutation(60)[:keys]),
    )


def plain_contrastive(
    anchors, anchor_classes, keys, key_classes, *, temperature, anchor_ids=None, key_ids=None
):
    """`plain.contrast_of_anchors`, the sets of pairs made from classes and identities."""
    P = anchor_classes[:, None] == key_classes[None, :]  # noqa: N806
    other = True if anchor_ids is None else anchor_ids[:, None] != key_ids[None, :]
    return plain.contrast_of_anchors(anchors, keys, P & other, ~P, temperature)


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("block_pairs", [1, 150, 2**20])
@pytest.mark.parametrize("exclude_self", [False, True])
@pytest.mark.parametrize("temperature", [0.01, 0.15])
def test_contrast_in_blocks(dtype, block_pairs, exclude_self, temperature):
    anchors, anchor_classes, keys, key_classes, anchor_ids, key_ids = pairs(dtype)
    ids = {"anchor_ids": anchor_ids, "key_ids": key_ids} if exclude_self else {}
    weight = tf.constant(np.random.default_rng(1).random(40), dtype)

    def loss(function, **options):
        def weighted(x):
            each = function(
                x, anchor_classes, keys, key_classes, temperature=temperature, **ids, **options
            )
            return tf.reduce_mean(weight * each)

        return with_gradient(weighted, anchors)

    # Similarities go up to 1 / temperature, and rounding with them.
    assert_close(
        loss(contrastive, block_pairs=block_pairs), loss(plain_contrastive), dtype,
        scale=max(1.0, 0.15 / temperature),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("anchor_classes", "key_classes"),
    [
        ([1, 1, 1], [1, 1]),
        ([0], [0]),
        ([2], [0, 1, 1]),
        ([3, 0, 3, 1], [0, 0, 3, 2]),
        ([5, 5, 0], [7, 5]),
    ],
    ids=["one class", "one pixel", "no positive", "a class without anchors", "classes far apart"],
)
def test_contrast_in_edge_cases(anchor_classes, key_classes):
    rng = np.random.default_rng(0)
    anchors = tf.constant(rng.normal(size=(len(anchor_classes), 3)))
    keys = tf.constant(rng.normal(size=(len(key_classes), 3)))
    classes = tf.constant(anchor_classes), tf.constant(key_classes)

    def loss(function):
        return with_gradient(
            lambda x: tf.reduce_sum(function(x, classes[0], keys, classes[1], temperature=0.15)),
            anchors,
        )

    assert_close(loss(contrastive), loss(plain_contrastive), "float64")


def test_no_anchors_and_no_keys():
    nothing = tf.zeros([0, 3]), tf.zeros([0], tf.int32)
    loss, gradient = with_gradient(
        lambda x: tf.reduce_sum(contrastive(x, nothing[1], *nothing, temperature=0.15)), nothing[0]
    )
    assert float(loss) == 0
    assert gradient.shape == (0, 3)
    some = tf.ones([2, 3])
    losses, gradient = with_gradient(
        lambda x: contrastive(x, tf.constant([0, 1]), *nothing, temperature=0.15), some
    )
    assert losses.numpy().tolist() == [0, 0]
    np.testing.assert_array_equal(gradient, np.zeros((2, 3)))


def test_sum_over_replicas_does_not_depend_on_how_anchors_are_cut():
    """The same keys, anchors here and there: losses are those of all anchors at once."""
    anchors, anchor_classes, keys, key_classes, *_ = pairs("float64")
    options = {"temperature": TEMPERATURE}
    whole = contrastive(anchors, anchor_classes, keys, key_classes, **options)
    halves = [
        contrastive(anchors[part], anchor_classes[part], keys, key_classes, **options)
        for part in (slice(0, 13), slice(13, None))
    ]
    np.testing.assert_allclose(tf.concat(halves, axis=0), whole, rtol=0, atol=1e-12)


def test_contrast_repeats_bit_for_bit():
    anchors, anchor_classes, keys, key_classes, *_ = pairs("float32", 300, 400, 16)

    def loss(x):
        return tf.reduce_sum(
            contrastive(
                x, anchor_classes, keys, key_classes, temperature=TEMPERATURE, block_pairs=2**14
            )
        )

    first = with_gradient(loss, anchors)
    for _ in range(3):
        for one, other in zip(first, with_gradient(loss, anchors), strict=True):
            np.testing.assert_array_equal(one, other)


def on_grid(plan, size, stride):
    grid = FeatureGrid.between(tuple(n // stride for n in size), size)
    return cutmix.on_grid(plan, grid)


def plain_mix(labeled, unlabeled, plan):
    boxes = tf.reshape(plan.boxes, [-1, 4])
    masks = plain.masks(boxes, *labeled.shape[1:3], labeled.dtype)
    return plain.mix_batch(labeled, unlabeled, plan.order, masks)


def plain_unmix(mixed, plan, stride=1):
    boxes, size = tf.reshape(plan.boxes, [-1, 4]), [stride * n for n in mixed.shape[1:3]]
    return plain.unmix_batch(mixed, plan.order, plain.masks(boxes, *size, mixed.dtype, stride))


def random_labels(rng, shape, num_classes, present):
    """Labels `(B, h, w)` of which each image shows some classes, and a tenth is ignored."""
    labels = np.stack(
        [rng.choice(rng.permutation(num_classes)[:present], shape[1:]) for _ in range(shape[0])]
    )
    return np.where(rng.random(shape) < 0.1, IGNORE, labels).astype(np.int32)


def plain_pixel_contrast(sets, *, num_classes, count, temperature):
    """Eq. 5 over samples; maps are taken apart and put together first."""
    embedding, keys, labels, hard, priority = (
        tf.concat([tf.reshape(x, [x.shape[0], -1, *x.shape[3:]]) for x in parts], axis=0)
        for parts in zip(*(part[:5] for part in sets), strict=True)
    )
    pixels, classes = plain.sample(labels, hard, priority, num_classes, count)
    anchors, keys = (
        tf.gather(tf.reshape(maps, [-1, maps.shape[-1]]), pixels) for maps in (embedding, keys)
    )
    return plain.contrast(anchors, keys, classes, temperature)


def contrast_sets(dtype):
    """A labeled and an unlabeled set whose embeddings are mixed, and the same taken apart."""
    rng = np.random.default_rng(0)
    shape, stride, num_classes = (4, 4, 6), 8, 5
    order = cutmix.draw_order(tf.constant(rng.random((1, 4))), "cross_set")
    boxes = cutmix.boxes_from_uniform(tf.constant(rng.random((1, 2, 3))), 32, 48)
    plan = cutmix.MixPlan(order, boxes)
    mixed, keys = (tf.constant(rng.normal(size=(*shape, 8)), dtype) for _ in range(2))
    columns = (
        random_labels(rng, shape, num_classes, 3),
        rng.random(shape) < 0.4,
        np.float32(rng.random(shape)),
    )
    rest = [[tf.constant(half) for half in np.split(column, 2)] for column in columns]
    place = cutmix.places(on_grid(plan, (32, 48), stride), 4, 6)

    def mixed_sets(embedding):
        rows = zip([embedding] * 2, tf.split(keys, 2), *rest, tf.split(place, 2), strict=True)
        return [ContrastInputs(*row) for row in rows]

    def apart_sets(embedding):
        parts = plain_unmix(embedding, plan, stride)
        return [ContrastInputs(*row) for row in zip(parts, tf.split(keys, 2), *rest, strict=True)]

    options = {"num_classes": num_classes, "count": 3, "temperature": TEMPERATURE}
    return mixed, mixed_sets, apart_sets, options


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_sampling_from_mixed_maps_is_sampling_from_maps_taken_apart(dtype):
    mixed, mixed_sets, apart_sets, options = contrast_sets(dtype)
    ours = with_gradient(lambda x: pixel_contrast(mixed_sets(x), **options).loss, mixed)
    apart = with_gradient(lambda x: pixel_contrast(apart_sets(x), **options).loss, mixed)
    expected = with_gradient(lambda x: plain_pixel_contrast(apart_sets(x), **options), mixed)
    assert_close(ours, expected, dtype)
    assert_close(apart, expected, dtype)
    assert float(ours[0]) > 0
    assert np.abs(ours[1]).max() > 0.01


def test_short_vectors_have_no_direction():
    vectors = tf.constant([[0.0, 0.0], [1e-7, 0.0], [3.0, 4.0], [1e-5, 0.0]], tf.float64)
    unit, gradient = with_gradient(unit_norm, vectors)
    np.testing.assert_allclose(unit, [[0, 0], [0, 0], [0.6, 0.8], [1, 0]], rtol=1e-12)
    np.testing.assert_array_equal(gradient[:2], 0)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_dcrs_is_sorting_to_one_bin(dtype):
    rng = np.random.default_rng(0)
    probabilities = tf.nn.softmax(tf.constant(rng.normal(0, 2, (2, 16, 16, 5)), dtype))
    valid = tf.constant(rng.random((2, 16, 16)) < 0.8)
    start = tf.constant(np.linspace(0.1, 0.9, 5), dtype)

    @tf.function
    def ours():
        highest, predicted = confidence.most_probable(probabilities)
        thresholds = confidence.update_thresholds(
            start, highest, predicted, valid, ratio=0.7, decay=0.5
        )
        return thresholds, confidence.confident_region(thresholds, highest, predicted, valid)

    @tf.function
    def sorting():
        thresholds = plain.thresholds(start, probabilities, valid, s=0.7, beta=0.5)
        return thresholds, plain.confident_region(thresholds, probabilities, valid)

    (thresholds, region), (expected, expected_region) = ours(), sorting()
    below = expected.numpy() - thresholds.numpy()
    assert (below >= -TOLERANCE[dtype]).all()
    assert (below <= 0.5 / confidence.BINS + TOLERANCE[dtype]).all()
    # A lower threshold never drops a pixel, and what it adds lies within a bin of the other.
    assert not (expected_region & ~region).numpy().any()
    assert (region & ~expected_region).numpy().sum() <= 1


@settings(deadline=None, max_examples=40)
@given(
    logits=hnp.arrays(
        np.float32,
        (1, 2, 3, 4),
        elements=st.one_of(st.sampled_from([0.0, 1.0]), st.floats(-1e4, 1e4, width=32)),
    ),
    dtype=st.sampled_from([tf.float16, tf.bfloat16, tf.float32, tf.float64]),
)
def test_most_probable_is_max_and_first_argmax(logits, dtype):
    probabilities = tf.nn.softmax(tf.cast(logits, dtype))
    highest, predicted = confidence.most_probable(probabilities)
    assert highest.dtype == dtype
    np.testing.assert_array_equal(highest, tf.reduce_max(probabilities, axis=-1))
    as_float64 = np.float64(tf.cast(probabilities, tf.float64))
    np.testing.assert_array_equal(predicted, as_float64.argmax(axis=-1))


def test_a_diverged_teacher_still_has_a_class():
    """The check of the loss is to find it, not a failed lookup here."""
    _, predicted = confidence.most_probable(tf.fill([1, 2, 2, 3], np.float32(np.nan)))
    assert ((predicted.numpy() >= 0) & (predicted.numpy() < 3)).all()


def mix_case(dtype, channels=3):
    rng = np.random.default_rng(0)
    order = cutmix.draw_order(tf.constant(rng.random((2, 6))), "cross_set")
    boxes = cutmix.boxes_from_uniform(tf.constant(rng.random((2, 3, 3))), 16, 24)
    labeled, unlabeled = rng.normal(0, 50, (2, 6, 16, 24, channels))
    plan = cutmix.MixPlan(order, boxes)
    return plan, tf.cast(tf.constant(labeled), dtype), tf.cast(tf.constant(unlabeled), dtype)


@pytest.mark.parametrize("dtype", [tf.int32, tf.uint8, tf.bool, tf.bfloat16, tf.float64])
def test_mixing_is_eq_4(dtype):
    plan, labeled, unlabeled = mix_case(dtype)
    mixed = tf.function(cutmix.mix)(labeled, unlabeled, plan)
    assert mixed.dtype == dtype
    if dtype == tf.bool:
        # Eq. 4 is arithmetic.
        mixed, labeled, unlabeled = (tf.cast(x, tf.int32) for x in (mixed, labeled, unlabeled))
    assert bool(tf.reduce_all(mixed == plain_mix(labeled, unlabeled, plan)))
    for stride in (1, 8):
        maps = mixed[:, stride // 2 :: stride, stride // 2 :: stride]
        ours = cutmix.unmix(maps, on_grid(plan, (16, 24), stride))
        for own, expected in zip(ours, plain_unmix(maps, plan, stride), strict=True):
            assert bool(tf.reduce_all(own == expected))


@pytest.mark.parametrize("stride", [1, 8])
def test_gradients_of_mixing_are_those_of_eq_4(stride):
    plan, labeled, unlabeled = mix_case(tf.float64)
    maps = tf.concat([labeled, unlabeled], axis=0)[:, ::stride, ::stride]
    weight = tf.constant(np.random.default_rng(1).normal(size=maps.shape))

    def weighted(unmixed):
        return lambda x: tf.reduce_sum(weight * tf.concat(unmixed(x), axis=0))

    grid_plan = on_grid(plan, (16, 24), stride)
    ours = with_gradient(weighted(lambda x: cutmix.unmix(x, grid_plan)), maps)
    expected = with_gradient(weighted(lambda x: plain_unmix(x, plan, stride)), maps)
    assert_close(ours, expected, "float64")
    if stride == 1:

        def mixed(mix):
            return lambda x: tf.reduce_sum(weight * mix(*tf.split(x, 2), plan))

        ours, expected = (with_gradient(mixed(mix), maps) for mix in (cutmix.mix, plain_mix))
        assert_close(ours, expected, "float64")


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("grid", [(4, 6), (3, 5), (1, 1), (16, 24)])
def test_unmixing_while_resizing_is_resizing_and_then_unmixing(dtype, grid, aligned):
    plan, *_ = mix_case(tf.int32)
    rng = np.random.default_rng(1)
    maps = tf.constant(rng.normal(size=(12, *grid, 3)), dtype)
    weight = tf.constant(rng.normal(size=(2, 6, 16, 24, 3)), dtype)

    def ours(x):
        apart = cutmix.unmix_resized(x, plan, 16, 24, aligned)
        return tf.reduce_sum(weight * tf.stack([part.full() for part in apart]))

    def one_by_one(x):
        return tf.reduce_sum(weight * tf.stack(plain_unmix(bilinear(x, 16, 24, aligned), plan)))

    apart = zip(
        cutmix.unmix_resized(maps, plan, 16, 24, aligned),
        plain_unmix(bilinear(maps, 16, 24, aligned), plan),
        strict=True,
    )
    for one, other in apart:
        np.testing.assert_allclose(one.full(), other, rtol=0, atol=TOLERANCE[dtype])
    assert_close(with_gradient(ours, maps), with_gradient(one_by_one, maps), dtype, scale=30)


def test_nothing_mixed_is_only_resized():
    maps = tf.constant(np.random.default_rng(0).normal(size=(4, 3, 5, 2)))
    both = [part.full() for part in cutmix.unmix_resized(maps, None, 16, 24)]
    np.testing.assert_array_equal(tf.concat(both, axis=0), bilinear(maps, 16, 24))


@pytest.mark.parametrize("stride", [1, 4, 8])
def test_places_are_the_inverse_of_sources(stride):
    plan, *_ = mix_case(tf.int32)
    plan, grid = on_grid(plan, (16, 24), stride), (16 // stride, 24 // stride)
    sources, places = (
        index(plan, *grid).numpy().ravel() for index in (cutmix.sources, cutmix.places)
    )
    np.testing.assert_array_equal(sources[places], np.arange(sources.size))
    np.testing.assert_array_equal(places[sources], np.arange(sources.size))


def test_ignored_pixels_are_no_anchors_of_mixed_maps():
    mixed, mixed_sets, _, options = contrast_sets("float32")
    sets = [part._replace(labels=tf.fill(part.labels.shape, IGNORE)) for part in mixed_sets(mixed)]
    assert float(pixel_contrast(sets, **options).loss) == 0


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_losses_are_eq_1_and_eq_2(dtype):
    rng = np.random.default_rng(0)
    y = tf.constant(random_labels(rng, (3, 6, 8), 5, 4))
    logits = tf.constant(rng.normal(0, 3, (3, 6, 8, 5)), dtype)
    teacher = tf.nn.softmax(tf.constant(rng.normal(0, 3, (3, 6, 8, 5)), dtype))
    # An image without a confident pixel, too.
    confident = tf.constant(rng.random((3, 6, 8)) < np.array([0.0, 0.3, 0.9])[:, None, None])
    for ours, expected in (
        (
            lambda x: losses.supervised(y, x, num_images=3),
            lambda x: plain.supervised(y, tf.nn.log_softmax(x)),
        ),
        (
            lambda x: losses.consistency(teacher, x, confident, num_images=3),
            lambda x: plain.consistency(teacher, tf.nn.log_softmax(x), confident),
        ),
    ):
        assert_close(with_gradient(ours, logits), with_gradient(expected, logits), dtype)


@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_sampling_is_that_of_the_paper(count):
    rng = np.random.default_rng(count)
    labels = random_labels(rng, (3, 5, 7), 4, 3).reshape(3, -1)
    hard, priority = rng.random(labels.shape) < 0.3, np.float32(rng.random(labels.shape))
    samples = sample_pixels(
        tf.constant(labels), tf.constant(hard), tf.constant(priority), num_classes=4, count=count
    )
    filled = tf.where(samples.taken)
    ours = filled[:, 0] * 35 + tf.cast(tf.boolean_mask(samples.index, samples.taken), tf.int64)
    pixels, classes = plain.sample(labels, hard, priority, 4, count)
    np.testing.assert_array_equal(ours, pixels)
    np.testing.assert_array_equal(filled[:, 1], classes)


@pytest.mark.parametrize("grid", [(4, 6), (3, 5), (16, 24)])
def test_resizing_is_tensorflows(grid):
    maps = tf.constant(np.random.default_rng(0).normal(size=(2, *grid, 3)), tf.float32)
    ours = with_gradient(lambda x: tf.reduce_sum(bilinear(x, 16, 24) ** 2), maps)
    expected = with_gradient(lambda x: tf.reduce_sum(tf.image.resize(x, [16, 24]) ** 2), maps)
    for one, other in zip(ours, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("step", [0, 1, 9, 10, 99])
def test_ramp_is_that_of_the_paper(step):
    ours = schedules.sigmoid_ramp(tf.constant(step), 10)
    np.testing.assert_allclose(ours, plain.ramp(step, 10), rtol=1e-6)
