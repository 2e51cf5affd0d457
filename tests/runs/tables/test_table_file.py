"""Files that describe tables: what they say, and that nothing wrong in them is passed over."""

import re

import pytest

import tiny_tables
from c3tf.runs.tables.table_file import TableError, printed

pytestmark = pytest.mark.smoke


def test_a_file_says_rows_columns_and_seeds(tmp_path):
    table = tiny_tables.read(tmp_path)
    assert (table.name, table.title, table.baseline) == ("tiny", "Tiny", "Baseline")
    assert list(table.rows) == ["Baseline", "Ours"]
    assert table.rows["Baseline"].flags == {"method": "supervised"}
    assert [column.flags for column in table.columns.values()] == [{"labeled": 2}, {"labeled": 8}]
    assert {column.flagfile for column in table.columns.values()} == {str(tmp_path / "tiny.flags")}
    assert table.seeds == ({"split_seed": 1, "seed": 0}, {"split_seed": 2, "seed": 1})
    assert (table.measures, table.averaging, table.classes) == (("student",), "cityscapes", False)
    assert table.varied == {"labeled", "method", "split_seed", "seed"}
    assert printed(table.paper["Ours"]["few"]) == 50.5


def test_rows_may_come_from_another_file_without_its_numbers(tmp_path):
    tiny_tables.write(tmp_path)
    text = """
    title = "Other"
    rows_from = "tiny.toml"
    [columns.c]
    flagfile = "tiny.flags"
    labeled = 4
    [rows.Long]
    measure = "teacher"
    times.steps = 3
    """
    table = tiny_tables.read(tmp_path, text, "other")
    assert list(table.rows) == ["Baseline", "Ours", "Long"]
    assert (table.measure("Ours"), table.measure("Long")) == ("student", "teacher")
    assert table.rows["Long"].times == {"steps": 3}
    assert table.rows["Long"].flags == {}
    assert (table.baseline, table.seeds, table.paper) == ("", ({},), {})


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("title =", "titel =", "every key must be one of title, .* Received: titel"),
        ('title = "Tiny"', "title = 3", "`title` must be of type str. Received: 3"),
        ('title = "Tiny"', "", "`title` must be of type str. Received: nothing"),
        ('title = "Tiny"', "title = Tiny", "is no TOML"),
        ("labeled = 2", "labelled = 2", "column 'few' must name a flag of training.*labelled"),
        ("seed = 0", "sede = 0", "`seeds` must name a flag of training. Received: sede"),
        ("Ours = {}", "Ours = { outptu = 1 }", "row 'Ours' must name a flag .*: outptu"),
        ("Ours = {}", 'Ours = { output = "x" }', "no flag that the runner sets itself"),
        ("Ours = {}", "Ours = { baseline = true }", "no flag that the runner sets itself"),
        ("Ours = {}", "Ours = 3", "row 'Ours' must be a table of flags. Received: 3"),
        ("Ours = {}", "Ours = { seed = { a = 1 } }", "row 'Ours', seed must be one value"),
        ("Ours = {}", "Ours = { times = { step = 2 } }", "must name a flag .*: step"),
        ("Ours = {}", 'Ours = { times = { steps = "2" } }', "times.steps must be a number"),
        ("Ours = {}", 'Ours = { measure = "best" }', "must be one of student, teacher, confident"),
        ('"tiny.flags"', '"none.flags"', "there is no file .*none.flags"),
        ('flagfile = "tiny.flags"', "", "column 'few' needs an experiment file"),
        ('baseline = "Baseline"', 'baseline = "Base"', "`baseline` must be one of the rows"),
        ('title = "Tiny"', 'title = "T"\naveraging = "ade"', "must be one of cityscapes, bdd100k"),
        ('title = "Tiny"', 'title = "T"\nmeasures = ["best"]', "must be one of student"),
        ('title = "Tiny"', 'title = "T"\nmeasures = []', "a measure must be one of"),
        ('title = "Tiny"', 'title = "T"\nrows_from = "x.toml"', "Cannot read table .*x.toml"),
        ("paper.Ours", "paper.Theirs", "every row of `paper` must be one of .*Received: Theirs"),
        ('few = "50', 'fwe = "50', "every column must be one of few, many. Received: fwe"),
        ('"50.5 ± 0.25 (+4.0)"', '"50.5 +- 0.25"', "must be as in '63.23 ± 0.45"),
        ('"50.5 ± 0.25 (+4.0)"', "50.5", "must be as in"),
        ('title = "Tiny"', 'title = "T"\nrows_from = "."', "Cannot read table"),
        ('title = "Tiny"', 'title = "T"\nrows_from = "a\\u0000"', "holds text that is none"),
        ('title = "Tiny"', f"title = {'[' * 3000}", "is no TOML"),
        ('title = "Tiny"', f"title = {'9' * 5000}", "is no TOML"),
        ('"tiny.flags"', '"."', "there is no file"),
        ("Ours = {}", "Ours = { times = { steps = nan } }", "it holds nan, which is no number"),
        ("Ours = {}", f"Ours = {{ steps = {2**63} }}", "whole number of more than 64 bits"),
        ("Ours = {}", "Ours = { scales = [[1]] }", "row 'Ours', scales must be one value"),
        ("seeds = [", "seeds = [] #", "`seeds` must hold at least one repetition"),
        ("[paper.Ours]", "[paper_classes.Ours]\nmany=[1]\n[paper.Ours]", "a list of numbers"),
    ],
)
def test_what_is_wrong_is_named(tmp_path, old, new, said):
    assert tiny_tables.TEXT.count(old) >= 1
    path = tiny_tables.write(tmp_path, tiny_tables.TEXT.replace(old, new, 1))
    with pytest.raises(TableError, match=rf"(?s){re.escape(str(tmp_path))}.*{said}|{said}"):
        tiny_tables.table_file.read(path)


def test_tables_without_rows_or_columns_are_refused(tmp_path):
    head, _, rest = tiny_tables.TEXT.partition("[columns]")
    with pytest.raises(TableError, match=r"`columns` must be of type dict\. Received: nothing"):
        tiny_tables.read(tmp_path, head)
    with pytest.raises(TableError, match="`columns` must name at least one"):
        tiny_tables.read(tmp_path, f"{head}[columns]\n[rows]{rest.partition('[rows]')[2]}")
    with pytest.raises(TableError, match="`rows` must name at least one"):
        tiny_tables.read(tmp_path, f"{head.replace('baseline', '# ')}[columns]\na = {{}}\n")


@pytest.mark.parametrize("rows", ["5", "[1]"])
def test_rows_that_are_no_table_are_refused(tmp_path, rows):
    (tmp_path / "other.toml").write_text(f"rows = {rows}")
    for text in (f'title = "T"\nrows = {rows}', 'title = "T"\nrows_from = "other.toml"'):
        with pytest.raises(TableError, match="`rows` must be of type dict"):
            tiny_tables.read(tmp_path, text, "own")


def test_the_mark_that_windows_puts_before_text_is_no_part_of_it(tmp_path):
    path = tiny_tables.write(tmp_path, "\ufeff" + tiny_tables.TEXT.replace("\n", "\r\n"))
    assert tiny_tables.table_file.read(path).title == "Tiny"
