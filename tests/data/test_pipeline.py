"""Batches: which images they show, in which views, and that any step can be the first."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import tiny_data
from c3tf.config import Config
from c3tf.data import pipeline, samples, splits
from c3tf.data.batch import SemiBatch, TwoViewBatch
from c3tf.data.pipeline import Worker
from c3tf.data.sources import Positions
from c3tf.data.splits import Split
from c3tf.data.training_data import open_training_data
from c3tf.errors import DataError
from c3tf.io import memory
from c3tf.labels import IGNORE

HEIGHT, WIDTH, CLASSES = 24, 32, 4
CROP_HEIGHT, CROP_WIDTH = 16, 24
LABELED, UNLABELED, EXTRA = 3, 5, 2
# Red tells the class, green the image, blue the place.
CLASS_STEP, FIRST_RED = 60, 30


def scene(index: int) -> tuple[np.ndarray, np.ndarray]:
    """An image in which every pixel says what its label is and which image it belongs to."""
    rng = np.random.default_rng(index)
    label = rng.integers(0, CLASSES, (HEIGHT // 4, WIDTH // 4)).astype(np.uint8)
    label = label.repeat(4, axis=0).repeat(4, axis=1)
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    image[..., 0] = FIRST_RED + CLASS_STEP * label
    image[..., 1] = 10 + 20 * index
    image[..., 2] = np.arange(WIDTH) * 6 + np.arange(HEIGHT)[:, None]
    return image, label


def indices(images: np.ndarray) -> list[int]:
    """Which scene each image of a batch shows, where views only copy pixels."""
    greens = [np.unique(image[..., 1]) for image in np.asarray(images)]
    assert all(len(green) == 1 for green in greens)
    return [(int(green[0]) - 10) // 20 for green in greens]


def labels_of(images: np.ndarray) -> np.ndarray:
    return np.rint((np.asarray(images)[..., 0].astype(float) - FIRST_RED) / CLASS_STEP)


NAMES = [f"s{index}" for index in range(LABELED + UNLABELED)]
# The labeled ones lie between the others.
SPLIT = Split(("s1", "s4", "s6"), ("s0", "s2", "s3", "s5", "s7"), None, "by hand")
LABELED_INDICES, UNLABELED_INDICES = [1, 4, 6], [0, 2, 3, 5, 7]
EXTRA_INDICES = [8, 9]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Eight training images and two extra ones without labels."""
    folder = tmp_path_factory.mktemp("data")
    train = {name: scene(index) for index, name in enumerate(NAMES)}
    extra = {f"e{index}": (scene(index)[0], None) for index in EXTRA_INDICES}
    return tiny_data.write_splits(folder, {"train": train, "unlabeled": extra}, shards=2)


def config(**options) -> Config:
    """Four labeled and four unlabeled images per step; views copy pixels unless told."""
    return Config().with_options(
        **{
            "global_batch_size": 8,
            "mix_group": 2,
            "supervised_steps": 2,
            "steps": 20,
            "crop_height": CROP_HEIGHT,
            "crop_width": CROP_WIDTH,
            "max_rotation": 0.0,
            "student_view": "weak",
            **options,
        }
    )


# As a run has them: rotated, and with colours for the student.
USUAL = {"max_rotation": 10.0, "student_view": "strong"}
NO_JITTER = {"jitter_probabilities": [0.0, 0.0, 0.0, 0.0]}


def opened(manifest, settings, split=SPLIT):
    return open_training_data(manifest, split, settings)


def shared(manifest, make, first_step):
    """Returns a function that gives batches from a step on; equal calls share them."""
    held = {}

    def batches(start=first_step, **options):
        key = (start, repr(options))
        if key not in held:
            settings = config(**options)
            dataset = make(opened(manifest, settings), settings, start)
            held[key] = list(dataset.take(21 if start == first_step else 1))
        return held[key]

    return batches


@pytest.fixture(scope="module")
def semi(manifest):
    return shared(manifest, pipeline.semi_supervised_batches, first_step=2)


@pytest.fixture(scope="module")
def supervised(manifest):
    return shared(manifest, pipeline.supervised_batches, first_step=0)


def assert_same(first, second):
    assert type(first) is type(second)
    for name, one, other in zip(first._fields, first, second, strict=True):
        np.testing.assert_array_equal(one, other, err_msg=name)


def shown(batches, field):
    return [index for batch in batches for index in indices(getattr(batch, field))]


def test_batches_have_the_documented_shapes_and_types(manifest, semi, supervised):
    data = opened(manifest, config())
    assert (data.num_labeled, data.num_unlabeled) == (LABELED, UNLABELED + EXTRA)
    image, plane = (4, CROP_HEIGHT, CROP_WIDTH, 3), (4, CROP_HEIGHT, CROP_WIDTH)
    fields = {
        "x": (image, tf.uint8),
        "y": (plane, tf.uint8),
        "u_w": (image, tf.uint8),
        "u_s": (image, tf.uint8),
        "u_valid": (plane, tf.bool),
        "mix_order": ((4, 2), tf.int32),
        "mix_boxes": ((4, 4), tf.int32),
        "seed": ((4, 2), tf.int64),
    }
    labeled = {name: fields[name] for name in ("x", "y", "seed")}
    # Known before the first batch, so that the train step is compiled once.
    spec = pipeline.supervised_batches(data, config(), 0).element_spec
    assert {n: (tuple(s.shape), s.dtype) for n, s in spec._asdict().items()} == labeled
    for batch, expected in ((semi(**USUAL)[0], fields), (supervised()[0], labeled)):
        assert {n: (tuple(t.shape), t.dtype) for n, t in batch._asdict().items()} == expected


@pytest.mark.parametrize("options", [{}, {"unlabeled_source": "stream", "shuffle_buffer": 4}])
def test_epochs_show_every_image_once_and_only_where_it_belongs(semi, options):
    batches = semi(**options)
    labeled, unlabeled = shown(batches, "x"), shown(batches, "u_w")
    # Eight labeled images were shown in the two supervised steps: the third epoch has one left.
    for start in range(1, len(labeled) - LABELED + 1, LABELED):
        assert sorted(labeled[start : start + LABELED]) == LABELED_INDICES
    for start in range(0, len(unlabeled), UNLABELED + EXTRA):
        epoch = unlabeled[start : start + UNLABELED + EXTRA]
        assert sorted(epoch) == UNLABELED_INDICES + EXTRA_INDICES


@pytest.mark.parametrize("source", ["memory", "stream"])
def test_a_full_split_puts_every_image_in_both_sets(manifest, source):
    data = opened(manifest, config(unlabeled_source=source), splits.draw(NAMES, len(NAMES), 0))
    assert (data.num_labeled, data.num_unlabeled) == (8, 8 + EXTRA)
    extra = [f"e{index}" for index in EXTRA_INDICES]
    for images, expected in ((data.labeled, NAMES), (data.unlabeled, extra + NAMES)):
        elements = images.source(Positions(0)).take(len(expected))
        assert sorted(images.opener(e).name.numpy().decode() for e in elements) == expected


def test_the_baseline_opens_no_unlabeled_images(manifest):
    data = opened(manifest, config(method="supervised"))
    assert data.unlabeled is None
    assert (data.num_labeled, data.num_unlabeled) == (LABELED, 0)
    with pytest.raises(ValueError, match=r"`data\.unlabeled` must be .* Received: None"):
        pipeline.semi_supervised_batches(data, config(), 0)


@pytest.mark.parametrize(
    "options", [USUAL, {"unlabeled_source": "stream", "shuffle_buffer": 4}], ids=["usual", "stream"]
)
def test_any_semi_supervised_step_can_be_the_first(semi, options):
    # 40 unlabeled images are past by then: five epochs and a part.
    assert_same(semi(start=12, **options)[0], semi(**options)[10])


@pytest.mark.parametrize(
    "options",
    [
        {"input_threads": 1},
        {"input_threads": 4},
        {"cache": "memory"},
        {"cache": "disk"},
    ],
    ids=str,
)
def test_threads_and_caches_change_no_batch(semi, options, tmp_path):
    if options.get("cache") == "disk":
        options = options | {"cache_dir": str(tmp_path)}
    for usual, other in zip(semi(**USUAL)[:1], semi(**USUAL, **options)[:1], strict=True):
        assert_same(usual, other)


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_change_no_batch_of_a_stream(semi, threads):
    options = {"unlabeled_source": "stream", "shuffle_buffer": 4}
    assert_same(semi(**options)[7], semi(start=9, **options, input_threads=threads)[0])


@pytest.mark.parametrize("options", [{}, {"unlabeled_source": "stream", "shuffle_buffer": 4}])
def test_workers_share_the_batches_of_one(manifest, semi, options):
    settings = config(**options)
    data = opened(manifest, settings)
    for step in (2, 12):
        shares = [
            next(iter(pipeline.semi_supervised_batches(data, settings, step, Worker(i, 2))))
            for i in range(2)
        ]
        joined = SemiBatch(*(tf.concat(parts, axis=0) for parts in zip(*shares, strict=True)))
        assert_same(joined, semi(**options)[step - 2])


def test_workers_share_the_supervised_batches_of_one(manifest, supervised):
    data = opened(manifest, config())
    for index in range(4):
        own = pipeline.supervised_batches(data, config(mixing="none"), 0, Worker(index, 4))
        for batch, whole in zip(own.take(3), supervised()[:3], strict=True):
            np.testing.assert_array_equal(batch.x, whole.x[index : index + 1])


def test_workers_that_cannot_share_are_refused(manifest):
    data = opened(manifest, config())
    with pytest.raises(ValueError, match=r"equal parts of 4 rows, in groups of 2.*count=4"):
        pipeline.semi_supervised_batches(data, config(), 2, Worker(0, 4))
    with pytest.raises(ValueError, match="`index` must be"):
        Worker(2, 2)


def test_records_that_do_not_fit_into_memory_are_refused(manifest, monkeypatch):
    monkeypatch.setattr(memory, "available", lambda: 100.0)
    with pytest.raises(DataError, match=r"--unlabeled_source=memory would take.*=stream"):
        opened(manifest, config())
    opened(manifest, config(unlabeled_source="stream"))


@pytest.mark.parametrize(
    ("order", "labeled_full", "unlabeled_full"),
    [("first", True, True), ("last", False, False), ("authors", False, True)],
)
def test_rotation_order_of_either_set(semi, order, labeled_full, unlabeled_full):
    # A small crop from the middle of a turned image has corners; a turned crop has none.
    options = {"crop_height": 8, "crop_width": 8, "max_rotation": 45.0, "rotation_order": order}
    batches = semi(**options)
    for planes, full in (
        (np.concatenate([batch.y != IGNORE for batch in batches]), labeled_full),
        (np.concatenate([batch.u_valid for batch in batches]), unlabeled_full),
    ):
        whole = planes.all(axis=(1, 2)).mean()
        assert (whole > 0.5) if full else (whole < 0.4)


def test_any_supervised_step_can_be_the_first(supervised):
    expected = supervised(max_rotation=10.0)[5]
    assert_same(supervised(start=5, max_rotation=10.0)[0], expected)


def test_the_labeled_images_go_on_across_the_phases(semi, supervised):
    one, other = supervised(max_rotation=10.0)[3], semi(**USUAL)[1]
    assert_same(one, type(one)(other.x, other.y, other.seed))
    # So the baseline sees the same labeled batches as the method.
    assert_same(supervised(start=3, max_rotation=10.0, method="supervised")[0], one)


def test_another_seed_gives_other_batches(semi):
    runs = [semi()[:6], semi(seed=1)[:6]]
    for field in ("x", "u_w"):
        assert shown(runs[0], field) != shown(runs[1], field)
    for field in ("y", "u_s", "mix_order", "mix_boxes", "seed"):
        first, second = (np.stack([getattr(batch, field) for batch in run]) for run in runs)
        assert not np.array_equal(first, second), field


def test_every_image_has_a_seed_of_its_own(semi):
    seeds = {tuple(seed) for batch in semi() for seed in batch.seed.numpy()}
    assert len(seeds) == 21 * 4


def test_labels_lie_on_their_images(supervised):
    flipped = set()
    for batch in supervised():
        np.testing.assert_array_equal(labels_of(batch.x), batch.y)
        for image in batch.x.numpy():
            flipped.add(bool(image[0, 1, 2] < image[0, 0, 2]))
    assert flipped == {False, True}


def test_labels_follow_rotation_and_scale(supervised):
    for batch in supervised(max_rotation=10.0, scales=[0.75, 1.25]):
        inside = batch.y.numpy() != IGNORE
        # Interpolation mixes classes along the borders of the blocks only.
        same = labels_of(batch.x)[inside] == batch.y.numpy()[inside]
        assert inside.mean() > 0.8
        assert same.mean() > 0.75


@pytest.mark.parametrize(("scale_unlabeled", "step"), [(True, 3), (False, 6)])
def test_unlabeled_images_are_scaled_unless_the_authors_mistake_is_wanted(
    semi, scale_unlabeled, step
):
    """Neighbours differ by 6 in blue, by half of it where the image is twice as large."""
    options = {"flip": False, "scales": [2.0], "scale_unlabeled": scale_unlabeled}
    batch = semi(**options)[0]
    for image, expected in ((batch.x, 3), (batch.u_w, step), (batch.u_s, step)):
        blue = image.numpy()[..., 2].astype(int)
        assert np.median(np.diff(blue, axis=2)) == expected


def test_what_lies_beside_the_image_is_ignored_and_not_valid(semi):
    for batch in semi(max_rotation=10.0, crop_height=32, crop_width=40)[:4]:
        for image, known in ((batch.x, batch.y != IGNORE), (batch.u_w, batch.u_valid)):
            # No pixel of a scene is black in green.
            black, known = image.numpy()[..., 1] == 0, known.numpy()
            assert not known[black].any()
            assert known[~black].mean() > 0.95
            assert 0.6 < known.sum() / (4 * HEIGHT * WIDTH) <= 1


def test_weak_and_strong_views_are_one_crop(semi):
    colors_off = semi(**USUAL, **NO_JITTER, randaugment=False)
    for without, usual in zip(colors_off, semi(**USUAL), strict=True):
        np.testing.assert_array_equal(without.u_s, without.u_w)
        # Colours change nothing but the student's view.
        assert_same(usual._replace(u_s=without.u_s), without)
    changed = [(b.u_s != b.u_w).numpy().any(axis=(1, 2, 3)) for b in semi(**USUAL)]
    assert np.mean(changed) > 0.6


def test_a_method_gets_as_many_views_of_the_student_as_it_needs(manifest):
    """The second one is drawn apart from the first; all else is what other methods get."""

    def shown(**options):
        settings = config(supervised_steps=Config().method.supervised_steps, **options)
        data = opened(manifest, settings)
        view = samples.unlabeled_view(settings, data.unlabeled.opener)
        return (
            settings,
            data,
            [part.numpy() for part in view(tf.constant(3), tf.constant(5, "int64"))],
        )

    settings, data, (weak, first, second, valid) = shown(method="unimatch", **USUAL)
    assert (first != second).any()
    assert (second != weak).any()
    *_, single = shown(method="classmix", **USUAL)
    assert len(single) == 3
    for one, other in zip((weak, first, valid), single, strict=True):
        np.testing.assert_array_equal(one, other)
    # The colours differ, the crop does not.
    *_, plain = shown(method="unimatch", **USUAL, **NO_JITTER, randaugment=False)
    np.testing.assert_array_equal(plain[2], plain[0])
    spec = pipeline.semi_supervised_batches(data, settings, 0).element_spec
    assert isinstance(spec, TwoViewBatch)
    assert spec.u_s2 == spec.u_s


def test_views_of_either_network_are_one_switch_each(semi):
    strong = semi(**USUAL, teacher_view="strong")
    for default, other in zip(semi(**USUAL), strong, strict=True):
        assert_same(other, default._replace(u_w=other.u_w))
        # The teacher's colours are a draw of their own.
        assert (other.u_w != default.u_w).numpy().any()
        assert (other.u_w != other.u_s).numpy().any()
    for batch in semi():
        np.testing.assert_array_equal(batch.u_s, batch.u_w)


def test_randaugment_without_jitter_changes_colours(semi):
    batches = semi(student_view="strong", **NO_JITTER, randaugment_probability=1.0)
    changed = [(b.u_s != b.u_w).numpy().any(axis=(1, 2, 3)) for b in batches]
    assert np.mean(changed) > 0.9


def test_nothing_of_randaugment_is_left_when_it_is_off(semi):
    brightness = {"jitter_probabilities": [1.0, 0.0, 0.0, 0.0], "randaugment": False}
    for batch in semi(student_view="strong", **brightness):
        for weak, strong in zip(batch.u_w.numpy(), batch.u_s.numpy(), strict=True):
            # Brightness is one factor for all values, up to rounding and clipping.
            order = np.argsort(weak.ravel(), kind="stable")
            assert (np.diff(strong.ravel()[order].astype(int)) >= 0).all()


@pytest.mark.parametrize(("mixing", "kinds"), [("cross_set", 24), ("intra_set", 4), ("none", 1)])
def test_mix_orders_pair_whom_they_should(semi, mixing, kinds):
    batches = semi() if mixing == "cross_set" else semi(mixing=mixing)
    orders = np.stack([batch.mix_order for batch in batches]).reshape(-1, 4)
    drawn = {tuple(order) for order in orders.tolist()}
    assert kinds / 2 < len(drawn) <= kinds
    if mixing == "none":
        assert not orders.any()
        return
    np.testing.assert_array_equal(np.sort(orders, axis=1), np.tile(np.arange(4), (42, 1)))
    same_set = (orders[:, :2] < 2) == (orders[:, 2:] < 2)
    assert same_set.all() == (mixing == "intra_set")


def test_mix_boxes_cover_half_of_the_crop_and_vary(semi):
    boxes = np.concatenate([batch.mix_boxes for batch in semi()])
    top, left, height, width = boxes.T
    assert (np.minimum(top, left) >= 0).all()
    assert (top + height <= CROP_HEIGHT).all()
    assert (left + width <= CROP_WIDTH).all()
    # Whole pixels: half a row and half a column off at most.
    limit = (CROP_HEIGHT + CROP_WIDTH) / 2
    assert np.abs(height * width - CROP_HEIGHT * CROP_WIDTH / 2).max() <= limit
    assert len({tuple(box) for box in boxes.tolist()}) > 60


def test_a_labeled_image_without_a_label_is_refused(tmp_path):
    pairs = {"a": scene(0), "b": (scene(1)[0], None), "c": scene(2)}
    manifest = tiny_data.write_splits(tmp_path, {"train": pairs})
    split = Split(("a", "b"), ("c",), None, "by hand")
    with pytest.raises(DataError, match="Image 'b' of the split has no label"):
        opened(manifest, config(), split)


def test_a_split_of_images_that_are_not_there_is_refused(manifest):
    split = dataclasses.replace(SPLIT, labeled=("s1", "absent", "gone"))
    with pytest.raises(DataError, match=r"names 3 images, but 1 .*missing: absent, gone"):
        opened(manifest, config(), split)


def test_image_and_label_of_different_size_name_their_record(tmp_path):
    image, label = scene(0)
    pairs = {"narrow": (image, label[:, :-1]), "c": scene(1)}
    manifest = tiny_data.write_splits(tmp_path, {"train": pairs})
    split = Split(("narrow",), ("c",), None, "by hand")
    batches = pipeline.supervised_batches(opened(manifest, config(), split), config(), 0)
    with pytest.raises(tf.errors.InvalidArgumentError, match="differ in size: record narrow"):
        next(iter(batches))
