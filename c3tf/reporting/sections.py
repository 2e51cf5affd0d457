"""The sections of the page, each made from the same list of runs."""

import os
from collections.abc import Sequence

import numpy as np
from PIL import Image

from c3tf.config import Config, by_flag
from c3tf.evaluation import metrics
from c3tf.labels import LabelMap
from c3tf.reporting import charts
from c3tf.reporting.charts import Line
from c3tf.reporting.html import Html, bar, element, figure, join, swatch, table
from c3tf.reporting.images import data_url
from c3tf.reporting.runs import Evaluation, RunData
from c3tf.visualization import drawing
from c3tf.visualization.examples import Example

# Title of a chart and the scalar that it shows, in the order of the method.
_CURVES = (
    ("Loss", "loss"),
    ("Supervised loss", "supervised"),
    ("Consistency loss", "consistency"),
    ("Contrastive loss", "contrast"),
    ("lambda1, weight of the consistency loss", "lambda1"),
    ("Learning rate", "learning_rate"),
    ("Share of confident pixels", "confident"),
    ("Teacher-student agreement", "agreement"),
    ("Share of hard anchors", "hard_share"),
    ("Anchors per step", "anchors"),
    ("Seconds per step", "seconds_per_step"),
    ("Wait for input, seconds per step", "input_wait"),
)
_SUMMARY = (
    ("mean IoU (cityscapes rule)", "mean_iou_cityscapes"),
    ("mean IoU (bdd100k rule)", "mean_iou_bdd100k"),
    ("frequency-weighted IoU", "frequency_weighted_iou"),
    ("pixel accuracy", "pixel_accuracy"),
)
_NETWORKS = ("student", "teacher")
_COLUMNS = 60


def overview(runs: Sequence[RunData]) -> Html:
    """Lists the runs with their data, progress and scores."""
    rows = []
    for run in runs:
        config = run.facts["config"]
        training, network = config.get("training", {}), config.get("network", {})
        done = run.scalars[-1]["step"] if run.scalars else 0
        scores = [_percent(e.metrics["mean_iou_cityscapes"]) if e else "-" for e in _last(run)]
        split = str(run.facts.get("split", "-"))
        backbone = str(network.get("backbone", "-"))
        total = training.get("steps", 0)
        steps = f"{done:,} of {total:,}" if isinstance(total, int) else f"{done:,} of {total}"
        method = str(config.get("method", {}).get("name", "-"))
        rows.append([run.name, method, backbone, split, steps, *scores])
    head = ["run", "method", "backbone", "split", "steps", "mIoU student", "mIoU teacher"]
    return table(head, rows, "text")


def curves(runs: Sequence[RunData]) -> Html:
    """Draws the scores of the evaluations and every scalar of the log over the steps."""
    drawn = []
    scores = [
        Line(
            _named(run, runs, network),
            [
                (e.step, e.metrics["mean_iou_cityscapes"] or 0)
                for e in run.evaluations
                if e.network == network
            ],
            color,
            dashed=network == "teacher",
        )
        for color, run in enumerate(runs)
        for network in _NETWORKS
    ]
    if any(line.points for line in scores):
        drawn.append(charts.line_chart("Mean IoU (cityscapes rule)", scores))
    for title, name in _CURVES:
        lines = [Line(run.name, run.curve(name), color) for color, run in enumerate(runs)]
        if any(line.points for line in lines):
            drawn.append(charts.line_chart(title, lines))
    return (
        element("div", {"class": "charts"}, *drawn) if drawn else _nothing("No scalar was logged.")
    )


def classes(runs: Sequence[RunData]) -> Html:
    """Tabulates the IoU of every class after the newest evaluation."""
    columns = [
        (f"{_named(run, runs, evaluation.network)}, step {evaluation.step:,}", color, evaluation)
        for color, run in enumerate(runs)
        for evaluation in _last(run)
        if evaluation
    ]
    if not columns:
        return _nothing("Nothing was evaluated yet.")
    # A table for every set of classes: runs of other data have others.
    label_maps = dict.fromkeys(evaluation.label_map for *_, evaluation in columns)
    parts = []
    for label_map in label_maps:
        own = [column for column in columns if column[2].label_map == label_map]
        parts.append(_class_table(label_map, own))
    return join(parts)


def confusions(runs: Sequence[RunData]) -> Html:
    """Draws the confusion matrix of every network, in percent of each true class."""
    parts = []
    for run in runs:
        for evaluation in filter(None, _last(run)):
            title = f"{run.name}, {evaluation.network}, step {evaluation.step:,}"
            held = element(
                "details", {"open": ""}, element("summary", {}, title), _matrix(evaluation)
            )
            parts.append(held)
    note = "Rows are the true class, columns the predicted one; percent of the true class's pixels."
    if not parts:
        return _nothing("Nothing was evaluated yet.")
    return join([element("p", {"class": "soft"}, note), *parts])


def class_statistics(runs: Sequence[RunData]) -> Html:
    """Draws thresholds, confident shares and anchors of every class over the steps."""
    parts = []
    for run in runs:
        for title, prefix, percent in (
            ("DCRS thresholds", "threshold/", False),
            ("Share of confident pixels", "confident/", True),
            ("Anchors per step", "anchors/", False),
        ):
            entries = [e for e in run.scalars if any(key.startswith(prefix) for key in e)]
            if entries:
                parts.append(_class_map(f"{run.name}: {title}", entries, prefix, percent))
    return join(parts) if parts else _nothing("These runs logged nothing per class.")


def examples(runs: Sequence[RunData]) -> Html:
    """Shows validation images with labels, predictions and errors."""
    strips: dict[tuple, list[tuple[RunData, Example]]] = {}
    for run in runs:
        for example in run.examples:
            # Runs of other data may have another photo of that name, or other classes on it.
            key = _label_map(run), example.name, example.image.tobytes(), example.label.tobytes()
            strips.setdefault(key, []).append((run, example))
    parts = []
    for (label_map, name, *_), shown in strips.items():
        if label_map is not None:
            parts += [element("h3", {}, name), _strip(shown, label_map, runs)]
    for path in sorted({run.sheet for run in runs if run.sheet and not run.examples}):
        with Image.open(path) as picture:
            source = data_url(np.asarray(picture.convert("RGB")), side=0)
        text = f"Predictions, from {os.path.basename(path)}"
        image = element("img", {"class": "sheet", "alt": text, "src": source})
        parts.append(element("p", {}, image))
    note = "Errors are red, right pixels grey, pixels without a label black."
    if not parts:
        return _nothing("There are no examples: runs write them when they end.")
    label_maps = dict.fromkeys(e.label_map for run in runs if run.examples for e in run.evaluations)
    return join([element("p", {"class": "soft"}, note), *map(legend, label_maps), *parts])


def differences(runs: Sequence[RunData]) -> Html:
    """Tabulates the options and facts that are not the same in all runs."""
    flat = [_flat(run) for run in runs]
    names = dict.fromkeys(name for options in flat for name in options)
    rows = [
        [name, *(options.get(name, "-") for options in flat)]
        for name in names
        if len({options.get(name) for options in flat}) > 1
    ]
    if not rows:
        return _nothing("These runs do not differ.")
    return table(["option", *(run.name for run in runs)], rows, "text")


def configurations(runs: Sequence[RunData]) -> Html:
    """Lists all options of every run; those that are not the default stand out."""
    defaults = {name: _shown(value) for name, value in by_flag(Config().to_dict()).items()}
    parts = []
    for run in runs:
        rows = [
            [
                name,
                value
                if defaults.get(name, value) == value
                else element("b", {"class": "changed"}, value),
            ]
            for name, value in _flat(run).items()
        ]
        summary = element("summary", {}, run.name)
        parts.append(element("details", {}, summary, table(["option", "value"], rows, "text")))
    note = "Values that are not the default stand out."
    return join([element("p", {"class": "soft"}, note), *parts])


def events(runs: Sequence[RunData]) -> Html:
    """Lists what happened to the runs: starts, changed flags, stops."""
    rows = []
    for run in runs:
        for event in run.events:
            known = {"event", "step", "time"}
            facts = "; ".join(f"{k}: {_shown(v)}" for k, v in event.items() if k not in known)
            cells = (event.get("time", "-"), event.get("step", "-"), event.get("event", "-"), facts)
            rows.append([run.name, *map(str, cells)])
    if not rows:
        return _nothing("These runs kept no journal.")
    return table(["run", "time", "step", "event", "facts"], rows, "text")


def _named(run: RunData, runs: Sequence[RunData], network: str) -> str:
    return f"{run.name} {network}" if len(runs) > 1 else network


def _last(run: RunData) -> list[Evaluation | None]:
    return [run.last(network) for network in _NETWORKS]


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.2f} %"


def _bar(value: float | None, color: int) -> Html:
    if value is None:
        return join(["-"])
    css = f"s{color % charts.COLORS}"
    return join([_percent(value), bar(value, css)])


def _class_table(label_map: LabelMap, columns: Sequence[tuple[str, int, Evaluation]]) -> Html:
    """Tabulates networks, each with its title and colour, by the classes that they share."""
    rows = []
    for name, rgb in zip(label_map.class_names, label_map.colors, strict=True):
        cells = [_bar(evaluation.iou.get(name), color) for _, color, evaluation in columns]
        rows.append([join([swatch(rgb), name]), *cells])
    for title, key in _SUMMARY:
        rows.append([element("b", {}, title), *(_bar(e.metrics[key], c) for _, c, e in columns)])
    return table(["class", *(title for title, _, _ in columns)], rows)


def _matrix(evaluation: Evaluation) -> Html:
    names = evaluation.label_map.class_names
    counts = evaluation.confusion
    totals = counts.sum(1)
    rows = []
    for place, name in enumerate(names):
        shares = [float(c) / totals[place] if totals[place] else 0.0 for c in counts[place]]
        cells = [_cell(share) for share in shares]
        rows.append(element("tr", {}, element("th", {"scope": "row"}, name), *cells))
    titles = [element("th", {"scope": "col"}, title) for title in ("", *names)]
    head = element("thead", {}, element("tr", {}, *titles))
    held = element("table", {"class": "confusion"}, head, element("tbody", {}, *rows))
    iou = f"mean IoU {_percent(metrics.mean_iou(counts))}"
    return join([element("div", {"class": "scroll"}, held), element("small", {}, iou)])


def _cell(share: float) -> Html:
    percent = round(100 * share)
    if share < 0.005:
        return element("td", {"class": "c0"}, "·" if share else "")
    style = f"background:color-mix(in srgb, var(--heat) {percent}%, var(--panel))"
    return element("td", {"class": "hot" if percent > 70 else None, "style": style}, str(percent))


def _class_map(title: str, entries: list[dict], prefix: str, percent: bool) -> Html:
    names = dict.fromkeys(
        key.removeprefix(prefix) for entry in entries for key in entry if key.startswith(prefix)
    )
    places = [(place, 0.0) for place in range(len(entries))]
    kept = [entries[int(place)] for place, _ in charts.thinned(places, _COLUMNS)]
    rows = {name: [entry.get(prefix + name) for entry in kept] for name in names}
    return charts.heat_map(title, [entry["step"] for entry in kept], rows, percent)


def legend(label_map: LabelMap) -> Html:
    """Lists the colours of the classes and of pixels without a label."""
    named = drawing.legend_entries(label_map)
    entries = [element("li", {}, swatch(color), name) for name, color in named]
    return element("ul", {"class": "legend"}, *entries)


def _label_map(run: RunData) -> LabelMap | None:
    """Returns the classes of a run; None before its first evaluation."""
    return next((evaluation.label_map for evaluation in run.evaluations), None)


def _strip(
    shown: Sequence[tuple[RunData, Example]], label_map: LabelMap, runs: Sequence[RunData]
) -> Html:
    """Shows one image, its label, and predictions and errors of the runs that have it."""
    _, first = shown[0]
    figures = [
        figure("image", data_url(first.image, "jpeg")),
        figure("label", data_url(drawing.colorize(first.label, label_map))),
    ]
    for run, example in shown:
        for network, prediction in example.predictions.items():
            what = _named(run, runs, network)
            figures.append(figure(what, data_url(drawing.colorize(prediction, label_map))))
            wrong = drawing.error_map(prediction, example.label)
            figures.append(figure(f"{what}, errors", data_url(wrong)))
    return element("div", {"class": "strip"}, *figures)


def _flat(run: RunData) -> dict[str, str]:
    options = {name: _shown(value) for name, value in by_flag(run.facts["config"]).items()}
    others = {key: run.facts[key] for key in ("split", "data") if key in run.facts}
    versions = {f"version of {name}": v for name, v in run.facts.get("versions", {}).items()}
    identity = {"split hash": others.get("split"), "data hash": others.get("data")} | versions
    return options | {name: _shown(value) for name, value in identity.items()}


def _shown(value: object) -> str:
    if isinstance(value, dict):
        return ", ".join(f"{k} {v}" for k, v in value.items())
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "(empty)"
    return "(empty)" if value in ("", None) else str(value)


def _nothing(text: str) -> Html:
    return element("p", {"class": "soft"}, text)
