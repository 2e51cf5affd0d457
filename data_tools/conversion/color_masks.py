"""Painted masks: the train ids that their colours mean.

Runs in conversion workers: NumPy only.
"""

import functools

import numpy as np

from c3tf.errors import DataError

_UNKNOWN = -1
_SHOWN = 8


def train_ids(path: str, colors: np.ndarray, table: dict[tuple[int, int, int], int]) -> np.ndarray:
    """Turns the colours of a mask into train ids.

    Args:
        path: the mask file, for the error.
        colors: uint8 `(H, W, 3)`.
        table: RGB colour to train id or `IGNORE`.

    Returns:
        uint8 `(H, W)`.

    Raises:
        DataError: the mask holds colours that are not in the table.
    """
    codes = _codes(colors)
    ids = _lookup(tuple(sorted(table.items())))[codes]
    if (ids == _UNKNOWN).any():
        found, counts = np.unique(codes[ids == _UNKNOWN], return_counts=True)
        most = np.argsort(-counts, kind="stable")[:_SHOWN]
        shown = ", ".join(f"#{found[i]:06x} ({counts[i]} pixels)" for i in most)
        raise DataError(
            f"{path} holds {len(found)} colours that the label map does not name: {shown}. Add "
            "them to a class or to what is ignored; many colours of few pixels mean that the mask "
            "was resized or saved with loss."
        )
    return ids.astype(np.uint8)


def _codes(colors: np.ndarray) -> np.ndarray:
    """Packs RGB triples into whole numbers: `(..., 3)` uint8 to `(...)` int32."""
    wide = colors.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


@functools.lru_cache(maxsize=1)
def _lookup(table: tuple[tuple[tuple[int, int, int], int], ...]) -> np.ndarray:
    """Returns the train id of each of the 2**24 colours; every worker makes it once."""
    lookup = np.full(1 << 24, _UNKNOWN, np.int16)
    known = np.asarray([color for color, _ in table], np.uint8)
    lookup[_codes(known)] = [train for _, train in table]
    return lookup
