"""Pictures of where predictions are wrong, one per image of a data set."""

import os

import numpy as np

from c3tf.errors import UserError
from c3tf.io import leftovers, places
from c3tf.io.images import write_png
from c3tf.visualization import drawing


class ErrorMaps:
    """Draws the error map of every image that an evaluation passes."""

    def __init__(self, folder: str | os.PathLike, names: list[str], overwrite: bool) -> None:
        """Checks that the pictures may be written, before time is spent on them.

        Args:
            folder: gets `NAME.png` for every name.
            names: the images to come.
            overwrite: replaces existing pictures.

        Raises:
            UserError: a picture exists, or a name leads out of the folder.
        """
        self._folder = folder
        leftovers.sweep(folder)
        existing = [path for path in map(self._path, names) if os.path.exists(path)]
        if existing and not overwrite:
            raise UserError(
                f"{len(existing)} of the error maps exist, e.g. {existing[0]}. Give another "
                "--error_maps, or add --overwrite."
            )

    def __call__(self, names: list[str], class_maps: np.ndarray, labels: np.ndarray) -> None:
        """Draws one batch: names, `(B, h, w)` uint8 class maps and labels."""
        for name, class_map, label in zip(names, class_maps, labels, strict=True):
            write_png(self._path(name), drawing.error_map(class_map, label))

    def _path(self, name: str) -> str:
        return places.below(self._folder, f"{name}.png")
