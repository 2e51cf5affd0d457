"""The feature grid: the pixels of an image on which its features lie."""

import dataclasses

import numpy as np
import tensorflow as tf


@dataclasses.dataclass(frozen=True)
class FeatureGrid:
    """The pixels on which `resize.bilinear` puts the features, to the nearest one.

    Attributes:
        rows: `(h,)` int32, the row of each feature row, ascending.
        columns: `(w,)` int32, likewise.
    """

    rows: np.ndarray
    columns: np.ndarray

    @classmethod
    def between(
        cls, features: tuple[int, int], image: tuple[int, int], align_corners: bool = False
    ) -> "FeatureGrid":
        """Lays a grid over an image.

        Args:
            features: height and width of the feature maps.
            image: height and width of the image in pixels.
            align_corners: as for `resize.bilinear`.

        Returns:
            The grid.
        """
        return cls(*(_places(f, i, align_corners) for f, i in zip(features, image, strict=True)))

    def take(self, x: tf.Tensor) -> tf.Tensor:
        """Takes the pixel of every feature: nearest-neighbour resizing to the grid.

        Args:
            x: `(B, H, W, ...)` of any dtype.

        Returns:
            `(B, h, w, ...)`.
        """
        return tf.gather(tf.gather(x, self.rows, axis=1), self.columns, axis=2)

    def boxes(self, boxes: tf.Tensor) -> tf.Tensor:
        """Converts rectangles from pixels to features.

        A feature belongs to the rectangle when its pixel does, so that masks drawn from the result
        are the full-size masks at the grid's pixels.

        Args:
            boxes: `(..., 4)` int32: top, left, height, width in pixels.

        Returns:
            `(..., 4)` int32 in features.
        """
        top, left, height, width = tf.unstack(boxes, axis=-1)
        first_row, end_row = _before(self.rows, top), _before(self.rows, top + height)
        first_column, end_column = _before(self.columns, left), _before(self.columns, left + width)
        return tf.stack(
            [first_row, first_column, end_row - first_row, end_column - first_column], axis=-1
        )


def _places(features: int, pixels: int, align_corners: bool) -> np.ndarray:
    place = np.arange(features, dtype=np.int64)
    if align_corners:
        # Rounded half up, in integers; a single feature lies at the start, as linspace has it.
        steps = max(features - 1, 1)
        return ((2 * place * (pixels - 1) + steps) // (2 * steps)).astype(np.int32)
    return ((2 * place + 1) * pixels // (2 * features)).astype(np.int32)


def _before(places: np.ndarray, limit: tf.Tensor) -> tf.Tensor:
    """Counts the features before a pixel."""
    return tf.reduce_sum(tf.cast(places < limit[..., None], tf.int32), axis=-1)
