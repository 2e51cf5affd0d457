"""Options of views, and views of whole images, for tests that say only what they are about."""

import tensorflow as tf

from c3tf.data.augment.color_jitter import ColorJitterOptions
from c3tf.data.augment.geometry import GeometryOptions, draw_geometry
from c3tf.data.augment.rand_augment import RandAugmentOptions
from c3tf.data.augment.views import StrongOptions, weak_view
from c3tf.data.pixels import cut


def geometry(crop_size, **options) -> GeometryOptions:
    return GeometryOptions(
        **{
            "crop_size": crop_size,
            "flip": True,
            "max_degrees": 10.0,
            "integer_degrees": False,
            "scales": (),
            "rotation_order": "first",
            **options,
        }
    )


def color_jitter(**options) -> ColorJitterOptions:
    names = ("brightness", "contrast", "saturation", "hue")
    strengths = dict(zip(names, (0.5, 0.5, 0.5, 0.25), strict=True))
    probabilities = {f"{name}_probability": value for name, value in strengths.items()}
    return ColorJitterOptions(**{**strengths, **probabilities, **options})


def rand_augment(**options) -> RandAugmentOptions:
    own = {"num_ops": 2, "magnitude": 10.0, "magnitude_std": 0.5, "op_probability": 0.5}
    return RandAugmentOptions(**{**own, **options})


def strong() -> StrongOptions:
    return StrongOptions(color_jitter(), rand_augment())


def weak(image, label, seed, options):
    """Draws a geometry and makes the weak view of a whole image and, where given, its label."""
    drawn = draw_geometry(seed, tf.shape(image)[:2], options)
    label = None if label is None else cut(label, drawn.window)
    return weak_view(cut(image, drawn.window), label, drawn, options)
