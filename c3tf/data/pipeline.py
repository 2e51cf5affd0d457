"""The input pipeline: from opened images to the batches of the train step.

Every random number is a function of the run's seed and a position or step, so the same
configuration gives the same batches on any machine, from any step on, however many threads and
workers make them.
"""

import dataclasses
from collections.abc import Callable

import tensorflow as tf

from c3tf.config import Config
from c3tf.data import samples
from c3tf.data.batch import SemiBatch, SupervisedBatch, TwoViewBatch, semi_type
from c3tf.data.seeds import MIX, STEP, draw_seed
from c3tf.data.sources import Positions
from c3tf.data.training_data import TrainingData
from c3tf.method import cutmix


@dataclasses.dataclass(frozen=True)
class Worker:
    """One of the processes that share every batch.

    Attributes:
        index: 0 to `count` - 1. Worker 0 takes the first rows of every batch.
        count: workers in all; the batches of all of them, in order of `index`, are the batch that
            one worker alone would make.
    """

    index: int = 0
    count: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.index < self.count:
            raise ValueError(
                f"`index` must be 0 to `count` - 1. Received: index={self.index}, "
                f"count={self.count}"
            )

    def rows(self, config: Config) -> tuple[int, int]:
        """Returns the first of its rows in every batch, and their number.

        Raises:
            ValueError: the workers cannot have equal parts, or a mix group would be cut.
        """
        size = config.labeled_batch_size
        unit = config.method.mix_group if config.uses_groups else 1
        if size % (self.count * unit):
            raise ValueError(
                f"`count` workers must have equal parts of {size} rows, in groups of {unit}. "
                f"Received: count={self.count}"
            )
        length = size // self.count
        return self.index * length, length


_ALONE = Worker()


def supervised_batches(
    data: TrainingData,
    config: Config,
    start_step: int,
    worker: Worker = _ALONE,
    ahead: int = tf.data.AUTOTUNE,
) -> tf.data.Dataset:
    """Makes the endless data set of the supervised phase.

    Args:
        data: the images.
        config: batch size, views and seed.
        start_step: training step of the first batch.
        worker: whose part of every batch to make.
        ahead: batches to prepare ahead of their use; 0 makes each when it is asked for.

    Returns:
        Data set of `SupervisedBatch`.
    """
    positions = _positions(config, start_step, worker)
    view = samples.labeled_view(config, data.labeled.opener, data.num_classes)

    def sample(position: tf.Tensor, element: tf.Tensor) -> SupervisedBatch:
        x, y = view(element, position)
        return SupervisedBatch(x, y, draw_seed(config, STEP, position))

    elements = tf.data.Dataset.zip(positions.dataset(), data.labeled.source(positions))
    return _batched(elements, sample, positions.length, config, ahead)


def semi_supervised_batches(
    data: TrainingData,
    config: Config,
    start_step: int,
    worker: Worker = _ALONE,
    ahead: int = tf.data.AUTOTUNE,
) -> tf.data.Dataset:
    """Makes the endless data set of the semi-supervised phase.

    Args:
        data: the images.
        config: batch size, views, mixing and seed.
        start_step: training step of the first batch.
        worker: whose part of every batch to make.
        ahead: batches to prepare ahead of their use; 0 makes each when it is asked for.

    Returns:
        Data set of `SemiBatch`, or of `TwoViewBatch` where the method needs two views.
    """
    if data.unlabeled is None:
        raise ValueError("`data.unlabeled` must be images to train on. Received: None")
    positions = _positions(config, start_step, worker)
    # The unlabeled images begin their first epoch when they are first used.
    skipped = config.first_semi_step * config.labeled_batch_size
    others = dataclasses.replace(positions, start=positions.start - skipped)
    view_x = samples.labeled_view(config, data.labeled.opener, data.num_classes)
    view_u = samples.unlabeled_view(config, data.unlabeled.opener)
    kind: Callable[..., SemiBatch | TwoViewBatch] = semi_type(config.needs.strong_views)

    def sample(
        position: tf.Tensor, labeled: tf.Tensor, unlabeled: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        return position, *view_x(labeled, position), *view_u(unlabeled, position)

    def add_draws(position: tf.Tensor, *images: tf.Tensor) -> SemiBatch | TwoViewBatch:
        step = position[0] // config.labeled_batch_size
        rows = slice(positions.first, positions.first + positions.length)
        order, boxes = (draw[rows] for draw in _mix_draws(config, step))
        seeds = tf.map_fn(lambda place: draw_seed(config, STEP, place), position)
        return kind(*images, order, boxes, seeds)

    elements = tf.data.Dataset.zip(
        positions.dataset(), data.labeled.source(positions), data.unlabeled.source(others)
    )
    return _batched(elements, sample, positions.length, config, ahead, add_draws)


def _positions(config: Config, start_step: int, worker: Worker) -> Positions:
    size = config.labeled_batch_size
    first, length = worker.rows(config)
    return Positions(start_step * size, size, first, length)


def _batched(
    elements: tf.data.Dataset,
    sample: Callable,
    size: int,
    config: Config,
    ahead: int,
    finish: Callable | None = None,
) -> tf.data.Dataset:
    """Makes samples, in parallel and in order, and batches of them."""
    calls = config.data.input_threads or tf.data.AUTOTUNE
    batches = elements.map(sample, num_parallel_calls=calls).batch(size, drop_remainder=True)
    if finish is not None:
        batches = batches.map(finish)
    options = tf.data.Options()
    options.deterministic = True
    batches = batches.with_options(options)
    return batches.prefetch(ahead) if ahead else batches


def _mix_draws(config: Config, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws who is mixed with whom in a step, `(B, 2)`, and the rectangles, `(B, 4)`."""
    size, method = config.labeled_batch_size, config.method
    order_seed, box_seed = tf.unstack(tf.random.split(draw_seed(config, MIX, step)))
    if method.mixing == "none":
        order = tf.zeros([size, 2], tf.int32)
    else:
        shape = [size // method.mix_group, 2 * method.mix_group]
        uniform = tf.random.stateless_uniform(shape, order_seed)
        order = tf.reshape(cutmix.draw_order(uniform, method.mixing), [size, 2])
    uniform = tf.random.stateless_uniform([size, 3], box_seed)
    augment = config.augment
    return order, cutmix.boxes_from_uniform(uniform, augment.crop_height, augment.crop_width)
