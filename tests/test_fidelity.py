"""The table of docs/fidelity.md names options, files and tests that exist."""

import re

import pytest

import flag_files
from c3tf.config import OPTIONS, SECTIONS, Config
from c3tf.config.methods import C3

pytestmark = pytest.mark.smoke

COLUMNS = ["what", "paper", "authors' code", "option here (default first)", "where", "tests"]
DEFAULTS = {
    name: value for section in SECTIONS for name, value in vars(getattr(Config(), section)).items()
}
TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
OPTION = re.compile(r"`--(\w+)(?:=([^`]*))?`")


@pytest.fixture(scope="module")
def text(repository):
    return (repository / "docs" / "fidelity.md").read_text()


@pytest.fixture(scope="module")
def rows(text):
    # A table inside a note is indented.
    lines = [line.strip() for line in text.splitlines() if line.startswith("|")]
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    assert all(len(row) == len(COLUMNS) for row in table)
    return [row for row in table if row != COLUMNS and not set(row[0]) <= {"-", " "}]


def test_every_row_has_a_place_and_a_test(repository, rows):
    assert len(rows) > 30
    for row in rows:
        places = re.findall(r"`(c3tf/[\w/]+\.py)`", row[4])
        assert places, row
        assert all((repository / place).is_file() for place in places), row
        assert TEST.search(row[5]), row


def test_named_tests_exist(repository, text):
    for file, name in TEST.findall(text):
        assert f"\ndef {name}(" in (repository / file).read_text(), f"{file}::{name}"


def test_starred_tests_use_the_authors_numbers(repository, rows):
    starred = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`\*")
    found = {match for row in rows for match in starred.findall(row[5])}
    assert len(found) >= 10
    for file, name in found:
        source = (repository / file).read_text()
        arguments = source.split(f"\ndef {name}(", 1)[1].split(")", 1)[0]
        assert "authors" in arguments.split(", "), f"{file}::{name}"


def test_options_exist_and_their_first_value_is_the_default(repository, rows):
    command_lines, expected = [], []
    for row in rows:
        named = OPTION.findall(row[3])
        assert named or row[3] == "none", row
        for name, value in named:
            assert name in DEFAULTS, name
            if value:
                command_lines.append([f"--{name}={value}"])
                expected.append(name)
    for name, config in zip(expected, flag_files.read(repository, *command_lines), strict=True):
        assert isinstance(config, Config), (name, config)
        assert config == Config(), f"--{name}: the first value named is not the default"


def _is_rivals(field):
    methods = field.metadata["methods"]
    return bool(methods) and C3 not in methods


def test_every_option_of_the_presets_has_a_row(repository, rows):
    in_rows = {name for row in rows for name, _ in OPTION.findall(row[3])}
    for preset in ("paper", "authors_code"):
        named = flag_files.named(repository, f"configs/presets/{preset}.flags")
        assert named.keys() <= in_rows
        assert in_rows - named.keys() <= {
            # Equal in both, or a size of the experiment.
            "supervised_steps",
            "consistency_ramp_steps",
            "backbone_weights",
            "mix_group",
            # The rivals' own.
            *(name for name, (_, field) in OPTIONS.items() if _is_rivals(field)),
        }


def test_every_option_that_speaks_of_the_authors_has_a_row(text):
    """A help text that says what the authors' code does is one side of a row."""
    from_help = {
        field.name
        for section in SECTIONS.values()
        for field in section.__dataclass_fields__.values()
        if "authors' code" in field.metadata["help"]
    }
    assert from_help
    for name in from_help:
        assert f"`--{name}" in text, name
