"""The views of one image: what a position of a stream becomes."""

from collections.abc import Callable

import tensorflow as tf

from c3tf.config import Config
from c3tf.data.augment import views
from c3tf.data.augment.geometry import GeometryOptions, draw_geometry
from c3tf.data.pixels import ImageOpener
from c3tf.data.seeds import VIEW_LABELED, VIEW_UNLABELED, draw_seed
from c3tf.labels import IGNORE


def labeled_view(config: Config, opener: ImageOpener, num_classes: int) -> Callable:
    """Makes the function for labeled images.

    Args:
        config: views and seed.
        opener: opens what the function is given.
        num_classes: C; a label must hold 0 to C - 1 or `IGNORE`.

    Returns:
        Maps an element and its position to the weak view, uint8 `(h, w, 3)`, and its label, uint8
        `(h, w)`.
    """
    options = GeometryOptions.of(config.augment, labeled=True)

    def view(element: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        reader = opener(element)
        geometry = draw_geometry(draw_seed(config, VIEW_LABELED, position), reader.size, options)
        label = reader.label(geometry.window)
        check = tf.debugging.Assert(
            tf.reduce_all((label < num_classes) | (label == IGNORE)),
            [tf.strings.join(["A label is out of range: record ", reader.name])],
        )
        with tf.control_dependencies([check]):
            label = tf.identity(label)
        image = reader.image(geometry.window)
        image, label, _ = views.weak_view(image, label, geometry, options)
        return image, label[..., 0]

    return view


def unlabeled_view(config: Config, opener: ImageOpener) -> Callable:
    """Makes the function for unlabeled images.

    Args:
        config: views and seed.
        opener: opens what the function is given.

    Returns:
        Maps an element and its position to the teacher's view, the student's, as many as the
        method needs, uint8 `(h, w, 3)` each, and the valid mask, bool `(h, w)`.
    """
    augment = config.augment
    options = GeometryOptions.of(augment, labeled=False)
    colors = views.StrongOptions.of(augment)
    kinds = [augment.teacher_view, *[augment.student_view] * config.needs.strong_views]

    def view(element: tf.Tensor, position: tf.Tensor) -> tuple[tf.Tensor, ...]:
        reader = opener(element)
        seed = draw_seed(config, VIEW_UNLABELED, position)
        geometry = draw_geometry(seed, reader.size, options)
        image = reader.image(geometry.window)
        weak, _, valid = views.weak_view(image, None, geometry, options)
        # Both networks see the same crop; strong views are drawn apart.
        shown = [
            views.strong_view(weak, tf.random.fold_in(seed, place), colors)
            if kind == "strong"
            else weak
            for place, kind in enumerate(kinds, start=1)
        ]
        return *shown, valid[..., 0]

    return view
