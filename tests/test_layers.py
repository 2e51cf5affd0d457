"""The direction of imports: no circle between modules, no arrow that leads up."""

import ast
import collections
import graphlib

import pytest

# From the bottom to the top; a package may import those of the rows before its own.
LAYERS = (
    ("errors", "versions", "progress"),
    ("labels",),
    ("io",),
    ("config",),
    ("method",),
    ("nets", "data"),
    ("training", "inference", "evaluation", "visualization"),
    ("runs", "serving", "reporting"),
    # The modules right in c3tf/ that no row above names, c3tf itself (the front door), data_tools.
    ("commands", "data_tools"),
)
# Arrows within a row, each of one direction.
SIDEWAYS = {
    # An overlay is a prediction's file; what training shows is drawn and predicted.
    ("inference", "visualization"),
    ("training", "visualization"),
    ("training", "inference"),
    ("evaluation", "inference"),
    # Where a network errs is drawn.
    ("evaluation", "visualization"),
    # A run's end exports; a report reads what runs have written.
    ("runs", "serving"),
    ("reporting", "runs"),
    # `c3tf data` calls them; they take flags and user errors as all commands do.
    ("commands", "data_tools"),
    ("data_tools", "commands"),
}
# What a package may import at most, where that is less than the rows below it.
AT_MOST = {
    # The life of a run knows nothing of Eq. 1 to 7.
    "runs": {package for row in LAYERS[:-1] for package in row} - {"method", "reporting"},
    # Drawing takes arrays: whose they are is for its callers to know.
    "visualization": {"errors", "versions", "progress", "labels", "io"},
    # A report is made in 0.3 s: without TensorFlow.
    "reporting": {
        "errors", "versions", "progress", "labels", "io", "config", "visualization", "evaluation",
        "runs",
    },
    # What converts data knows data, how to draw it, and the page it is shown on.
    "data_tools": {
        "errors", "versions", "progress", "labels", "io", "config", "data", "nets",
        "visualization", "reporting", "commands",
    },
}  # fmt: skip
# What all commands share; `data_tools` takes nothing else from among them.
SHARED_BY_COMMANDS = {"c3tf.cli"}

Graph = dict[str, set[str]]


def package_of(module: str) -> str:
    """Returns the row's name for a module."""
    root, *rest = module.split(".")
    if root != "c3tf":
        return root
    named = {package for row in LAYERS for package in row}
    return rest[0] if rest and (len(rest) > 1 or rest[0] in named) else "commands"


def imported(tree: ast.AST, module: str, is_package: bool, known: set[str]) -> set[str]:
    """Returns the known modules that a module imports anywhere: at its top, lazily, for types."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                parents = parts[: len(parts) - node.level + is_package]
                base = ".".join([*parents, *filter(None, [node.module])])
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                found.add(inner if inner in known else base)
    return (found & known) - {module}


def read(sources: dict[str, str]) -> Graph:
    """Returns which module imports which, given their texts by path."""
    modules = {}
    for path in sources:
        name = path.removesuffix(".py").replace("/", ".")
        modules[name.removesuffix(".__init__")] = path
    return {
        module: imported(
            ast.parse(sources[path]), module, path.endswith("/__init__.py"), set(modules)
        )
        for module, path in modules.items()
    }


def circle(graph: Graph) -> list[str]:
    """Returns the modules of one circle of imports, each importing the one before it; or none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return []


def wrong_arrows(graph: Graph) -> list[str]:
    """Lists the imports that the rows do not allow."""
    row_of = {package: row for row, packages in enumerate(LAYERS) for package in packages}
    wrong = []
    for module, targets in sorted(graph.items()):
        package = package_of(module)
        for target in sorted(targets):
            other = package_of(target)
            below = row_of.get(other, len(LAYERS)) < row_of.get(package, -1)
            allowed = other in AT_MOST.get(package, {other})
            if (package, other) == ("data_tools", "commands"):
                allowed = target in SHARED_BY_COMMANDS
            if other == package in row_of:
                continue
            if not allowed or not (below or (package, other) in SIDEWAYS):
                wrong.append(f"{module} -> {target}")
    return wrong


def table(graph: Graph) -> str:
    """Lays out how many imports lead from the package of a row to that of a column."""
    counts = collections.Counter(
        (package_of(module), package_of(target))
        for module, targets in graph.items()
        for target in targets
        if package_of(module) != package_of(target)
    )
    present = {package_of(module) for module in graph}
    packages = [package for row in LAYERS for package in row if package in present]
    packages += sorted(present - set(packages))
    width = max(map(len, packages))
    lines = [" " * width + "".join(f" {name[:6]:>6}" for name in packages)]
    for package in reversed(packages):
        cells = (counts[package, other] or "." for other in packages)
        lines.append(f"{package:<{width}}" + "".join(f" {cell:>6}" for cell in cells))
    return "\n".join(lines)


@pytest.fixture(scope="module")
def graph(repository):
    paths = [p for root in ("c3tf", "data_tools") for p in (repository / root).rglob("*.py")]
    return read({p.relative_to(repository).as_posix(): p.read_text() for p in paths})


def test_no_circle(graph):
    found = circle(graph)
    assert not found, f"{' <- '.join(found)}\n{table(graph)}"


def test_arrows_lead_down(graph):
    wrong = wrong_arrows(graph)
    assert not wrong, "\n".join([*wrong, table(graph)])


def test_every_package_has_a_row(graph):
    named = {package for row in LAYERS for package in row}
    assert {package_of(module) for module in graph} == named, table(graph)


def test_lazy_and_type_imports_count():
    text = """
from typing import TYPE_CHECKING
import c3tf.labels as l
if TYPE_CHECKING:
    from c3tf.data import (batch,
        samples)
def f():
    from c3tf.runs.journal import read
    from ..method import losses
    from . import optimizer
"""
    sources = dict.fromkeys(
        [
            "c3tf/labels.py", "c3tf/data/__init__.py", "c3tf/data/batch.py", "c3tf/data/samples.py",
            "c3tf/runs/journal.py", "c3tf/method/losses.py", "c3tf/training/optimizer.py",
        ],
        "",
    )  # fmt: skip
    graph = read({**sources, "c3tf/training/step.py": text})
    assert graph["c3tf.training.step"] == {
        "c3tf.labels",
        "c3tf.data.batch",
        "c3tf.data.samples",
        "c3tf.runs.journal",
        "c3tf.method.losses",
        "c3tf.training.optimizer",
    }
    assert wrong_arrows(graph) == ["c3tf.training.step -> c3tf.runs.journal"]


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ("c3tf.errors", "c3tf.labels"),
        ("c3tf.nets.deeplab", "c3tf.data.batch"),
        ("c3tf.inference.networks", "c3tf.serving.saved_model"),
        ("c3tf.visualization.drawing", "c3tf.inference.networks"),
        ("c3tf.runs.run", "c3tf.method.losses"),
        ("c3tf.reporting.page", "c3tf.training.step"),
        ("c3tf.runs.run", "c3tf"),
        ("c3tf.runs.run", "c3tf.train"),
        ("c3tf.data.batch", "data_tools.command"),
        ("data_tools.command", "c3tf.train"),
        ("data_tools.command", "c3tf.runs.run"),
        ("c3tf.unknown.module", "c3tf.errors"),
    ],
)
def test_an_arrow_that_is_not_allowed_is_found(source, target):
    assert wrong_arrows({source: {target}, target: set()}) == [f"{source} -> {target}"]


def test_a_circle_is_found():
    sources = {
        "c3tf/io/a.py": "def f():\n    from c3tf.io import b\n",
        "c3tf/io/b.py": "from c3tf.io.c import x\n",
        "c3tf/io/c.py": "import c3tf.io.a\n",
    }
    assert set(circle(read(sources))) == {"c3tf.io.a", "c3tf.io.b", "c3tf.io.c"}
