"""Tileable noise images, made once per process from a fixed seed and sampled everywhere.

A scene draws only offsets into these images, so their cost is paid once and a scene still depends
on nothing but its own seed.
"""

import functools

import numpy as np
from PIL import Image

SIZE = 512
# Cells per side of the octaves that are summed, with weights.
_OCTAVES = {
    "fine": ((256, 0.6), (128, 0.4)),
    "leaf": ((64, 0.35), (128, 0.4), (256, 0.25)),
    "cloud": ((4, 0.4), (8, 0.25), (16, 0.17), (32, 0.1), (64, 0.08)),
    "stain": ((16, 0.45), (32, 0.25), (64, 0.15), (128, 0.15)),
}


class Noise:
    """Tileable fields in 0 to 1 with a flat histogram, `SIZE` by `SIZE`, by name."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self._fields = {name: _field(rng, octaves) for name, octaves in _OCTAVES.items()}
        self._tiled = {name: np.tile(f, (2, 2)) for name, f in self._fields.items()}

    def patch(self, rng: np.random.Generator, name: str, height: int, width: int) -> np.ndarray:
        """Returns a `(height, width)` piece at a random place; larger pieces repeat."""
        top, left = int(rng.integers(SIZE)), int(rng.integers(SIZE))
        if height <= SIZE and width <= SIZE:
            return self._tiled[name][top : top + height, left : left + width]
        rows = (top + np.arange(height)) % SIZE
        columns = (left + np.arange(width)) % SIZE
        return self._fields[name][rows[:, None], columns]

    def at(self, name: str, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """Looks up the field at integer coordinates, which wrap around."""
        # SIZE is a power of two.
        return self._fields[name].ravel()[(rows & (SIZE - 1)) * SIZE + (columns & (SIZE - 1))]


def _field(rng: np.random.Generator, octaves: tuple) -> np.ndarray:
    """Sums octaves of smoothed random grids and flattens the histogram."""
    total = np.zeros((SIZE, SIZE), np.float32)
    for cells, weight in octaves:
        grid = np.pad(rng.random((cells, cells), np.float32), 2, mode="wrap")
        step = SIZE // cells
        large = Image.fromarray(grid).resize((step * (cells + 4),) * 2, Image.Resampling.BICUBIC)
        total += weight * np.asarray(large)[2 * step : 2 * step + SIZE, 2 * step : 2 * step + SIZE]
    ranks = np.empty(SIZE * SIZE, np.float32)
    ranks[np.argsort(total.ravel(), kind="stable")] = np.linspace(0, 1, SIZE * SIZE)
    return ranks.reshape(SIZE, SIZE)


@functools.cache
def shared() -> Noise:
    """Returns the process's noise images; the same in every process."""
    return Noise(seed=0)
