"""Tables of runs as Markdown, CSV and a page, beside the paper's own numbers."""

import csv
import io
from collections.abc import Sequence

from c3tf.reporting import html
from c3tf.reporting.html import Html, element
from c3tf.runs.tables.outcome import Cell, Grid, is_finished
from c3tf.runs.tables.plan import Plan
from c3tf.runs.tables.table_file import MEASURES, Table, printed

_MEASURED = dict(zip(MEASURES, ("student", "teacher", "teacher, confident pixels"), strict=True))
_PAPER = "paper"
_LEGEND = (
    "Mean ± standard deviation (n - 1) of n seeds, gain over the baseline row; mIoU in percent on "
    "the validation split after the last step."
)
_COLUMNS = (
    "table", "measure", "row", "column", "n", "seeds", "mean", "deviation", "gain", "hours",
    "paper", "paper_mean", "values", "runs",
)  # fmt: skip


def markdown(grids: Sequence[Grid]) -> str:
    """Lays a table out as Markdown.

    Args:
        grids: of one table, one per measure.
    """
    table = grids[0].table
    parts = [f"# {' '.join(table.title.split())}", *filter(None, [table.note]), _LEGEND]
    for heading, head, rows in _sections(grids):
        lines = [head, ["---"] * len(head), *rows]
        lines = [[" ".join(cell.replace("|", r"\|").split()) for cell in line] for line in lines]
        parts += [f"## {heading}", "\n".join(f"| {' | '.join(line)} |" for line in lines)]
    return "\n\n".join(parts) + "\n"


def comma_separated(grids: Sequence[Grid], plan: Plan) -> str:
    """Lays a table out as CSV, a line per cell and measure, numbers in full.

    Args:
        grids: of one table, one per measure.
        plan: the runs, whose names stand in the last column.
    """
    table, text = grids[0].table, io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, lineterminator="\n")
    writer.writeheader()
    for place, grid in enumerate(grids):
        for (row, column), cell in grid.cells.items():
            paper = _paper(table, row, column) if place == 0 else ""
            writer.writerow(
                {
                    "table": table.name,
                    "measure": table.measure(row) if place == 0 else grid.measure,
                    "row": row,
                    "column": column,
                    "n": len(cell.known),
                    "seeds": len(cell.values),
                    "mean": cell.mean,
                    "deviation": cell.deviation,
                    "gain": cell.gain,
                    "hours": cell.hours,
                    "paper": paper,
                    "paper_mean": printed(paper) if paper else None,
                    "values": ";".join("" if v is None else str(v) for v in cell.values),
                    "runs": ";".join(plan.cells[table.name, row, column]),
                }
            )
    return text.getvalue()


def sections(grids: Sequence[Grid], plan: Plan) -> list[tuple[str, Html]]:
    """Returns the sections of a page about a table, each with its heading.

    Args:
        grids: of one table, one per measure.
        plan: the runs, which the last section lists.
    """
    table = grids[0].table
    note = element("p", {"class": "soft"}, " ".join(filter(None, [table.note, _LEGEND])))
    made = [
        (heading, html.join([note, html.table(head, rows, "text")]))
        for heading, head, rows in _sections(grids)
    ]
    states = [
        [
            job.name,
            job.cell,
            f"{job.config.training.steps:,}",
            "finished" if is_finished(job) else f"after step {job.step():,}",
        ]
        for job in plan.of(table)
    ]
    return [
        *made,
        ("Runs", html.table(["run", "first shown in", "steps", "state"], states, "text")),
    ]


def _sections(grids: Sequence[Grid]) -> list[tuple[str, list[str], list[list[str]]]]:
    """Returns headings, heads and rows of everything that is shown of a table."""
    made = [
        (f"mIoU, {_MEASURED[grid.measure]}", *_numbers(grid, grid is grids[0])) for grid in grids
    ]
    if grids[0].table.classes:
        made.append(("IoU per class", *_classes(grids[0])))
    return made


def _numbers(grid: Grid, with_paper: bool) -> tuple[list[str], list[list[str]]]:
    """Lays out a grid, a column of the paper's beside each of which it has a number."""
    table = grid.table
    papers = {c for cells in table.paper.values() for c in cells} if with_paper else set()
    head = [""]
    for column in table.columns:
        head += [column, *([_PAPER] if column in papers else [])]
    rows = []
    for row in grid.rows:
        cells = [row]
        if grid.table.rows[row].measure:
            cells = [f"{row} ({_MEASURED[grid.table.rows[row].measure]})"]
        for column in table.columns:
            cells.append(_text(grid.cells[row, column]))
            if column in papers:
                cells.append(_paper(table, row, column) or "-")
        hours = [h for column in table.columns if (h := grid.cells[row, column].hours) is not None]
        rows.append([*cells, f"{sum(hours) / len(hours):.2f}" if hours else "-"])
    return [*head, "hours a run"], rows


def _classes(grid: Grid) -> tuple[list[str], list[list[str]]]:
    """Lays out the IoU of every class, what the paper has of a cell below ours."""
    table = grid.table
    names = list(dict.fromkeys(name for cell in grid.cells.values() for name in cell.iou))
    rows = []
    for (row, column), cell in grid.cells.items():
        shown = [f"{cell.iou[name]:.1f}" if name in cell.iou else "-" for name in names]
        rows.append([f"{row}, {column}", *shown, "-" if cell.mean is None else f"{cell.mean:.1f}"])
        paper = table.paper_classes.get(row, {}).get(column)
        if paper and len(paper) == len(names):
            mean = printed(_paper(table, row, column)) if _paper(table, row, column) else "-"
            rows.append([_PAPER, *map(str, paper), str(mean)])
    return ["", *names, "mean"], rows


def _text(cell: Cell) -> str:
    if cell.mean is None:
        return "-"
    text = f"{cell.mean:.2f}"
    if cell.deviation is not None:
        text += f" ± {cell.deviation:.2f}"
    if cell.gain is not None:
        text += f" ({cell.gain:+.2f})"
    return f"{text}, n = {len(cell.known)}"


def _paper(table: Table, row: str, column: str) -> str:
    return table.paper.get(row, {}).get(column, "")
