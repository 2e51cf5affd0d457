"""BUILD has a target for every library, command and test, with the deps their imports need."""

import ast

import build_targets


def _parsed(text: str) -> dict[str, build_targets.Target]:
    """Reads the rules of a BUILD file, which is Python to the parser."""
    targets = {}
    for node in ast.parse(text).body:
        call = node.value if isinstance(node, ast.Expr) else None
        if not isinstance(call, ast.Call) or not call.func.id.startswith("py_"):
            continue
        fields = {keyword.arg: keyword.value for keyword in call.keywords}
        deps = fields["deps"].elts if "deps" in fields else []
        target = build_targets.Target(
            call.func.id,
            fields["name"].value,
            tuple(source.value for source in fields["srcs"].elts),
            tuple(
                dep.value if isinstance(dep, ast.Constant) else ast.unparse(dep).replace("'", '"')
                for dep in deps
            ),
        )
        assert target.name not in targets, f"{target.name} comes twice"
        targets[target.name] = target
    return targets


def test_build_file_matches_the_tree_and_its_imports(repository):
    held = _parsed((repository / "BUILD").read_text(encoding="utf-8"))
    expected = build_targets.expected_targets()
    advice = "`python tests/build_targets.py` writes it anew"
    assert set(held) == set(expected), advice
    for name, target in expected.items():
        assert held[name] == target, f"{name}: {advice}"


def test_every_label_in_the_build_file_exists(repository):
    held = _parsed((repository / "BUILD").read_text(encoding="utf-8"))
    for target in held.values():
        assert (repository / target.srcs[0]).is_file()
        for dep in target.deps:
            assert dep.startswith("requirement(") or dep.removeprefix(":") in held


def test_commands_are_binaries_and_tests_are_tests():
    targets = build_targets.expected_targets()
    assert targets["c3tf/train"].rule == "py_binary"
    assert targets["c3tf/method/losses"].rule == "py_library"
    assert targets["tests/test_build"].rule == "py_test"
    assert ":c3tf/labels" in targets["c3tf/method/losses"].deps
    assert 'requirement("tensorflow")' in targets["c3tf/method/losses"].deps


def test_required_distributions_are_in_the_requirements(repository):
    listed = "".join(
        (repository / name).read_text() for name in ("requirements.txt", "requirements-dev.txt")
    )
    needed = {
        dep.split('"')[1]
        for target in build_targets.expected_targets().values()
        for dep in target.deps
        if dep.startswith("requirement(")
    }
    # Compared with where it happens to be installed; the tests that use them skip without.
    optional = {"apache-beam", "torch", "cityscapesscripts", "efficientnet_lite_pytorch"}
    assert {name for name in needed if name not in listed} <= optional


def test_no_target_depends_on_itself():
    deps = {name: target.deps for name, target in build_targets.expected_targets().items()}
    finished: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, " -> ".join((*path, name))
        if name not in finished:
            for dep in deps[name]:
                if dep.startswith(":"):
                    visit(dep.removeprefix(":"), (*path, name))
            finished.add(name)

    for name in deps:
        visit(name, ())
