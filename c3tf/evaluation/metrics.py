"""The numbers that papers report, from confusion counts.

Everything here is NumPy in float64 on a `(C, C)` matrix of counts whose rows are the true class
and whose columns are the predicted one. A number that is not defined is NaN.
"""

from collections.abc import Sequence

import numpy as np

# Which classes the mean IoU runs over, named after the benchmark whose official script does so:
#   cityscapes  every class that occurs in the ground truth or in the predictions
#   bdd100k     every class that occurs in the ground truth
# They differ by the classes that are predicted somewhere (IoU 0) and true nowhere.
AVERAGING = ("cityscapes", "bdd100k")


def iou(confusion: np.ndarray) -> np.ndarray:
    """Computes the intersection over union, TP / (TP + FP + FN), of every class.

    Returns:
        `(C,)` float64, NaN for a class that is neither true nor predicted anywhere.

    Raises:
        ValueError: `confusion` is not a square matrix of counts (as for all functions here).
    """
    confusion = _checked(confusion)
    hits = np.diagonal(confusion)
    return _ratio(hits, confusion.sum(0) + confusion.sum(1) - hits)


def mean_iou(confusion: np.ndarray, averaging: str = "cityscapes") -> float:
    """Averages the IoU over classes.

    Args:
        confusion: `(C, C)` counts.
        averaging: one of `AVERAGING`.

    Returns:
        The mean, NaN when no class takes part.
    """
    if averaging not in AVERAGING:
        raise ValueError(f"`averaging` must be one of {AVERAGING}. Received: {averaging!r}")
    values = iou(confusion)
    rows = _checked(confusion).sum(1)
    values = values[rows > 0] if averaging == "bdd100k" else values[~np.isnan(values)]
    return float(values.mean()) if values.size else float("nan")


def pixel_accuracy(confusion: np.ndarray) -> float:
    """Computes the share of counted pixels whose class is right."""
    confusion = _checked(confusion)
    return float(_ratio(np.trace(confusion), confusion.sum()))


def frequency_weighted_iou(confusion: np.ndarray) -> float:
    """Averages the IoU over classes, weighted by their share of the ground truth."""
    confusion = _checked(confusion)
    rows = confusion.sum(1)
    # A class with a pixel in the ground truth has a defined IoU; the others weigh nothing.
    weighted = rows[rows > 0] * iou(confusion)[rows > 0]
    return float(_ratio(weighted.sum(), rows.sum()))


def table(columns: dict[str, np.ndarray], class_names: Sequence[str]) -> str:
    """Lays out IoU and summary numbers, in percent, as text that can be printed.

    Args:
        columns: heading to `(C, C)` confusion counts, e.g. one entry for the student and one
            for the teacher.
        class_names: `C` names.

    Returns:
        Lines joined by newlines, without one at the end.
    """
    names = [*class_names, *_SUMMARY]
    width = max(map(len, names))
    cells = {head: [*iou(counts), *_summary(counts)] for head, counts in columns.items()}
    widths = {head: max(len(head), len("100.00")) for head in columns}
    lines = ["  ".join([f"{'IoU %':<{width}}", *(f"{h:>{widths[h]}}" for h in columns)])]
    rule = "-" * len(lines[0])
    lines.append(rule)
    for row, name in enumerate(names):
        if row == len(class_names):
            lines.append(rule)
        values = (f"{_percent(cells[h][row]):>{widths[h]}}" for h in columns)
        lines.append("  ".join([f"{name:<{width}}", *values]))
    return "\n".join(lines)


_SUMMARY = (
    *(f"mean IoU ({averaging} rule)" for averaging in AVERAGING),
    "frequency-weighted IoU",
    "pixel accuracy",
)


def _summary(confusion: np.ndarray) -> list[float]:
    """Returns the values of the rows named in `_SUMMARY`."""
    means = [mean_iou(confusion, averaging) for averaging in AVERAGING]
    return [*means, frequency_weighted_iou(confusion), pixel_accuracy(confusion)]


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.2f}"


def _ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    """Divides, giving NaN without a warning where the denominator is 0."""
    numerator = np.asarray(numerator, np.float64)
    denominator = np.asarray(denominator, np.float64)
    result = np.full(np.shape(denominator), np.nan)
    return np.divide(numerator, denominator, out=result, where=denominator > 0)


def _checked(confusion: np.ndarray) -> np.ndarray:
    confusion = np.asarray(confusion)
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise ValueError(f"`confusion` must be (C, C). Received: shape {confusion.shape}")
    if not np.issubdtype(confusion.dtype, np.integer) or confusion.min(initial=0) < 0:
        raise ValueError(f"`confusion` must hold counts (integers >= 0). Received: {confusion}")
    # Sums of int32 counts could overflow; a validation set has some 1e9 pixels.
    return confusion.astype(np.int64)
