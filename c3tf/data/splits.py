"""Splits of the training images into labeled and unlabeled ones.

A split is a text list of the labeled names, one per line; the rest of the data set is unlabeled.
Lists other projects publish (`image label` paths per line) are read as well.
"""

import dataclasses
import hashlib
import itertools
import re
from collections.abc import Iterable, Sequence

import numpy as np

from c3tf.data import list_lines
from c3tf.data.names import of_file as record_name
from c3tf.errors import DataError
from c3tf.io import files

_HEADER = re.compile(
    r"#\s*c3tf split:.*?(?:\bseed (?P<seed>\d+), )?hash (?P<hash>[0-9a-f]{12})\s*$"
)
_SHOWN = 3
__all__ = ["Split", "draw", "read", "record_name", "write"]


@dataclasses.dataclass(frozen=True)
class Split:
    """The labeled and the unlabeled names of a training set, both sorted.

    Attributes:
        labeled: names whose labels may be used.
        unlabeled: the other names; all of them again when every image is labeled ("full").
        seed: what the split was drawn with, or None for a list from elsewhere.
        hash: first 12 hex digits of the SHA-256 over the sorted labeled names joined by newlines.
    """

    labeled: tuple[str, ...]
    unlabeled: tuple[str, ...]
    seed: int | None
    hash: str


def draw(names: Iterable[str], count: int, seed: int) -> Split:
    """Draws the labeled images as the published splits of the paper were drawn.

    `numpy.random.RandomState(seed).permutation(n)` over the sorted names; the first `count` are
    labeled (French et al., whose seeds are 12345, 23456 and 34567).

    Args:
        names: names of all training images, in any order.
        count: labeled images; all of them ("full") puts every image in both sets.
        seed: 0 to 2**32 - 1.

    Returns:
        The split.

    Raises:
        DataError: `count` does not fit the number of names, or a name comes twice.
    """
    ordered = sorted(names)
    if len(set(ordered)) != len(ordered):
        raise DataError(f"A name comes twice: {_shown(_repeated(ordered))}")
    if not 1 <= count <= len(ordered):
        raise DataError(
            f"`count` must be 1 to {len(ordered)}, the number of images. Received: count={count}"
        )
    if not 0 <= seed < 2**32:
        raise DataError(f"`seed` must be 0 to {2**32 - 1}. Received: seed={seed}")
    order = np.random.RandomState(seed).permutation(len(ordered))
    return _make([ordered[i] for i in order[:count]], ordered, seed)


def write(path: str, split: Split) -> None:
    """Writes a split as a text list; an existing file is left alone unless it is the same split.

    Raises:
        DataError: there is a file at `path` with other contents.
    """
    total = len(set(split.labeled) | set(split.unlabeled))
    seed = "" if split.seed is None else f"seed {split.seed}, "
    header = f"# c3tf split: {len(split.labeled)} of {total} labeled, {seed}hash {split.hash}"
    text = "\n".join([header, *split.labeled]) + "\n"
    if files.exists(path):
        if files.read_bytes(path) == text.encode("utf-8"):
            return
        raise DataError(f"{path} exists and holds something else. Choose another --output.")
    files.write_text(path, text)


def read(path: str, names: Sequence[str], image_suffix: str = "") -> Split:
    """Reads a split list of this project or of its peers.

    A line is what `list_lines.Parser` reads: a name of the data set, or a path, or two (`image
    label`). Empty lines are skipped, and lines that start with `#` and are no name.

    Args:
        path: the list.
        names: names of all training images of the data set it is meant for.
        image_suffix: what the stems of its image files have behind the name.

    Returns:
        The split; names that are not listed are unlabeled.

    Raises:
        DataError: the list is missing or empty, names images that are absent or come twice, or
            several in a line, or was changed after it was written.
    """
    if not files.exists(path):
        raise DataError(
            f"There is no split list {path!r}. Draw one with `python -m data_tools.splits "
            "--data=... --labeled=... --output=...`."
        )
    lines = list_lines.read(path)
    header = next((match for line in lines if (match := _HEADER.match(line))), None)
    known = set(names)
    entries = [line for line in lines if line and (not line.startswith("#") or line in known)]
    if not entries:
        raise DataError(f"{path} names no image.")
    labeled = _resolve(path, entries, list_lines.Parser(known, image_suffix))
    seed = int(header["seed"]) if header and header["seed"] else None
    split = _make(labeled, names, seed)
    if header and header["hash"] != split.hash:
        raise DataError(
            f"{path} was changed: its first line says hash {header['hash']}, its names give "
            f"{split.hash}. Restore it, or delete that line to use it as a new split."
        )
    return split


def _resolve(path: str, entries: list[str], parser: list_lines.Parser) -> list[str]:
    """Finds the record name each line means."""
    found, absent, mixed = [], [], []
    for entry in entries:
        try:
            name = parser.name(entry)
        except ValueError as error:
            mixed.append(str(error))
            continue
        if name is None:
            absent.append(entry)
        else:
            found.append(name)
    if mixed:
        raise DataError(
            f"{path} has {len(mixed)} lines with several images: {_shown(mixed)}. A line is one "
            "image, with its label behind it or alone."
        )
    if absent:
        raise DataError(
            f"{path} names {len(absent)} images that the data set does not hold: {_shown(absent)}. "
            f"The data set holds {len(parser.known)} images such as {_shown(sorted(parser.known))}."
        )
    if repeated := _repeated(sorted(found)):
        raise DataError(f"{path} names images twice: {_shown(repeated)}")
    return found


def _make(labeled: Iterable[str], names: Iterable[str], seed: int | None) -> Split:
    """Builds a split from its labeled names and all names."""
    chosen = sorted(labeled)
    everything = sorted(names)
    rest = sorted(set(everything).difference(chosen)) or everything
    digest = hashlib.sha256("\n".join(chosen).encode("utf-8")).hexdigest()[:12]
    return Split(tuple(chosen), tuple(rest), seed, digest)


def _repeated(ordered: list[str]) -> list[str]:
    """Returns the values that come more than once in a sorted list."""
    pairs = itertools.pairwise(ordered)
    return sorted({first for first, second in pairs if first == second})


def _shown(values: Sequence[str]) -> str:
    """Shows the first few of many values."""
    more = f" and {len(values) - _SHOWN} more" if len(values) > _SHOWN else ""
    return ", ".join(values[:_SHOWN]) + more
