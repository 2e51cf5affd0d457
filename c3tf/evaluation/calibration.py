"""Calibration: whether a network is right as often as it says; NumPy on counts by confidence.

Pixels are counted by predicted class and by confidence, in equal bins from 0 to 1. The expected
calibration error is the mean distance of a bin's accuracy from its mean confidence, weighted by the
bins' pixels (Naeini et al., AAAI 2015; Guo et al., ICML 2017). 0 is best.
"""

import dataclasses
from typing import Any

import numpy as np

from c3tf.io import schema
from c3tf.labels import LabelMap

BINS = 15
# Confidences are added up as whole numbers of this fraction, so that no order changes a sum.
UNIT = 2**24

_ROWS = schema.listed(schema.listed(schema.integer(), BINS, BINS))
_COUNTS = schema.record({"pixels": _ROWS, "right": _ROWS, "confidence": _ROWS})


@dataclasses.dataclass(frozen=True, eq=False)
class Calibration:
    """Labeled pixels by predicted class and confidence.

    Attributes:
        pixels: `(C, BINS)` int64.
        right: `(C, BINS)` int64, those whose class is right.
        confidence: `(C, BINS)` int64, sum of their confidences in 1 / `UNIT`.
    """

    pixels: np.ndarray
    right: np.ndarray
    confidence: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error over all pixels, NaN without any."""
        totals = (held.sum(0, keepdims=True) for held in self._parts)
        return float(_errors(*totals)[0])

    @property
    def class_errors(self) -> np.ndarray:
        """The error over the pixels of each predicted class, `(C,)`, NaN for one without any."""
        return _errors(*self._parts)

    def diagram(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Returns what a reliability diagram shows of all classes together.

        Returns:
            Mean confidence, accuracy and share of the pixels of every bin, each `(BINS,)`; the
            first two are NaN for a bin without pixels.
        """
        pixels, right, confidence = (held.sum(0).astype(np.float64) for held in self._parts)
        with np.errstate(invalid="ignore"):
            return confidence / UNIT / pixels, right / pixels, pixels / pixels.sum()

    def to_json(self, label_map: LabelMap) -> dict[str, Any]:
        """Returns plain data; numbers that are undefined are `None`."""
        diagram = zip(*(held.tolist() for held in self.diagram()), strict=True)
        errors = zip(label_map.class_names, map(_number, self.class_errors), strict=True)
        return {
            "expected_calibration_error": _number(self.error),
            "by_class": dict(errors),
            "reliability": [
                {"confidence": _number(c), "accuracy": _number(a), "share": _number(s)}
                for c, a, s in diagram
            ],
            "counts": {
                "pixels": self.pixels.tolist(),
                "right": self.right.tolist(),
                "confidence": self.confidence.tolist(),
            },
        }

    @classmethod
    def from_json(cls, data: dict[str, Any], label_map: LabelMap) -> "Calibration":
        """Reads what `to_json` returned.

        Raises:
            SchemaError: it is something else, or of other classes.
        """
        schema.record({"counts": _COUNTS})(data, "calibration")
        held = {name: np.array(rows, np.int64) for name, rows in data["counts"].items()}
        if {one.shape for one in held.values()} != {(label_map.num_classes, BINS)}:
            raise schema.SchemaError(f"`calibration` must be of {label_map.num_classes} classes")
        return cls(held["pixels"], held["right"], held["confidence"])

    @property
    def _parts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return self.pixels, self.right, self.confidence


def _errors(pixels: np.ndarray, right: np.ndarray, confidence: np.ndarray) -> np.ndarray:
    """Returns the error of every row of `(N, BINS)` counts, `(N,)`."""
    # n_b * |accuracy - confidence| is a distance of sums: no bin is divided by.
    distances = np.abs(right - confidence / UNIT).sum(1)
    totals = pixels.sum(1).astype(np.float64)
    result = np.full(len(totals), np.nan)
    return np.divide(distances, totals, out=result, where=totals > 0)


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
