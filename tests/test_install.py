"""The installed package: one command, from any folder, with its experiment files."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile

import pytest

from c3tf import versions


@pytest.fixture(scope="module")
def wheel(tmp_path_factory, repository):
    """A wheel, built from a copy so that the build leaves nothing in the repository."""
    folder = tmp_path_factory.mktemp("build")
    source = folder / "source"
    source.mkdir()
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "LICENSE"):
        shutil.copy(repository / name, source)
    for name in repository.glob("requirements*.txt"):
        shutil.copy(name, source)
    for name in ("c3tf", "data_tools", "configs"):
        shutil.copytree(
            repository / name, source / name, ignore=shutil.ignore_patterns("__pycache__")
        )
    words = ["wheel", "--quiet", "--no-deps", "--wheel-dir", str(folder), str(source)]
    done = subprocess.run([sys.executable, "-m", "pip", *words], capture_output=True, text=True)
    if "setuptools" in done.stderr and "No matching distribution" in done.stderr:
        pytest.skip("the build needs setuptools from a package index")
    assert done.returncode == 0, done.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def c3tf(wheel, tmp_path_factory):
    """Runs the installed command in a folder of its own; what c3tf needs is this process's."""
    folder = tmp_path_factory.mktemp("installed")
    venv.create(folder / "venv", with_pip=False)
    bin_dir = folder / "venv" / "bin"
    libraries = next((folder / "venv" / "lib").glob("python*")) / "site-packages"
    words = ["install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(
        [sys.executable, "-m", "pip", "--python", str(bin_dir / "python"), *words], check=True
    )
    (libraries / "needed.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")

    def run(*arguments):
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(
            [str(bin_dir / "c3tf"), *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
        )

    return run


def test_what_the_wheel_holds(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        (metadata,) = (name for name in names if name.endswith("METADATA"))
        text = archive.read(metadata).decode()
    assert {
        "c3tf/_configs/demo.flags",
        "c3tf/_configs/base/cityscapes.flags",
        "c3tf/py.typed",
        "data_tools/street_scenes/__main__.py",
    } <= set(names)
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "configs"))]
    needed = [
        line
        for line in text.splitlines()
        if line.startswith("Requires-Dist") and "extra" not in line
    ]
    assert len(needed) == 10
    assert not [line for line in needed if "<" in line or "==" in line]


def test_the_command_works_from_any_folder(c3tf):
    done = c3tf("--version")
    assert (done.stdout, done.stderr) == (f"c3tf {versions.VERSION}\n", "")
    done = c3tf("train", "--helpshort")
    assert done.returncode == 0
    assert "c3tf train --flagfile=configs/demo.flags" in done.stdout
    assert not done.stderr
    assert c3tf("data", "bdd100k", "-h").stdout.startswith("Converts BDD100K")


def test_experiment_files_are_found_where_none_are(c3tf):
    done = c3tf("train", "--flagfile=configs/demo.flags", "--backbone=vgg")
    assert done.returncode == 2
    assert "backbone" in done.stderr
    done = c3tf("train", "--flagfile=configs/demoo.flags")
    assert "Cannot read flag file" in done.stderr
    assert done.stderr.startswith("c3tf train: error: ")


def test_a_word_that_is_no_command_names_those_that_are(c3tf):
    done = c3tf("trian")
    assert done.returncode == 2
    assert done.stderr == (
        "c3tf: error: must be one of train, preview, evaluate, predict, suggest, export, report, "
        "networks, tables, data. Received: trian\n"
    )
