"""What came out of a table's runs, against NumPy."""

import json
from pathlib import Path

import numpy as np
import pytest

import tiny_tables
from c3tf.runs.tables import outcome, plan

pytestmark = pytest.mark.smoke


def planned(folder, text=tiny_tables.TEXT):
    table = tiny_tables.read(folder, text)
    return table, plan.make([table], str(folder / "out"))


def mean_iou(confusion):
    hits = np.diag(confusion)
    return 100 * np.mean(hits / (confusion.sum(0) + confusion.sum(1) - hits))


def test_means_deviations_and_gains_are_numpys(tmp_path):
    text = tiny_tables.TEXT.replace("seeds = [", "seeds = [{ split_seed = 9, seed = 9 }, ")
    text = text.replace('title = "Tiny"', 'title = "T"\nmeasures = ["student", "teacher"]')
    table, made = planned(tmp_path, text)
    found = {name: tiny_tables.finish(job, n) for n, (name, job) in enumerate(made.jobs.items())}
    student, teacher = outcome.grids(made, table)
    assert (student.measure, teacher.measure) == ("student", "teacher")
    for grid in (student, teacher):
        for column in table.columns:
            values = {}
            for row in table.rows:
                # The baseline has one network.
                measure = grid.measure if row == "Ours" else "student"
                runs = [found[name][measure] for name in made.cells["tiny", row, column]]
                values[row] = np.array([mean_iou(run.confusion) for run in runs])
                cell = grid.cells[row, column]
                np.testing.assert_allclose(cell.values, values[row])
                assert cell.mean == pytest.approx(np.mean(values[row]))
                assert cell.deviation == pytest.approx(np.std(values[row], ddof=1))
                assert cell.hours == pytest.approx(40 * 3.6 / 3600)
                iou = np.mean([100 * run.iou for run in runs], 0)
                assert cell.iou == pytest.approx(
                    dict(zip(("road", "tree", "sky"), iou, strict=True))
                )
            assert grid.cells["Baseline", column].gain is None
            gain = np.mean(values["Ours"]) - np.mean(values["Baseline"])
            assert grid.cells["Ours", column].gain == pytest.approx(gain)


def test_gains_are_of_the_seeds_that_both_rows_have(tmp_path):
    table, made = planned(tmp_path)
    base, ours = (made.cells["tiny", row, "few"] for row in table.rows)
    first = tiny_tables.finish(made.jobs[base[1]], 1)["student"].mean_iou()
    both = [
        tiny_tables.finish(made.jobs[name], n)["student"].mean_iou() for n, name in enumerate(ours)
    ]
    (grid,) = outcome.grids(made, table)
    cell = grid.cells["Ours", "few"]
    assert cell.gain == pytest.approx(100 * (both[1] - first))
    assert cell.mean == pytest.approx(50 * sum(both))
    alone = grid.cells["Baseline", "few"]
    assert (alone.values[0], len(alone.known), alone.deviation) == (None, 1, None)
    nothing = grid.cells["Ours", "many"]
    assert (nothing.mean, nothing.gain, nothing.hours, nothing.iou) == (None, None, None, {})


def test_confident_pixels_are_a_row_of_their_own(tmp_path):
    text = tiny_tables.TEXT.replace(
        'Baseline = { method = "supervised" }\nOurs = {}',
        'Ours = {}\n"Ours*" = { measure = "confident" }',
    )
    text = text.replace('"Baseline"', '"Ours"\nmeasures = ["teacher", "student"]')
    table, made = planned(tmp_path, text)
    assert made.cells["tiny", "Ours", "few"] == made.cells["tiny", "Ours*", "few"]
    (job, *_) = made.jobs.values()
    found = tiny_tables.finish(job, 5)["teacher"]
    assert outcome.is_finished(job)
    teacher, student = outcome.grids(made, table)
    assert (teacher.rows, student.rows) == (["Ours", "Ours*"], ["Ours"])
    before, after = mean_iou(found.confusion), mean_iou(found.confident)
    assert teacher.cells["Ours", "few"].mean == pytest.approx(before)
    assert teacher.cells["Ours*", "few"].mean == pytest.approx(after)
    assert teacher.cells["Ours*", "few"].gain == pytest.approx(after - before)
    # Trained, but not yet measured in all ways.
    Path(job.confident_file).unlink()
    assert not outcome.is_finished(job)
    assert outcome.grids(made, table)[0].cells["Ours", "few"].mean == pytest.approx(before)
    assert outcome.grids(made, table)[0].cells["Ours*", "few"].mean is None


def test_a_run_whose_results_are_damaged_or_of_another_step_is_not_finished(tmp_path):
    _, made = planned(tmp_path)
    (job, *_) = made.jobs.values()
    assert not outcome.is_finished(job)
    tiny_tables.finish(job)
    assert outcome.is_finished(job)
    path = Path(job.folder) / "results.json"
    text = path.read_text()
    for damaged in ("", "[]", "{}", '{"student": 3}', text.replace('"step": 40', '"step": 20')):
        path.write_text(damaged)
        assert not outcome.is_finished(job), damaged


def test_hours_are_those_of_all_steps(tmp_path):
    _, made = planned(tmp_path)
    (job, *_) = made.jobs.values()
    assert outcome.training_hours(job) is None
    tiny_tables.finish(job)
    entries = [(1, None), (10, 2.0), (20, 4.0)]
    lines = [{"step": s, **({"seconds_per_step": t} if t else {})} for s, t in entries]
    text = "".join(json.dumps(line) + "\n" for line in lines)
    (Path(job.folder) / "metrics.jsonl").write_text(text)
    # Nine steps of 2 s and ten of 4 s; the first, in which the graph is compiled, as the others.
    assert outcome.training_hours(job) == pytest.approx(20 * (9 * 2 + 10 * 4) / 19 / 3600)
