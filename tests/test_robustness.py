"""`docs/robustness.md`: every number of the list has rows, and the tests that it names exist."""

import re

import pytest

pytestmark = pytest.mark.smoke

NUMBERS = range(1, 25)
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


@pytest.fixture(scope="module")
def rows(repository):
    text = (repository / "docs/robustness.md").read_text(encoding="utf-8")
    table = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if re.match(r"\| \d+ ", line)
    ]
    assert all(len(row) == 4 and all(row) for row in table)
    return table


def test_every_number_has_its_rows_in_order(rows):
    found = [int(row[0]) for row in rows]
    assert found == sorted(found)
    assert set(found) == set(NUMBERS)


def test_every_row_says_what_was_found_and_names_tests_that_exist(repository, rows):
    for number, _, found, tests in rows:
        assert re.search(r"\*[^*]+\*", found), number
        named = TEST.findall(tests)
        assert named, number
        for file, name in named:
            source = (repository / file).read_text(encoding="utf-8")
            assert f"\ndef {name}(" in source, f"{number}: {file}::{name}"


def test_every_module_that_it_names_exists(repository):
    text = (repository / "docs/robustness.md").read_text(encoding="utf-8")
    for place in re.findall(r"`(c3tf/[\w/]+\.py)`", text):
        assert (repository / place).is_file(), place
