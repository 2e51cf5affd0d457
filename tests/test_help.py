"""What a new user sees of the commands: help, version, what is missing; without TensorFlow."""

import itertools
import subprocess
import sys

import pytest

from c3tf import versions
from c3tf.config import OPTIONS
from c3tf.data import manifest
from c3tf.errors import DataError

# Imports every command, which must not reach for TensorFlow, and says what it will read then.
IMPORT = """
import importlib, os, sys

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name in ("tensorflow", "keras", "keras_cv"):
            raise AssertionError(f"{command} imports {name}")

sys.meta_path.insert(0, Watch())
os.environ.pop("TF_CPP_MIN_LOG_LEVEL", None)
for command in sys.argv[1:]:
    importlib.import_module(command)
print(os.environ["TF_CPP_MIN_LOG_LEVEL"])
"""


def commands_of(repository):
    return [
        f"{path.parent.name}.{path.stem}"
        for package in ("c3tf", "data_tools")
        for path in sorted((repository / package).glob("*.py"))
        if "    cli.run(" in path.read_text()
    ]


def test_no_command_imports_tensorflow_before_its_flags_are_known(repository):
    commands = commands_of(repository)
    assert {"c3tf.train", "c3tf.evaluate", "data_tools.convert_weights"} <= set(commands)
    done = subprocess.run(
        [sys.executable, "-c", IMPORT, "c3tf", *commands],
        cwd=repository,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "2\n"


def called(repository, *words):
    return subprocess.run(
        [sys.executable, "-m", *words], cwd=repository, capture_output=True, text=True
    )


def test_every_command_helps_and_exits_with_0(repository):
    # The spellings lead to one place, so each command is asked with one of them.
    spellings = itertools.cycle(["-h", "--help", "--helpshort", "--helpfull"])
    for module, word in zip(commands_of(repository), spellings, strict=False):
        done = called(repository, module, word)
        assert done.returncode == 0, module
        assert not done.stderr
        lines = done.stdout.splitlines()
        assert lines[0].endswith("."), module
        # The example calls the command by the name that the user typed.
        assert lines[2].startswith(f"  python -m {module} "), module
        # It is whole: what it is continued by in the docstring is not shown.
        assert "\\" not in lines[2], module
        assert not lines[3], module


def test_version(repository):
    for words in (["c3tf"], ["c3tf.train"], ["c3tf", "data", "camvid"]):
        done = called(repository, *words, "--version")
        assert (done.returncode, done.stdout) == (0, f"c3tf {versions.VERSION}\n")


def test_short_help_shows_what_people_use_first_and_full_help_all_in_groups(repository):
    short = called(repository, "c3tf.train", "-h").stdout
    own = short[short.index("\nFlags:") : short.index("\nFor every command:")]
    assert own.count("\n  --") == 10
    assert "--temperature" not in short
    full = called(repository, "c3tf.train", "--helpfull").stdout
    groups = {field.metadata["group"] for _, field in OPTIONS.values()}
    for group in groups:
        assert f"\n{group}:\n" in full
    for name, (_, field) in OPTIONS.items():
        assert f"\n  --{'[no]' * isinstance(field.default, bool)}{name}" in full
    contrast = full[full.index("\nContrastive loss:") :]
    assert "  --temperature" in contrast[: contrast.index("\n\n")]


@pytest.mark.parametrize("module", ["c3tf.evaluate", "c3tf.predict"])
def test_help_has_the_test_time_flags(repository, module):
    text = called(repository, module, "-h").stdout
    for name in ("inference", "window", "overlap", "[no]tta_flip", "tta_scales"):
        assert f"\n  --{name}" in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["c3tf.train"], "`--data` and `--output` must be given, directly or by a flag file"),
        (["c3tf.preview"], "`--data` must be given, directly or by a flag file"),
        (["c3tf.evaluate"], "`--model` and `--data` must be given"),
        (["c3tf.evaluate", "--model=x"], "`--data` must be given"),
        (["c3tf.predict"], "`--model` and `--output` must be given"),
        (["c3tf", "suggest"], "`--model` and `--images` and `--output` must be given"),
        (["c3tf", "export"], "`--model` and `--output` must be given"),
        (["c3tf", "data", "camvid"], "`--source` and `--output` must be given"),
    ],
)
def test_a_command_without_its_flags_says_what_it_needs_with_an_example(repository, words, said):
    done = called(repository, *words)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    program = " ".join(words) if words[0] == "c3tf" else f"python -m {words[0]}"
    assert said in done.stderr
    assert f"as in: {program} --" in done.stderr


def test_hints_name_commands_as_the_user_called_this_one(repository):
    """`python -m c3tf` and the installed `c3tf` are one program."""
    for words, said in (
        (["c3tf", "report"], "c3tf report: error: Name at least one run: `c3tf report RUN"),
        (["c3tf.report"], "error: Name at least one run: `python -m c3tf.report RUN"),
        (["c3tf", "data", "inspect", "--data=x"], "`c3tf data folder --images"),
    ):
        assert said in called(repository, *words).stderr
    assert "Result of `c3tf evaluate`" in called(repository, "c3tf", "export", "-h").stdout


def test_what_is_typed_wrongly_is_told_without_what_tensorflow_prints(repository):
    for words in (["--stepz=3"], ["--flagfile=configs/demo.flags", "--steps=0"]):
        done = called(repository, "c3tf.train", *words)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1, done.stderr


def test_data_that_are_not_there_name_their_converter(repository, tmp_path):
    for name, converter in (
        ("cityscapes", "cityscapes --source=FOLDER"),
        ("bdd100k", "bdd100k --source=FOLDER"),
        ("photos", "folder --images=FOLDER"),
    ):
        with pytest.raises(DataError) as caught:
            manifest.load(str(tmp_path / name))
        assert f"`python -m data_tools.{converter}" in str(caught.value)
        assert f"--output={tmp_path / name}` makes one." in str(caught.value)
    # Of a folder that holds something, the next place: converters write over nothing.
    (tmp_path / "camvid" / "train").mkdir(parents=True)
    with pytest.raises(DataError, match="no converted data set") as caught:
        manifest.load(f"{tmp_path}/camvid/")
    assert f"--output={tmp_path / 'camvid'}_records` makes one." in str(caught.value)
