"""The sections about calibration and spoiled images: results of `c3tf evaluate` side by side."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from c3tf.evaluation.result import EvaluationResult
from c3tf.io import json_files
from c3tf.reporting import charts
from c3tf.reporting.charts import Line
from c3tf.reporting.html import Html, element, join, swatch, table
from c3tf.reporting.runs import ReportError, short_names

_DIAGONAL = "as right as it says"


def read(paths: Sequence[str]) -> dict[str, EvaluationResult]:
    """Reads files that `c3tf evaluate` wrote.

    Args:
        paths: the files.

    Returns:
        The results by the shortest ends of their paths that tell them apart.

    Raises:
        ReportError: a file is no such result, or the classes are others than the first one's.
    """
    found: dict[str, EvaluationResult] = {}
    for path, name in zip(paths, short_names(paths), strict=True):
        text = "{path} is no result of `c3tf evaluate`: {reason}."
        data = json_files.read(path, error=ReportError, text=text)
        try:
            result = EvaluationResult.from_json(data)
        except (ValueError, KeyError) as error:
            raise ReportError(text.format(path=path, reason=error)) from error
        first = next(iter(found.values()), result)
        if result.label_map.class_names != first.label_map.class_names:
            raise ReportError(f"{path} is of other classes than {paths[0]}.")
        found[Path(name).with_suffix("").as_posix()] = result
    return found


def sections(results: Mapping[str, EvaluationResult]) -> list[tuple[str, Html]]:
    """Makes the sections that the results have something for, each with its heading."""
    if not results:
        return []
    made = [("Measured networks", _overview(results))]
    if any(result.calibration for result in results.values()):
        made.append(("Calibration", _calibration(results)))
    if any(result.corrupted for result in results.values()):
        made.append(("Spoiled images", _corruptions(results)))
    return made


def _overview(results: Mapping[str, EvaluationResult]) -> Html:
    rows = []
    for name, result in results.items():
        stated = result.protocol
        facts = [str(stated.get(key, "-")) for key in ("model", "weights", "step", "data", "split")]
        score, error = _percent(result.mean_iou()), _error(result)
        rows.append([name, *facts, f"{result.images:,}", score, error])
    head = ["result", "model", "weights", "step", "data", "split", "images", "mIoU"]
    return table([*head, "calibration error"], rows, "text")


def _calibration(results: Mapping[str, EvaluationResult]) -> Html:
    measured = {name: one for name, one in results.items() if one.calibration is not None}
    lines = [Line(_DIAGONAL, [(0.0, 0.0), (1.0, 1.0)], charts.COLORS - 1, True, "")]
    shares = []
    for color, (name, result) in enumerate(measured.items()):
        said, right, share = result.calibration.diagram()
        held = ~np.isnan(said)
        accuracies = list(zip(said[held], right[held], strict=True))
        lines.append(Line(name, accuracies, color, said=f"error {_error(result)}"))
        shares.append(Line(name, list(zip(said[held], share[held], strict=True)), color, said=""))
    drawn = element(
        "div",
        {"class": "charts"},
        charts.line_chart("Accuracy by confidence (reliability)", lines, "confidence"),
        charts.line_chart("Share of the pixels by confidence", shares, "confidence"),
    )
    label_map = next(iter(measured.values())).label_map
    rows: list[list[str]] = []
    for place, name in enumerate(label_map.class_names):
        errors = [_percent(one.calibration.class_errors[place]) for one in measured.values()]
        rows.append([join([swatch(label_map.colors[place]), name]), *errors])
    rows.append([element("b", {}, "all pixels"), *map(_error, measured.values())])
    note = element(
        "p",
        {"class": "soft"},
        "Expected calibration error: how far confidence and accuracy lie apart, over the pixels "
        "that are predicted as a class. Below the dashed line a network is surer than it is right.",
    )
    return join([drawn, note, table(["class", *measured], rows)])


def _corruptions(results: Mapping[str, EvaluationResult]) -> Html:
    kinds = dict.fromkeys(kind for one in results.values() for kind in one.corrupted)
    drawn, rows = [], []
    for kind in kinds:
        lines = []
        for color, (name, result) in enumerate(results.items()):
            spoiled = result.corrupted.get(kind, {})
            levels = {0: result, **spoiled} if spoiled else {}
            points = [(float(level), 100 * one.mean_iou()) for level, one in levels.items()]
            lines.append(Line(name, sorted(points), color))
        drawn.append(charts.line_chart(f"{kind}: mIoU in percent", lines, "severity, 0 is none"))
    cells = dict.fromkeys(
        (kind, severity)
        for kind in kinds
        for one in results.values()
        for severity in sorted(one.corrupted.get(kind, {}))
    )
    rows.append(["none", *(_both(one) for one in results.values())])
    for kind, severity in cells:
        found = (one.corrupted.get(kind, {}).get(severity) for one in results.values())
        rows.append([f"{kind} {severity}", *map(_both, found)])
    means = [_mean(one) for one in results.values()]
    rows.append([element("b", {}, "mean of these"), *means])
    note = element(
        "p",
        {"class": "soft"},
        "mIoU (cityscapes rule) and, where it was measured, the expected calibration error.",
    )
    charts_of_all = element("div", {"class": "charts"}, *drawn)
    return join([charts_of_all, note, table(["images", *results], rows)])


def _both(result: EvaluationResult | None) -> str:
    if result is None:
        return "-"
    error = "" if result.calibration is None else f", error {_error(result)}"
    return f"{_percent(result.mean_iou())}{error}"


def _mean(result: EvaluationResult) -> str:
    spoiled = [one for by_severity in result.corrupted.values() for one in by_severity.values()]
    if not spoiled:
        return "-"
    text = _percent(float(np.mean([one.mean_iou() for one in spoiled])))
    if all(one.calibration is not None for one in spoiled):
        text += f", error {_percent(float(np.mean([one.calibration.error for one in spoiled])))}"
    return text


def _error(result: EvaluationResult) -> str:
    return "-" if result.calibration is None else _percent(result.calibration.error)


def _percent(value: float) -> str:
    return "-" if np.isnan(value) else f"{100 * value:.2f} %"
