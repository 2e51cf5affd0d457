"""The input pipeline: from records to the batches of the train step.

Every random number is a function of the run's seed and a position or step, so the same
configuration gives the same batches on any machine, from any step on.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from c3tf.config import AugmentConfig, Config
from c3tf.data import records, sources
from c3tf.data.augment import views
from c3tf.data.augment.color_jitter import ColorJitterOptions
from c3tf.data.augment.geometry import GeometryOptions
from c3tf.data.augment.rand_augment import RandAugmentOptions
from c3tf.data.batch import SemiBatch, SupervisedBatch
from c3tf.data.errors import DataError
from c3tf.data.manifest import Manifest
from c3tf.data.splits import Split
from c3tf.labels import IGNORE
from c3tf.method import cutmix

# Streams of random numbers; each draw names its own.
_STREAMS = 8
_ORDER_LABELED, _ORDER_UNLABELED, _VIEW_LABELED, _VIEW_UNLABELED, _MIX, _STEP = range(6)


@dataclasses.dataclass(frozen=True)
class TrainingData:
    """The labeled and unlabeled images of a run, as endless streams.

    Attributes:
        labeled: stream of records with labels.
        unlabeled: stream of records whose labels, if any, are not looked at; None for the
            supervised baseline.
        num_labeled: labeled images.
        num_unlabeled: unlabeled images.
        num_classes: C; labels hold 0 to C - 1 or `IGNORE`.
    """

    labeled: sources.Source
    unlabeled: sources.Source | None
    num_labeled: int
    num_unlabeled: int
    num_classes: int


def open_training_data(manifest: Manifest, split: Split, config: Config) -> TrainingData:
    """Opens the records of a data set, divided into labeled and unlabeled ones.

    Args:
        manifest: the data set.
        split: which of its training images are labeled.
        config: where unlabeled images come from, and the seed.

    Returns:
        The streams.

    Raises:
        DataError: records cannot be read, or an image of the split has no label.
    """
    shards = manifest.shards("train")
    found = sources.load_records(shards, frozenset(split.labeled))
    _check_labels(found, split)
    labeled = sources.in_memory(found, _stream_seed(config, _ORDER_LABELED))
    num_classes = manifest.label_map.num_classes
    if config.method.method == "supervised":
        return TrainingData(labeled, None, len(split.labeled), 0, num_classes)
    extra = manifest.shards("unlabeled") if "unlabeled" in manifest.splits else []
    num_extra = manifest.count("unlabeled") if extra else 0
    order_seed = _stream_seed(config, _ORDER_UNLABELED)
    if config.data.unlabeled_source == "memory":
        others = sources.load_records(shards, frozenset(split.unlabeled))
        others += sources.load_records(extra) if extra else []
        unlabeled = sources.in_memory(others, order_seed)
    else:
        unlabeled = sources.streamed(
            [*shards, *extra],
            len(split.unlabeled) + num_extra,
            order_seed,
            config.data.shuffle_buffer,
            excluded=sorted(set(split.labeled) - set(split.unlabeled)),
        )
    num_unlabeled = len(split.unlabeled) + num_extra
    return TrainingData(labeled, unlabeled, len(split.labeled), num_unlabeled, num_classes)


def supervised_batches(data: TrainingData, config: Config, start_step: int) -> tf.data.Dataset:
    """Makes the endless data set of the supervised phase.

    Args:
        data: the images.
        config: batch size, views and seed.
        start_step: training step of the first batch.

    Returns:
        Data set of `SupervisedBatch`.
    """
    size = config.labeled_batch_size
    view = _labeled_view(config, data.num_classes)

    def sample(position: tf.Tensor, record: tf.Tensor) -> SupervisedBatch:
        return SupervisedBatch(*view(record, position))

    start = start_step * size
    samples = tf.data.Dataset.zip(_positions(start), data.labeled(start))
    return _batched(samples.map(sample, num_parallel_calls=tf.data.AUTOTUNE), size)


def semi_supervised_batches(data: TrainingData, config: Config, start_step: int) -> tf.data.Dataset:
    """Makes the endless data set of the semi-supervised phase.

    Args:
        data: the images.
        config: batch size, views, mixing and seed.
        start_step: training step of the first batch.

    Returns:
        Data set of `SemiBatch`.
    """
    size = config.labeled_batch_size
    view_x, view_u = _labeled_view(config, data.num_classes), _unlabeled_view(config)

    def sample(
        position: tf.Tensor, labeled: tf.Tensor, unlabeled: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        return position, *view_x(labeled, position), *view_u(unlabeled, position)

    def add_draws(position: tf.Tensor, *images: tf.Tensor) -> SemiBatch:
        order, boxes = _mix_draws(config, position[0] // size)
        seeds = tf.map_fn(lambda place: _draw_seed(config, _STEP, place), position)
        return SemiBatch(*images, mix_order=order, mix_boxes=boxes, seed=seeds)

    start = start_step * size
    # The unlabeled images begin their first epoch when they are first used.
    start_unlabeled = start - config.supervised_steps * size
    samples = tf.data.Dataset.zip(
        _positions(start), data.labeled(start), data.unlabeled(start_unlabeled)
    ).map(sample, num_parallel_calls=tf.data.AUTOTUNE)
    return _batched(samples, size, add_draws)


def _positions(start: int) -> tf.data.Dataset:
    return tf.data.Dataset.range(start, tf.int64.max)


def _batched(
    samples: tf.data.Dataset, size: int, finish: Callable | None = None
) -> tf.data.Dataset:
    batches = samples.batch(size, drop_remainder=True)
    if finish is not None:
        batches = batches.map(finish)
    options = tf.data.Options()
    options.deterministic = True
    return batches.with_options(options).prefetch(tf.data.AUTOTUNE)


def _labeled_view(config: Config, num_classes: int) -> Callable:
    """Returns the function from (record, position) to a labeled image in weak view, and label."""
    geometry = _geometry(config.augment)

    def view(record: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        parsed = records.parse(record)
        image = records.decode_image(parsed["image"])
        label = records.decode_label(parsed["label"])
        tf.debugging.assert_equal(
            tf.shape(image)[:2],
            tf.shape(label)[:2],
            tf.strings.join(["Image and label differ in size: record ", parsed["name"]]),
        )
        tf.debugging.Assert(
            tf.reduce_all((label < num_classes) | (label == IGNORE)),
            [tf.strings.join(["A label is out of range: record ", parsed["name"]])],
        )
        seed = _draw_seed(config, _VIEW_LABELED, position)
        image, label, _ = views.weak_view(image, label, seed, geometry)
        return image, label[..., 0]

    return view


def _unlabeled_view(config: Config) -> Callable:
    """Returns the function from (record, position) to teacher view, student view, valid mask."""
    augment = config.augment
    geometry = _geometry(augment)
    colors = _colors(augment)

    def view(record: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, ...]:
        image = records.decode_image(records.parse(record)["image"])
        seed = _draw_seed(config, _VIEW_UNLABELED, position)
        weak, _, valid = views.weak_view(image, None, seed, geometry)
        # Both networks see the same crop; strong views of the two are drawn apart.
        shown = [
            views.strong_view(weak, tf.random.fold_in(seed, place), colors)
            if kind == "strong"
            else weak
            for place, kind in ((1, augment.teacher_view), (2, augment.student_view))
        ]
        return *shown, valid[..., 0]

    return view


def _geometry(augment: AugmentConfig) -> GeometryOptions:
    return GeometryOptions(
        crop_size=(augment.crop_height, augment.crop_width),
        flip=augment.flip,
        max_degrees=augment.max_rotation,
        integer_degrees=augment.integer_degrees,
        scales=augment.scales,
    )


def _colors(augment: AugmentConfig) -> views.StrongOptions:
    jitter = ColorJitterOptions(*augment.jitter_strengths, *augment.jitter_probabilities)
    if not augment.randaugment:
        return views.StrongOptions(jitter, None)
    rand_augment = RandAugmentOptions(
        num_ops=augment.randaugment_ops,
        magnitude=augment.randaugment_magnitude,
        magnitude_std=augment.randaugment_std,
        op_probability=augment.randaugment_probability,
    )
    return views.StrongOptions(jitter, rand_augment)


def _mix_draws(config: Config, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws who is mixed with whom in a step, `(B, 2)`, and the rectangles, `(B, 4)`."""
    size, method = config.labeled_batch_size, config.method
    order_seed, box_seed = tf.unstack(tf.random.split(_draw_seed(config, _MIX, step)))
    if method.mixing == "none":
        order = tf.zeros([size, 2], tf.int32)
    else:
        shape = [size // method.mix_group, 2 * method.mix_group]
        uniform = tf.random.stateless_uniform(shape, order_seed)
        order = tf.reshape(cutmix.draw_order(uniform, method.mixing), [size, 2])
    uniform = tf.random.stateless_uniform([size, 3], box_seed)
    augment = config.augment
    return order, cutmix.boxes_from_uniform(uniform, augment.crop_height, augment.crop_width)


def _stream_seed(config: Config, stream: int) -> int:
    """Returns the seed of one stream of random numbers: no two runs or streams share one."""
    return config.training.seed * _STREAMS + stream


def _draw_seed(config: Config, stream: int, place: tf.Tensor) -> tf.Tensor:
    """Returns the stateless seed, int64 `(2,)`, of a draw at a position or step."""
    return tf.stack([tf.constant(_stream_seed(config, stream), tf.int64), place])


def _check_labels(found: list[bytes], split: Split) -> None:
    """Refuses a split whose images are missing or have no label."""
    if len(found) != len(split.labeled):
        held = {records.parse_name(record).numpy().decode() for record in found}
        missing = sorted(set(split.labeled) - held)
        raise DataError(
            f"The split names {len(split.labeled)} images, but {len(found)} of them are in the "
            f"training records (missing: {', '.join(missing[:3])}). Convert the data set again."
        )
    for record in found:
        parsed = records.parse(tf.constant(record))
        if not parsed["label"].numpy():
            raise DataError(
                f"Image {parsed['name'].numpy().decode()!r} of the split has no label. Choose a "
                "split of labeled images."
            )
