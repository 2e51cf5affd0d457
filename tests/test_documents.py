"""The documents: what they name is there."""

import ast
import importlib
import importlib.util
import pathlib
import re
import subprocess

import pytest

from c3tf.config import parse_labeled

pytestmark = pytest.mark.smoke

ROOT = pathlib.Path(__file__).resolve().parents[1]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "configs/README.md")
OURS = ("c3tf", "data_tools")
FOLDERS = (
    "benchmarks",
    "c3tf",
    "configs",
    "data_tools",
    "docs",
    "examples",
    "requirements",
    "tests",
)


def text_of(repository, document):
    return (repository / document).read_text(encoding="utf-8")


EVERYTHING = [*DOCUMENTS, *(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("document", EVERYTHING)
def test_links_lead_somewhere(repository, document):
    prose = re.sub(r"```.*?```", "", text_of(repository, document), flags=re.DOTALL)
    links = re.findall(r"\]\((?!https?:)([^)#]+)", prose)
    folder = (repository / document).parent
    assert [link for link in links if not (folder / link).exists()] == []


def test_every_document_is_listed_and_the_first_one_is_short(repository):
    listed = set(re.findall(r"\]\((\w+\.md)", text_of(repository, "docs/README.md")))
    assert listed == {path.name for path in (repository / "docs").glob("*.md")} - {"README.md"}
    assert text_of(repository, "README.md").count("\n") <= 170


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_paths_exist(repository, document):
    """Names in capitals stand for what a reader puts in their place."""
    names = re.findall(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)`", text_of(repository, document))
    paths = {name for name in names if not re.search(r"/[A-Z]+\b", name)}
    assert len(paths) > 10
    assert sorted(path for path in paths if not (repository / path).exists()) == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_exist(repository, document):
    text = text_of(repository, document)
    modules = set(re.findall(r"python -m ((?:c3tf|data_tools)[\w.]*)", text))
    assert modules
    assert [name for name in modules if importlib.util.find_spec(name) is None] == []
    # A file of ablations/ is named as FILE.
    flagfiles = set(re.findall(r"--flagfile=(configs/[\w/]+\.flags)", text)) - {
        "configs/ablations/FILE.flags"
    }
    assert sorted(path for path in flagfiles if not (repository / path).is_file()) == []


@pytest.mark.parametrize("document", EVERYTHING)
def test_names_that_examples_import_exist(repository, document):
    blocks = re.findall(r"```python\n(.*?)```", text_of(repository, document), re.DOTALL)
    for node in ast.walk(ast.parse("\n".join(blocks))):
        if isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] in OURS:
            module = importlib.import_module(node.module)
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                assert hasattr(module, alias.name) or importlib.util.find_spec(name), name


def test_counts_of_the_splits_are_accepted(repository):
    """What the table of docs/data.md gives for `--labeled` is what that takes."""
    rows = re.findall(r"^\| \w+ \| (\d{4}) \| (.+) \|$", text_of(repository, "docs/data.md"), re.M)
    assert len(rows) == 2
    for total, counts in rows:
        for count in counts.split(" | "):
            assert 0 < parse_labeled(count.strip("`"), int(total)) <= int(total)


def test_set_up_is_two_commands(repository):
    """`.ci/run` reads the second one from here."""
    text = text_of(repository, "README.md")
    commands = re.findall(
        r"<!-- (demo|tests) -->\n```bash\n(pip install -r (\S+) && .+)\n```", text
    )
    assert [name for name, _, _ in commands] == ["demo", "tests"]
    assert all((repository / requirements).is_file() for _, _, requirements in commands)


def test_new_names_in_the_changelog_are_there(repository):
    rows = re.findall(
        r"^\| (\S.*) \| `(\w+/[^` ]*)` \|$", text_of(repository, "CHANGELOG.md"), re.M
    )
    assert len(rows) > 10
    assert [new for _, new in rows if not (repository / new).exists()] == []


def test_hooks_run_what_the_project_requires(repository):
    """They are local: nothing but requirements-dev.txt is needed."""
    text = text_of(repository, ".pre-commit-config.yaml")
    assert re.findall(r"- repo: (\S+)", text) == ["local"]
    assert set(re.findall(r"language: (\S+)", text)) == {"system"}
    entries = re.findall(r"entry: (.+)", text)
    assert len(entries) == text.count("- id: ") > 0
    required = text_of(repository, "requirements-dev.txt")
    for program, *arguments in map(str.split, entries):
        assert program == "python" or f"\n{program}>=" in required
        for path in (word for word in arguments if "/" in word):
            assert (repository / path).is_file()


def test_ci_is_a_script_that_bash_can_read(repository):
    for script in (".ci/run", "requirements/lock.sh"):
        subprocess.run(["bash", "-n", repository / script], check=True)
