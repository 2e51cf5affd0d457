"""The report: what it reads, what it draws, and that it is one well-formed page."""

import base64
import dataclasses
import io
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

import tiny_network
from c3tf.config import Config
from c3tf.evaluation.calibration import UNIT, Calibration
from c3tf.evaluation.evaluator import EvaluationResult
from c3tf.io import json_files
from c3tf.io.images import write_class_map, write_png
from c3tf.reporting import charts, html, images, page, robustness, runs
from c3tf.reporting.runs import ReportError

pytestmark = pytest.mark.smoke

LABEL_MAP = tiny_network.LABEL_MAP
CONFUSION = np.array([[90, 10, 0, 0], [5, 45, 0, 0], [0, 0, 20, 20], [0, 0, 0, 0]])


def write_run(path, method="c3", split="abc", learning_rate=0.001):
    """Writes what a run of 40 steps would have written."""
    options = {"method": method, "learning_rate": learning_rate, "steps": 40}
    config = Config().with_options(supervised_steps=20, **options)
    facts = {"config": config.to_dict(), "split": split, "data": "123", "versions": {"keras": "3"}}
    json_files.write(path / "config.json", facts)
    networks = ("student", "teacher") if method == "c3" else ("student",)
    for step in (20, 40):
        for network in networks:
            result = EvaluationResult(CONFUSION, LABEL_MAP, 3, {"step": step})
            file = path / "evaluations" / f"step-{step:08d}-{network}.json"
            json_files.write(file, result.to_json())
    with open(path / "metrics.jsonl", "w") as file:
        for step in (10, 20, 30, 40):
            line = {"step": step, "loss": 40 / step, "learning_rate": 0.001, "consistency": 0.5}
            line |= {f"threshold/{n}": 0.5 + i / 10 for i, n in enumerate(LABEL_MAP.class_names)}
            file.write(json.dumps(line) + "\n")
        file.write('{"step": 50, "lo')
    event = {"event": "changed_flags", "step": 20, "time": "t", "changes": ["--steps: 30 -> 40"]}
    (path / "events.jsonl").write_text(json.dumps(event) + "\n")
    write_examples(path / "examples", networks)
    return path


def write_examples(folder, networks):
    for place in range(2):
        # The label comes first: it is the same in all runs.
        rng = np.random.default_rng(place)
        write_png(folder / f"{place:02d}-image.png", tiny_network.noise(place, 24, 40))
        for what in ("label", *networks):
            classes = rng.integers(0, 4, (24, 40)).astype(np.uint8)
            write_class_map(folder / f"{place:02d}-{what}.png", classes)
    facts = {"names": ["<a> & b", "second"], "networks": networks, "label_map": LABEL_MAP.to_json()}
    json_files.write(folder / "examples.json", facts)


def rendered(*paths, title="Title"):
    found = runs.find([str(path) for path in paths])
    names = runs.short_names(found)
    return page.render([runs.load(p, n) for p, n in zip(found, names, strict=True)], title)


def parsed(text):
    """The page as XML, which it is but for the document type and elements without an end."""
    text = re.sub(r"<(meta|img)([^>]*)>", r"<\1\2/>", text.removeprefix("<!DOCTYPE html>"))
    return ElementTree.fromstring(text)


def table_after(root, heading):
    (section,) = [s for s in root.iter("section") if s.find("h2").text == heading]
    return [["".join(cell.itertext()) for cell in row] for row in section.iter("tr")]


def test_a_page_of_two_runs_is_well_formed_and_needs_nothing_else(tmp_path):
    write_run(tmp_path / "all" / "c3")
    write_run(tmp_path / "all" / "supervised", "supervised", learning_rate=0.002)
    text = rendered(tmp_path / "all", title="A <b> & 'c'")
    root = parsed(text)
    assert root.find("head/title").text == "A <b> & 'c'"
    sources = [image.get("src") for image in root.iter("img")]
    # Image and label once per example, a prediction and errors for each of three networks.
    assert len(sources) == 2 * (2 + 2 * 3)
    assert all(source.startswith("data:image/") for source in sources)
    assert "http" not in text.replace("http-equiv", "")
    assert not list(root.iter("script"))
    anchors = {link.get("href")[1:] for link in root.iter("a")}
    assert anchors == {section.get("id") for section in root.iter("section")}
    (legend,) = [held for held in root.iter("ul") if list(held.iter("span"))]
    swatches = {"".join(entry.itertext()): entry.find("span").get("style") for entry in legend}
    assert list(swatches) == [*LABEL_MAP.class_names, "no label"]
    assert swatches["no label"] == "background:rgb(0, 0, 0)"
    assert swatches["ground"] == f"background:rgb{LABEL_MAP.colors[0]}"
    assert "<a> & b" in [heading.text for heading in root.iter("h3")]


def test_numbers_are_those_of_the_files(tmp_path):
    root = parsed(rendered(write_run(tmp_path / "c3")))
    (row,) = table_after(root, "Overview")[1:]
    # (90 / 105 + 45 / 60 + 20 / 40 + 0 / 20) / 4
    mean = f"{100 * (90 / 105 + 45 / 60 + 0.5 + 0) / 4:.2f} %"
    assert row == ["c3", "c3", "resnet101", "abc", "40 of 40", mean, mean]
    classes = {row[0]: row[1:] for row in table_after(root, "IoU per class")[1:]}
    assert classes["ground"] == ["85.71 %", "85.71 %"]
    assert classes["wall"] == ["75.00 %", "75.00 %"]
    matrix = table_after(root, "Confusion matrices")
    assert matrix[0] == ["", *LABEL_MAP.class_names]
    assert matrix[1] == ["ground", "90", "10", "", ""]
    assert matrix[3] == ["plant", "", "", "50", "50"]
    assert matrix[4] == ["sky", "", "", "", ""]
    charts_said = [svg.get("aria-label") for svg in root.iter("svg") if svg.get("role") == "img"]
    assert "Loss: c3 ends at 1" in charts_said
    assert "c3: DCRS thresholds, from 0.500 to 0.800" in charts_said
    assert table_after(root, "Journal")[1] == [
        "c3", "t", "20", "changed_flags", "changes: --steps: 30 -> 40"
    ]  # fmt: skip


def test_runs_of_other_classes_have_tables_and_pictures_of_their_own(tmp_path):
    other = dataclasses.replace(LABEL_MAP, class_names=("lane", *LABEL_MAP.class_names[1:]))
    for name, label_map, seed in (("one", LABEL_MAP, 0), ("two", other, 5)):
        folder = write_run(tmp_path / name, "supervised")
        for held in (*(folder / "evaluations").iterdir(), folder / "examples/examples.json"):
            held.write_text(held.read_text().replace('"ground"', f'"{label_map.class_names[0]}"'))
        picture = tiny_network.noise(seed, 24, 40)
        write_png(folder / "examples/00-image.png", picture)
    text = rendered(tmp_path / "one", tmp_path / "two")
    rows = table_after(parsed(text), "IoU per class")
    assert [row[0] for row in rows if row[0] in ("class", "ground", "lane")] == [
        "class", "ground", "class", "lane",
    ]  # fmt: skip
    assert all("-" not in row[1:] for row in rows if row[0] in ("ground", "lane"))
    # The second example differs by its classes alone.
    headings = [heading.text for heading in parsed(text).iter("h3")]
    assert headings.count("<a> & b") == headings.count("second") == 2


def test_differences_name_what_differs_and_nothing_else(tmp_path):
    one = write_run(tmp_path / "a" / "c3")
    other = write_run(tmp_path / "b" / "c3", split="def", learning_rate=0.002)
    rows = table_after(parsed(rendered(one, other)), "Differences between the runs")
    assert rows[0] == ["option", "a/c3", "b/c3"]
    assert rows[1:] == [["learning_rate", "0.001", "0.002"], ["split hash", "abc", "def"]]
    assert "Differences" not in rendered(one)


def test_a_run_of_older_flag_names_is_reported_under_todays(tmp_path):
    run = write_run(tmp_path / "a" / "c3")
    facts = json.loads((run / "config.json").read_text())
    method, training = facts["config"]["method"], facts["config"]["training"]
    method["method"] = method.pop("name")
    training["backbone_rate"] = training.pop("backbone_lr_multiplier")
    json_files.write(run / "config.json", facts)
    text = rendered(run, write_run(tmp_path / "b" / "c3"))
    assert table_after(parsed(text), "Overview")[1][1] == "c3"
    assert "backbone_rate" not in text
    assert "These runs do not differ." in text


def test_a_run_that_has_just_begun_is_reported_as_well(tmp_path):
    facts = {"config": Config().to_dict(), "split": "abc", "data": "1"}
    json_files.write(tmp_path / "config.json", facts)
    text = rendered(tmp_path)
    parsed(text)
    assert "Nothing was evaluated yet." in text
    assert "0 of 25,000" in text


def test_curves_lie_where_their_axes_say():
    points = [(0.0, 0.0), (50.0, 10.0), (100.0, 5.0)]
    root = parsed(str(charts.line_chart("Loss", [charts.Line("run", points, 0)])))
    (path,) = [p for p in root.iter("path") if p.get("d")]
    drawn = [tuple(map(float, p.split(","))) for p in path.get("d")[1:].split(" L")]
    labels = {}
    for text in root.iter("text"):
        labels.setdefault(text.get("text-anchor"), {})[text.text] = (
            float(text.get("x")),
            float(text.get("y")) - 4,
        )
    ys = {float(label): y for label, (_, y) in labels["end"].items()}
    xs = {float(label): x for label, (x, _) in labels["middle"].items() if label != "step"}
    assert drawn[0] == pytest.approx((xs[0], ys[0]))
    assert drawn[1][1] == pytest.approx(ys[10])
    assert drawn[2][0] == pytest.approx(xs[100])
    assert drawn[1][0] == pytest.approx((xs[0] + xs[100]) / 2)


def test_names_of_a_heat_map_have_room_and_long_ones_end_in_dots():
    long, longer = "traffic light (pedestrians, temporary)", "x" * 100
    figure = parsed(str(charts.heat_map("t", [1], {"road": [1.0], long: [2.0]}, False)))
    names = {text.text: float(text.get("x")) for text in figure.iter("text")}
    # At 12 pixels a letter of the page's fonts is about 6.5 wide.
    assert names[long] >= 6.5 * len(long)
    figure = parsed(str(charts.heat_map("t", [1], {longer: [1.0]}, False)))
    assert "x" * 39 + "…" in [text.text for text in figure.iter("text")]
    assert f"{longer}, step 1: 1.000" in [title.text for title in figure.iter("title")]


@pytest.mark.parametrize(
    ("low", "high"), [(0, 1), (0.34, 0.5), (-3, 12345), (1e-9, 2e-9), (5, 5), (0, 0), (1e8, 1e9)]
)
def test_ticks_are_round_and_cover_the_range(low, high):
    found = charts.ticks(low, high)
    assert found[0] <= low <= high <= found[-1]
    assert 2 <= len(found) <= 9
    steps = np.diff(found)
    np.testing.assert_allclose(steps, steps[0])
    labels = charts.tick_labels(found)
    assert len(set(labels)) == len(labels)


def test_long_curves_are_thinned_but_keep_their_ends():
    points = [(float(x), 0.0) for x in range(100_000)]
    thinned = charts.thinned(points, 400)
    assert len(thinned) == 400
    assert (thinned[0], thinned[-1]) == (points[0], points[-1])


@pytest.mark.parametrize(("kind", "size"), [("jpeg", (60, 900)), ("png", (900, 60))])
def test_embedded_pictures_are_shrunk_within_a_square(kind, size):
    pixels = np.zeros((*size, 3), np.uint8)
    for side, expected in ((480, 480), (0, 900), (1000, 900)):
        _, text = images.data_url(pixels, kind, side).split(",")
        with Image.open(io.BytesIO(base64.b64decode(text))) as picture:
            assert picture.format == kind.upper()
            assert max(picture.size) == expected
            assert picture.size == tuple(length * expected // 900 for length in size[::-1])


def test_text_is_escaped_and_elements_are_not():
    inner = html.element("b", {"title": '"<'}, "x < y")
    assert html.element("p", {}, inner, "&") == ('<p><b title="&quot;&lt;">x &lt; y</b>&amp;</p>')


def test_what_is_no_run_is_refused(tmp_path):
    for path in (tmp_path / "absent", tmp_path):
        with pytest.raises(ReportError, match="There is no run at"):
            runs.find([str(path)])
    write_run(tmp_path / "run")
    (tmp_path / "run" / "evaluations" / "step-00000040-student.json").write_text("{}")
    with pytest.raises(ReportError, match=r"step-00000040-student\.json is no evaluation"):
        rendered(tmp_path / "run")


def test_the_command_writes_a_file_and_overwrites_only_when_asked(tmp_path, repository):
    write_run(tmp_path / "run")
    output = tmp_path / "new" / "report.html"

    def report(*words):
        command = [sys.executable, "-m", "c3tf.report", *words, f"--output={output}"]
        environment = {**os.environ, "PYTHONPATH": str(repository)}
        return subprocess.run(command, env=environment, capture_output=True, text=True)

    done = report(str(tmp_path / "run"))
    assert done.returncode == 0, done.stderr
    assert f"Report on 1 run(s): {output}" in done.stdout
    parsed(output.read_text())
    before = output.read_bytes()
    refused = report(str(tmp_path / "run"))
    assert (refused.returncode, output.read_bytes()) == (2, before)
    assert "exists. Give another --output, or add --overwrite." in refused.stderr
    output = output / "below_a_file.html"
    refused = report("absent")
    assert refused.returncode == 2
    assert f"`--output` cannot be written, because {output.parent} is no folder" in refused.stderr


def test_a_sheet_of_an_older_run_is_shown(tmp_path):
    write_run(tmp_path / "c3")
    for file in (tmp_path / "c3" / "examples").iterdir():
        file.unlink()
    Image.new("RGB", (30, 20), (9, 8, 7)).save(tmp_path / "predictions.png")
    (image,) = parsed(rendered(tmp_path / "c3")).iter("img")
    assert image.get("alt") == "Predictions, from predictions.png"


def test_results_side_by_side(tmp_path):
    rng = np.random.default_rng(0)
    paths = []
    for name, weights in (("student", "student"), ("baseline", "student")):
        pixels = rng.integers(1, 100, (4, 15))
        counts = Calibration(pixels, pixels // 2, (pixels * 0.7 * UNIT).astype(np.int64))
        stated = {"model": f"runs/{name}", "weights": weights}
        spoiled = {5: EvaluationResult(CONFUSION.T, LABEL_MAP, 3, stated, None, counts)}
        result = EvaluationResult(
            CONFUSION, LABEL_MAP, 3, stated, None, counts, {"fog": spoiled} if paths == [] else {}
        )
        paths.append(str(tmp_path / f"{name}.json"))
        json_files.write(paths[-1], {"averaging": "cityscapes", **result.to_json()})
    assert robustness.read([]) == {}
    results = robustness.read(paths)
    assert list(results) == ["student", "baseline"]
    root = parsed(page.render([], "Robust", results))
    headings = [section.find("h2").text for section in root.iter("section")]
    assert headings == ["Measured networks", "Calibration", "Spoiled images"]
    student = results["student"]
    legends = [list(held.iter("li")) for held in root.iter("ul") if held.get("class") == "legend"]
    said = ["".join(entry.itertext()) for entry in legends[0]]
    error = f"error {100 * student.calibration.error:.2f} %"
    assert said[:2] == ["as right as it says ", f"student {error}"]
    rows = table_after(root, "Calibration")
    assert rows[0] == ["class", "student", "baseline"]
    assert rows[-1][1] == f"{100 * student.calibration.error:.2f} %"
    rows = table_after(root, "Spoiled images")
    assert [row[0] for row in rows] == ["images", "none", "fog 5", "mean of these"]
    assert rows[2][1].startswith(f"{100 * student.corrupted['fog'][5].mean_iou():.2f} %, error ")
    assert rows[2][2] == "-"
    (tmp_path / "other.json").write_text('{"schema": 9}')
    with pytest.raises(ReportError, match=r"other\.json is no result of `c3tf evaluate`"):
        robustness.read([str(tmp_path / "other.json")])


def test_a_chart_of_nothing_measured_says_so():
    nan = float("nan")
    for lines in ([], [charts.Line("run", [(0.0, nan), (1.0, nan)], 0)]):
        root = parsed(str(charts.line_chart("mIoU", lines)))
        assert (root.tag, root.text) == ("p", "mIoU: nothing was measured.")
    some = [charts.Line("none", [(0.0, nan)], 0), charts.Line("run", [(0.0, 1.0), (1.0, 2.0)], 1)]
    assert "none" not in str(charts.line_chart("mIoU", some))
