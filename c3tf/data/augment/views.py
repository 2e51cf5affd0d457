"""The weak and the strong view of one image (supplement, Table 1).

The weak view is geometry alone. The strong view is colour operations on the weak view, so both
share one draw of flip, rotation, scale and crop, and the label and the valid mask of the weak
view hold for the strong one.
"""

import dataclasses
from typing import TypeVar

import tensorflow as tf

from c3tf.config import AugmentConfig
from c3tf.data.augment.color_jitter import ColorJitterOptions, draw_color_jitter
from c3tf.data.augment.color_program import apply_program, concatenate
from c3tf.data.augment.geometry import Geometry, GeometryOptions
from c3tf.data.augment.rand_augment import RandAugmentOptions, draw_rand_augment
from c3tf.data.augment.warp import valid_mask, warp_image, warp_label

# A label map, or None where an image has none: what comes out is what went in.
Label = TypeVar("Label", bound=tf.Tensor | None)


@dataclasses.dataclass(frozen=True)
class StrongOptions:
    """The colour part of a strong view.

    Attributes:
        jitter: colour jitter, or None for none.
        rand_augment: RandAugment after the jitter, or None for none.
    """

    jitter: ColorJitterOptions | None
    rand_augment: RandAugmentOptions | None

    @classmethod
    def of(cls, augment: AugmentConfig) -> "StrongOptions":
        """Takes a configuration's options."""
        rand_augment = RandAugmentOptions.of(augment) if augment.randaugment else None
        return cls(ColorJitterOptions.of(augment), rand_augment)


def weak_view(
    window: tf.Tensor, label: Label, geometry: Geometry, options: GeometryOptions
) -> tuple[tf.Tensor, Label, tf.Tensor]:
    """Makes the weak view of an image of which only the drawn window was decoded.

    Args:
        window: uint8 RGB, the pixels of `geometry.window`.
        label: uint8 train ids of the same window with one channel, or None.
        geometry: a draw for the size of the whole image.
        options: the options it was drawn with.

    Returns:
        The image, uint8 `(h, w, 3)`, 0 where it has no content; the label, uint8 `(h, w, 1)`,
        `IGNORE` there, or None; the valid mask, bool `(h, w, 1)`, False there.
    """
    view = warp_image(window, geometry, options)
    if label is not None:
        label = warp_label(label, geometry, options)
    return view, label, valid_mask(geometry, options)


def strong_view(image: tf.Tensor, seed: tf.Tensor, options: StrongOptions) -> tf.Tensor:
    """Draws colour operations and applies them to a weak view.

    Args:
        image: uint8 `(h, w, 3)` of static shape, a weak view.
        seed: int32 or int64 `(2,)`; the caller folds it so that it differs from the weak view's.
        options: what to draw.

    Returns:
        uint8 `(h, w, 3)`; the weak view's label and valid mask hold for it.
    """
    # Splitting keeps the type, and the two types split differently.
    seeds = tf.random.experimental.stateless_split(tf.cast(seed, tf.int64), 2)
    programs = []
    if options.jitter is not None:
        programs.append(draw_color_jitter(seeds[0], options.jitter))
    if options.rand_augment is not None:
        programs.append(draw_rand_augment(seeds[1], options.rand_augment))
    return apply_program(image, concatenate(*programs)) if programs else image
