"""Palette masks: whether their indices can be ids, in one mask and from mask to mask.

An index is the id only where every mask was saved with the same palette. Programs that keep just
the colours that a picture has give one class another index in every mask; what is stored then looks
sound and is wrong. Runs in conversion workers: NumPy only.
"""

import dataclasses
from typing import Any

import numpy as np

from c3tf.errors import DataError

_HOW = (
    "Save the masks with one palette for all, or as grey images of ids; or use `python -m "
    "data_tools.folder` with --masks_are=colors, which goes by the colours."
)


@dataclasses.dataclass(frozen=True, slots=True)
class Entry:
    """An index that a mask holds: its colour, and all indices that have this colour there."""

    index: int
    color: str
    alike: tuple[int, ...]


@dataclasses.dataclass(frozen=True, slots=True)
class MaskPalette:
    """The indices that a palette mask holds, and its path."""

    path: str
    entries: tuple[Entry, ...]


def held(path: str, ids: np.ndarray, palette: np.ndarray) -> MaskPalette:
    """Lists the indices that occur in a mask.

    Args:
        path: the mask, for the error.
        ids: its indices, uint8 `(H, W)`.
        palette: its colours, uint8 `(count, 3)`.

    Raises:
        DataError: its palette is of greys that are not their indices, so both may be the ids.
    """
    used = [i for i in np.flatnonzero(np.bincount(ids.ravel())).tolist() if i < len(palette)]
    colors = [f"#{r:02x}{g:02x}{b:02x}" for r, g, b in palette.tolist()]
    is_grey = (palette == palette[:, :1]).all() and len(set(colors)) > 1
    odd = [i for i in used if palette[i, 0] != i]
    if is_grey and odd:
        raise DataError(
            f"{path} has a palette of greys that differ from their indices: index {odd[0]} is the "
            f"grey {palette[odd[0], 0]}, and either may be the id. {_HOW}"
        )
    alike: dict[str, list[int]] = {}
    for index, color in enumerate(colors):
        alike.setdefault(color, []).append(index)
    return MaskPalette(path, tuple(Entry(i, colors[i], tuple(alike[colors[i]])) for i in used))


class Consistency:
    """Compares the palettes of masks, one after the other, with those before."""

    def __init__(self) -> None:
        self._by_index: dict[int, tuple[str, str]] = {}
        self._by_color: dict[str, tuple[tuple[int, ...], str]] = {}

    def add(self, palette: MaskPalette) -> None:
        """Notes a mask.

        Raises:
            DataError: an earlier mask has another colour at one of its indices, or one of its
                colours at another index; names both.
        """
        mask = palette.path
        for entry in palette.entries:
            color, earlier = self._by_index.setdefault(entry.index, (entry.color, mask))
            if color != entry.color:
                raise DataError(
                    f"{earlier} and {mask} have different palettes: index {entry.index} is {color} "
                    f"in the first and {entry.color} in the second, so it cannot be the id. {_HOW}"
                )
            alike, earlier = self._by_color.setdefault(entry.color, (entry.alike, mask))
            if not set(alike) & set(entry.alike):
                raise DataError(
                    f"{earlier} and {mask} have different palettes: {entry.color} is index "
                    f"{alike[0]} in the first and {entry.index} in the second, so indices cannot "
                    f"be ids. {_HOW}"
                )

    def to_json(self) -> list[list[Any]]:
        """Returns what was seen as plain data."""
        return [
            [mask, index, color, self._by_color[color][0]]
            for index, (color, mask) in self._by_index.items()
        ]

    def merge(self, noted: list[list[Any]]) -> None:
        """Adds what another one saw, from its plain data."""
        for mask, index, color, alike in noted:
            self.add(MaskPalette(mask, (Entry(index, color, tuple(alike)),)))
