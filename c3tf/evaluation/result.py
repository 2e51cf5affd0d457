"""The outcome of an evaluation: counts, what follows from them, and how they were made."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from c3tf.evaluation import metrics
from c3tf.evaluation.calibration import Calibration
from c3tf.io import schema
from c3tf.labels import LabelMap

# Of the JSON form; raised when a reader of the earlier one would misread it.
SCHEMA = 2


_COUNTS = schema.listed(schema.listed(schema.integer(high=2**53)))
_STATED = schema.record(
    {
        "images": schema.integer(),
        "protocol": schema.thing,
        "metrics": schema.thing,
        "label_map": schema.thing,
        "confusion": _COUNTS,
    },
    {
        "confident": schema.optional(schema.record({"confusion": _COUNTS})),
        "calibration": schema.optional(schema.thing),
        "corrupted": schema.named(schema.named(schema.record({"confusion": _COUNTS}))),
    },
)


def counts(rows: list[list[int]], label_map: LabelMap) -> np.ndarray:
    """Returns a confusion matrix `(C, C)` int64 from plain data.

    Raises:
        SchemaError: it holds no counts of these classes.
    """
    _COUNTS(rows, "confusion")
    classes = label_map.num_classes
    if len(rows) != classes or any(len(row) != classes for row in rows):
        raise schema.SchemaError(f"`confusion` must be of {classes} x {classes} classes")
    return np.array(rows, np.int64)


@dataclasses.dataclass(frozen=True, eq=False)
class EvaluationResult:
    """The counts of one evaluation and what follows from them.

    Attributes:
        confusion: `(C, C)` int64; rows are the true class, columns the predicted one.
        label_map: the `C` classes.
        images: number of images.
        protocol: how the counts were made.
        confident: the counts without low-confidence pixels, where they were asked for.
        calibration: counts by confidence, where they were asked for.
        corrupted: results on spoiled images, by corruption and severity.
    """

    confusion: np.ndarray
    label_map: LabelMap
    images: int
    protocol: dict[str, Any]
    confident: np.ndarray | None = None
    calibration: Calibration | None = None
    corrupted: Mapping[str, Mapping[int, "EvaluationResult"]] = dataclasses.field(
        default_factory=dict
    )

    @property
    def iou(self) -> np.ndarray:
        """IoU per class, `(C,)` float64, NaN where undefined."""
        return metrics.iou(self.confusion)

    def mean_iou(self, averaging: str = "cityscapes") -> float:
        """Averages the IoU by one of the rules in `metrics.AVERAGING`."""
        return metrics.mean_iou(self.confusion, averaging)

    def table(self, heading: str = "IoU") -> str:
        """Lays the numbers out as printable text, those of confident pixels beside the others."""
        columns = {heading: self.confusion}
        if self.confident is not None:
            columns["confident"] = self.confident
        return metrics.table(columns, self.label_map.class_names)

    def calibration_table(self) -> str:
        """Lays out the calibration errors, in percent, as printable text; empty without any."""
        if self.calibration is None:
            return ""
        errors = [*self.calibration.class_errors, self.calibration.error]
        names = [*self.label_map.class_names, "all pixels"]
        width = max(map(len, names))
        cells = zip(names, map(_percent, errors), strict=True)
        rows = [f"{name:<{width}}  {cell:>6}" for name, cell in cells]
        head = f"{'calibration error %':<{width}}"
        return "\n".join([head, "-" * (width + 8), *rows])

    def corruption_table(self, averaging: str = "cityscapes") -> str:
        """Lays out what is left on spoiled images as printable text; empty without any."""
        rows = []
        for kind, by_severity in self.corrupted.items():
            for severity, found in by_severity.items():
                cells = [f"{kind} {severity}", _percent(found.mean_iou(averaging))]
                if found.calibration is not None:
                    cells.append(_percent(found.calibration.error))
                rows.append(cells)
        if not rows:
            return ""
        head = ["corruption", "mean IoU %", "calibration error %"][: len(rows[0])]
        return "\n".join(
            "  ".join([f"{line[0]:<10}", *map(str.rjust, line[1:], map(len, head[1:]))])
            for line in [head, *rows]
        )

    def to_json(self) -> dict[str, Any]:
        """Returns plain data; numbers that are undefined are `None`."""
        data = {
            "schema": SCHEMA,
            "images": self.images,
            "protocol": self.protocol,
            "metrics": self._metrics(self.confusion),
            "label_map": self.label_map.to_json(),
            "confusion": self.confusion.tolist(),
        }
        if self.confident is not None:
            data["confident"] = {
                "share_of_labeled_pixels": _number(
                    float(self.confident.sum() / max(self.confusion.sum(), 1))
                ),
                "metrics": self._metrics(self.confident),
                "confusion": self.confident.tolist(),
            }
        if self.calibration is not None:
            data["calibration"] = self.calibration.to_json(self.label_map)
        if self.corrupted:
            kept = ("metrics", "confusion", "calibration")
            data["corrupted"] = {
                kind: {
                    str(severity): {k: v for k, v in result.to_json().items() if k in kept}
                    for severity, result in by_severity.items()
                }
                for kind, by_severity in self.corrupted.items()
            }
        return data

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "EvaluationResult":
        """Reads what `to_json` returned.

        Raises:
            ValueError: `data` is something else, or of another schema.
        """
        if data.get("schema") != SCHEMA:
            raise ValueError(f"`schema` must be {SCHEMA}. Received: schema={data.get('schema')!a}")
        _STATED(data, "")
        label_map, confident = LabelMap.from_json(data["label_map"]), data.get("confident")
        whole = cls(
            confusion=counts(data["confusion"], label_map),
            label_map=label_map,
            images=data["images"],
            protocol=data["protocol"],
            confident=None if confident is None else counts(confident["confusion"], label_map),
            calibration=_calibration(data, label_map),
        )
        corrupted = {
            kind: {int(severity): whole._spoiled(held) for severity, held in by_severity.items()}
            for kind, by_severity in data.get("corrupted", {}).items()
        }
        return dataclasses.replace(whole, corrupted=corrupted)

    def _spoiled(self, data: dict[str, Any]) -> "EvaluationResult":
        return dataclasses.replace(
            self,
            confusion=counts(data["confusion"], self.label_map),
            confident=None,
            calibration=_calibration(data, self.label_map),
        )

    def _metrics(self, confusion: np.ndarray) -> dict[str, Any]:
        named = zip(self.label_map.class_names, map(_number, metrics.iou(confusion)), strict=True)
        return {
            **{
                f"mean_iou_{rule}": _number(metrics.mean_iou(confusion, rule))
                for rule in metrics.AVERAGING
            },
            "frequency_weighted_iou": _number(metrics.frequency_weighted_iou(confusion)),
            "pixel_accuracy": _number(metrics.pixel_accuracy(confusion)),
            "iou": dict(named),
        }


def _calibration(data: dict[str, Any], label_map: LabelMap) -> Calibration | None:
    held = data.get("calibration")
    return None if held is None else Calibration.from_json(held, label_map)


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.2f}"


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
