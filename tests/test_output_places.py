"""Every command that writes refuses a bad place before it opens what it was given."""

import subprocess
import sys

import pytest

# Runs command after command in one process, because importing TensorFlow takes seconds.
RUN = """
import runpy, sys
from absl import app, flags
import c3tf.cli

app.define_help_flags()
own = set(flags.FLAGS)
for line in sys.argv[1:]:
    sys.argv = line.split()
    try:
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        print("exit code", end.code, file=sys.stderr)
    for name in set(flags.FLAGS) - own:
        delattr(flags.FLAGS, name)
    flags.FLAGS.unparse_flags()
"""
# What each command is given does not exist, which it would say if it looked.
COMMANDS = {
    "c3tf.evaluate": ("--model=absent", "--data=absent", "--output={}/x.json"),
    "c3tf.evaluate ": ("--model=absent", "--data=absent", "--error_maps={}/x"),
    "c3tf.predict": ("--model=absent", "--images=absent", "--output={}/x"),
    "c3tf.suggest": ("--model=absent", "--images=absent", "--output={}/x"),
    "c3tf.export": ("--model=absent", "--output={}/x"),
    "c3tf.preview": ("--data=absent", "--output={}/x.png"),
    "c3tf.report": ("absent", "--output={}/x.html"),
    "c3tf.tables": ("--table=absent", "--output={}/x"),
    "data_tools.camvid": ("--source=absent", "--output={}/x"),
    "data_tools.cityscapes": ("--source=absent", "--output={}/x"),
    "data_tools.bdd100k": ("--source=absent", "--output={}/x"),
    "data_tools.inspect": ("--data=absent", "--output={}/x.png"),
    "data_tools.splits": ("--data=absent", "--labeled=3", "--output={}/x.txt"),
    "data_tools.convert_weights": (
        "--checkpoint=absent",
        "--architecture=resnet50",
        "--output={}/x.weights.h5",
    ),
}


@pytest.fixture(scope="module")
def said(repository, tmp_path_factory):
    """The folder that is none, and what each command said of it."""
    folder = tmp_path_factory.mktemp("places") / "file"
    folder.write_text("mine")
    lines = [" ".join([name, *words]).format(folder) for name, words in COMMANDS.items()]
    done = subprocess.run(
        [sys.executable, "-c", RUN, *lines], cwd=repository, capture_output=True, text=True
    )
    own = ("python -m ", "exit code ")
    answers = [line for line in done.stderr.splitlines() if line.startswith(own)]
    assert len(answers) == 2 * len(COMMANDS), done.stderr
    return folder, dict(zip(COMMANDS, zip(answers[::2], answers[1::2], strict=True), strict=True))


@pytest.mark.parametrize("name", COMMANDS)
def test_a_place_that_cannot_be_written_is_refused_first(said, name):
    folder, answers = said
    error, end = answers[name]
    flag, _, path = COMMANDS[name][-1].format(folder).partition("=")
    assert f"`{flag}` cannot be written, because {folder} is no folder" in error
    assert error.endswith(f"Received: {flag}={path}")
    assert end == "exit code 2"
