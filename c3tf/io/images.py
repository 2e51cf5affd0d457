"""Class maps, pictures and arrays as files that are either whole or not there."""

import os

import numpy as np
from PIL import Image

from c3tf.io import files
from c3tf.labels import IGNORE, LabelMap


def raw_id_table(label_map: LabelMap) -> np.ndarray:
    """Builds the table from train ids to the data set's raw ids, as its official server wants.

    Returns:
        `(256,)` uint8; values that are no class map to `IGNORE`.

    Raises:
        ValueError: a raw id does not fit into a byte.
    """
    limits = np.iinfo(np.uint8)
    outside = [raw for raw in label_map.raw_ids if not limits.min <= raw <= limits.max]
    if outside:
        raise ValueError(
            f"Raw ids of label map {label_map.name!r} must be bytes to be written as PNG. "
            f"Received: {outside}"
        )
    table = np.full(limits.max + 1, IGNORE, np.uint8)
    table[: label_map.num_classes] = label_map.raw_ids
    return table


def write_class_map(
    path: str | os.PathLike, class_map: np.ndarray, raw_ids_of: LabelMap | None = None
) -> None:
    """Writes a class map as an 8-bit grey PNG.

    Args:
        path: the file; an existing one is replaced, missing folders are made.
        class_map: `(H, W)` uint8 train ids.
        raw_ids_of: writes this label map's raw ids in place of train ids.
    """
    class_map = np.asarray(class_map)
    if class_map.ndim != 2 or class_map.dtype != np.uint8:
        raise ValueError(
            "`class_map` must be (H, W) uint8. "
            f"Received: shape {class_map.shape}, {class_map.dtype}"
        )
    write_png(path, class_map if raw_ids_of is None else raw_id_table(raw_ids_of)[class_map])


def write_png(path: str | os.PathLike, pixels: np.ndarray) -> None:
    """Writes `(H, W)` or `(H, W, 3)` uint8 pixels as PNG, replacing an existing file."""
    with files.whole(path, durable=False) as file:
        Image.fromarray(pixels).save(file, format="png")


def write_arrays(path: str | os.PathLike, **arrays: np.ndarray) -> None:
    """Writes arrays as a compressed NumPy archive, replacing an existing file."""
    with files.whole(path, durable=False) as file:
        np.savez_compressed(file, **arrays)
