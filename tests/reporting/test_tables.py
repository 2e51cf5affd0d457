"""Tables of runs as Markdown, CSV and a page."""

import csv
import io
import re
import xml.etree.ElementTree as ElementTree

import pytest

import tiny_tables
from c3tf.reporting import page
from c3tf.reporting import tables as layout
from c3tf.runs.tables import outcome, plan

pytestmark = pytest.mark.smoke


@pytest.fixture
def laid_out(tmp_path):
    """A table of which one cell's second run is missing: its plan and its grids."""
    text = tiny_tables.TEXT.replace(
        'title = "Tiny"', 'title = "Tiny <1>"\nnote = "A & B."\nclasses = true'
    )
    text += "[paper_classes.Ours]\nfew = [90.1, 10.2, 51.3]\n"
    table = tiny_tables.read(tmp_path, text)
    made = plan.make([table], str(tmp_path / "out"))
    for place, job in enumerate(made.jobs.values()):
        if job.name != made.cells["tiny", "Ours", "many"][1]:
            tiny_tables.finish(job, place)
    return made, outcome.grids(made, table)


def rows_of(text, heading):
    """The cells of a Markdown table."""
    (section,) = [part for part in text.split("## ") if part.startswith(heading)]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]


def test_markdown_has_the_papers_numbers_beside_ours(laid_out):
    _, grids = laid_out
    text = layout.markdown(grids)
    assert text.startswith("# Tiny <1>\n\nA & B.\n\n")
    head, rule, base, ours = rows_of(text, "mIoU, student")
    assert head == ["", "few", "paper", "many", "hours a run"]
    assert rule == ["---"] * 5
    cells = grids[0].cells
    cell = cells["Baseline", "few"]
    shown = f"{cell.mean:.2f} ± {cell.deviation:.2f}, n = 2"
    assert base[:3] == ["Baseline", shown, "-"]
    cell = cells["Ours", "few"]
    shown = f"{cell.mean:.2f} ± {cell.deviation:.2f} ({cell.gain:+.2f}), n = 2"
    assert ours[:3] == ["Ours", shown, "50.5 ± 0.25 (+4.0)"]
    cell = cells["Ours", "many"]
    assert ours[3:] == [f"{cell.mean:.2f} ({cell.gain:+.2f}), n = 1", "0.04"]


def test_names_break_no_table_of_markdown(tmp_path):
    text = tiny_tables.TEXT.replace('"Tiny"', r'"Ti\n## ny"').replace("Ours", r'"O|u\nrs"')
    table = tiny_tables.read(tmp_path, text)
    text = layout.markdown(outcome.grids(plan.make([table], str(tmp_path / "out")), table))
    assert text.startswith("# Ti ## ny\n")
    assert rows_of(text.replace(r"\|", "/"), "mIoU, student")[3][0] == "O/u rs"


def test_classes_stand_over_the_papers(laid_out):
    _, grids = laid_out
    head, _, *rows = rows_of(layout.markdown(grids), "IoU per class")
    assert head == ["", "road", "tree", "sky", "mean"]
    few = rows[[row[0] for row in rows].index("Ours, few") + 1]
    assert few == ["paper", "90.1", "10.2", "51.3", "50.5"]
    cell = grids[0].cells["Ours", "few"]
    assert rows[[row[0] for row in rows].index("Ours, few")][1] == f"{cell.iou['road']:.1f}"


def test_csv_has_every_number_in_full(laid_out):
    made, grids = laid_out
    lines = list(csv.DictReader(io.StringIO(layout.comma_separated(grids, made))))
    assert [(line["row"], line["column"]) for line in lines] == list(grids[0].cells)
    for line, cell in zip(lines, grids[0].cells.values(), strict=True):
        assert float(line["mean"]) == cell.mean
        assert line["deviation"] == ("" if cell.deviation is None else str(cell.deviation))
        assert line["gain"] == ("" if cell.gain is None else str(cell.gain))
        assert (int(line["n"]), int(line["seeds"])) == (len(cell.known), 2)
        names = made.cells["tiny", line["row"], line["column"]]
        assert line["runs"].split(";") == list(names)
        values = [float(value) if value else None for value in line["values"].split(";")]
        assert values == list(cell.values)
    papers = {(line["row"], line["column"]): line["paper_mean"] for line in lines}
    assert papers.pop(("Ours", "few")) == "50.5"
    assert set(papers.values()) == {""}


def test_the_page_holds_the_table_and_the_state_of_its_runs(laid_out):
    made, grids = laid_out
    text = page.assemble(layout.sections(grids, made), grids[0].table.title, "table tiny")
    closed = re.sub(r"<(meta|img)([^>]*)>", r"<\1\2/>", text.removeprefix("<!DOCTYPE html>"))
    root = ElementTree.fromstring(closed)
    assert root.find("body/h1").text == "Tiny <1>"
    headings = [section.find("h2").text for section in root.iter("section")]
    assert headings == ["mIoU, student", "IoU per class", "Runs"]
    (runs,) = [s for s in root.iter("section") if s.find("h2").text == "Runs"]
    states = {row[0].text: row[3].text for row in runs.iter("tr")}
    missing = made.cells["tiny", "Ours", "many"][1]
    assert states.pop("run") == "state"
    assert states.pop(missing) == "after step 0"
    assert set(states.values()) == {"finished"}
