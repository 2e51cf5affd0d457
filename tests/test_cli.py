"""Commands: flag files, precedence, and errors in one line."""

import os
import subprocess
import sys

import pytest

import flag_files as all_flag_files
from c3tf import cli
from c3tf.config import Config, flag_files
from c3tf.errors import Stopped, StorageError, UserError

COMMAND = """
from absl import flags, logging
from c3tf import cli
from c3tf.errors import StorageError, Stopped, UserError

flags.DEFINE_integer("steps", 1, "Steps.")
flags.DEFINE_string("data", "", "Data.")
flags.DEFINE_bool("fail", False, "Fail as a user would see it.")
flags.DEFINE_bool("crash", False, "Fail as a programmer would see it.")
flags.DEFINE_integer("code", None, "Exit code.")
flags.DEFINE_string("ends", "", "How the command ends.")


def main():
    if flags.FLAGS.fail:
        raise UserError("`--data` must exist. Received: --data=nowhere")
    if flags.FLAGS.crash:
        raise RuntimeError("a bug")
    if flags.FLAGS.ends == "stopped":
        raise Stopped("stopped after step 3")
    if flags.FLAGS.ends == "full":
        raise StorageError("Cannot write a.npz: No space left on device.")
    if flags.FLAGS.ends == "warned":
        logging.warning("%s is damaged", "a.npz")
    if flags.FLAGS.ends == "caught":
        try:
            raise KeyError("absent")
        except KeyError:
            logging.exception("%s\\n%s", "two", "lines")
    print(f"steps={flags.FLAGS.steps} data={flags.FLAGS.data}")
    return flags.FLAGS.code


if __name__ == "__main__":
    cli.run(main)
"""


@pytest.fixture
def command(tmp_path, repository):
    """Runs a small command in a folder of its own; `python -m demo_command ARGUMENTS`."""
    (tmp_path / "demo_command.py").write_text(COMMAND)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), str(repository)])}

    def run(*arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, closed=False, **variables):
        words = [sys.executable, "-m", "demo_command", *map(str, arguments)]
        if closed:
            words = ["sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", *words]
        return subprocess.run(
            words,
            env=environment | variables,
            cwd=tmp_path,
            stdout=stdout,
            stderr=stderr,
            text=True,
            check=False,
        )

    return run


def write(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")
    return path


def assert_one_line_error(done, *words):
    assert done.returncode == cli.EXIT_USER_ERROR == 2
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("python -m demo_command: error: ")
    assert all(str(word) in lines[0] for word in words), lines[0]
    assert not done.stdout


def test_nested_files_are_relative_to_the_file_that_names_them(tmp_path, monkeypatch):
    write(tmp_path / "configs/base/deep/paper.flags", "--a=deep")
    write(tmp_path / "configs/base/city.flags", "--flagfile=deep/paper.flags", "--b=base")
    top = write(tmp_path / "configs/top.flags", "--flagfile=base/city.flags", "--c=top")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    expected = ["--a=deep", "--b=base", "--c=top"]
    assert flag_files.expand([f"--flagfile={top}"]) == expected
    # Only the file named on the command line is looked for in the working directory.
    assert flag_files.expand(["--flagfile=../configs/top.flags"]) == expected


def test_files_are_expanded_in_place_and_the_command_line_comes_last(tmp_path):
    write(tmp_path / "base.flags", "--steps=1", "--data=base")
    first = write(tmp_path / "a.flags", "--steps=0", "--flagfile=base.flags", "--data=own")
    second = write(tmp_path / "b.flags", "--steps=7")
    assert flag_files.expand(
        ["--steps=5", f"--flagfile={first}", "--data=direct", f"--flagfile={second}"]
    ) == [
        "--steps=0",
        "--steps=1",
        "--data=base",
        "--data=own",
        "--steps=7",
        "--steps=5",
        "--data=direct",
    ]


@pytest.mark.parametrize("spelling", ["--flagfile={}", "-flagfile={}", "--flagfile {}"])
def test_spellings(tmp_path, spelling):
    path = write(tmp_path / "with space.flags", "--steps=3")
    words = [part.replace("{}", str(path)) for part in spelling.split(" ")]
    assert flag_files.expand(words) == ["--steps=3"]


def test_comments_and_blank_lines(tmp_path):
    path = write(
        tmp_path / "a.flags",
        "# comment",
        "",
        "   ",
        "// comment",
        "  --steps=3  ",
        "-data=x",
        "--output=with#inside",
    )
    assert flag_files.expand([f"--flagfile={path}"]) == [
        "--steps=3",
        "-data=x",
        "--output=with#inside",
    ]


def test_home_is_expanded(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write(tmp_path / "base.flags", "--steps=3")
    write(tmp_path / "deep/a.flags", "--flagfile=~/base.flags")
    assert flag_files.expand(["--flagfile=~/deep/a.flags"]) == ["--steps=3"]


def test_after_two_dashes_nothing_is_a_flag(tmp_path):
    assert flag_files.expand(["--a=1", "--", "--flagfile=x"]) == ["--a=1", "--", "--flagfile=x"]


def test_a_file_may_be_included_twice_but_not_by_itself(tmp_path):
    base = write(tmp_path / "base.flags", "--a=1")
    both = write(tmp_path / "both.flags", "--flagfile=base.flags", "--flagfile=base.flags")
    assert flag_files.expand([f"--flagfile={both}", f"--flagfile={base}"]) == ["--a=1"] * 3


@pytest.mark.parametrize("chain", [["a"], ["a", "b"], ["a", "sub/b", "sub/c"]])
def test_inclusion_in_a_circle_is_refused(tmp_path, chain):
    paths = [tmp_path / f"{name}.flags" for name in chain]
    for path, following in zip(paths, [*paths[1:], paths[0]], strict=True):
        write(path, f"--flagfile={os.path.relpath(following, path.parent)}")
    with pytest.raises(UserError, match="includes itself") as refused:
        flag_files.expand([f"--flagfile={paths[0]}"])
    assert all(str(path) in str(refused.value) for path in paths)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["steps=3"], ["must start with `--`", "steps=3"]),
        (["--flagfile=missing.flags"], ["missing.flags"]),
        (["--flagfile="], ["`--flagfile` must name a file"]),
        (["--flagfile=."], ["Cannot read flag file", "directory"]),
        (["--data=a\0b"], ["it holds a zero byte"]),
    ],
)
def test_bad_files_are_named(tmp_path, lines, words):
    path = write(tmp_path / "a.flags", *lines)
    with pytest.raises(UserError) as refused:
        flag_files.expand([f"--flagfile={path}"])
    assert all(word in str(refused.value) for word in words)


def test_the_mark_and_line_ends_of_windows_are_no_flags(tmp_path):
    path = tmp_path / "a.flags"
    path.write_bytes(b"\xef\xbb\xbf--steps=3\r\n--data=x\r\n")
    assert flag_files.expand([f"--flagfile={path}"]) == ["--steps=3", "--data=x"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('--output="runs/my run"', "hold its value without quotes"),
        ("--output='runs'", "hold its value without quotes"),
        ("--output=runs  # of today", "hold no comment"),
        ("output=runs", "start with `--`"),
        # What follows it would be dropped.
        ("--", "name a flag behind `--`"),
    ],
)
def test_what_a_shell_would_take_away_is_no_part_of_a_value(tmp_path, line, said):
    path = write(tmp_path / "a.flags", line)
    with pytest.raises(UserError, match=rf"A line of flag file .*a\.flags must {said}.*Received"):
        flag_files.expand([f"--flagfile={path}"])
    path = write(tmp_path / "b.flags", "--output=it's #1", '--data=5"')
    assert flag_files.expand([f"--flagfile={path}"]) == ["--output=it's #1", '--data=5"']


def test_unreadable_files_are_named(tmp_path):
    for path in (tmp_path, tmp_path / "binary.flags"):
        if path.suffix:
            path.write_bytes(b"\xff\xfe--steps=3")
        with pytest.raises(UserError, match="Cannot read flag file") as refused:
            flag_files.expand([f"--flagfile={path}"])
        assert str(path) in str(refused.value)


def test_flagfile_without_a_name():
    with pytest.raises(UserError, match="`--flagfile` must name a file"):
        flag_files.expand(["--flagfile"])


def test_run_with_files_and_flags(command, tmp_path):
    write(tmp_path / "base/b.flags", "--steps=2", "--data=file")
    write(tmp_path / "a.flags", "--flagfile=base/b.flags")
    done = command("--steps=5", "--flagfile=a.flags")
    assert done.stdout == "steps=5 data=file\n"
    assert done.returncode == 0
    assert not done.stderr


def test_exit_code_of_the_command(command):
    assert command("--code=3").returncode == 3


def test_a_command_that_was_stopped_says_so_without_calling_it_an_error(command):
    done = command("--ends=stopped")
    assert done.returncode == Stopped.exit_code == 75
    assert done.stderr.endswith(": stopped after step 3\n")
    assert "error" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_warning_is_a_line_without_time_and_place(command):
    done = command("--ends=warned")
    assert (done.returncode, done.stderr) == (0, "warning: a.npz is damaged\n")


def test_what_a_warning_says_in_lines_and_its_traceback_are_kept(command):
    done = command("--ends=caught")
    lines = done.stderr.splitlines()
    assert lines[:3] == ["error: two", "lines", "Traceback (most recent call last):"]
    assert lines[-1] == "KeyError: 'absent'"


def test_errors_carry_their_exit_code(command):
    done = command("--ends=full")
    assert done.returncode == StorageError.exit_code == 74
    assert done.stderr.endswith("error: Cannot write a.npz: No space left on device.\n")


def test_a_command_may_take_words_that_are_no_flags(repository, tmp_path):
    script = """
from absl import flags
from c3tf import cli
flags.DEFINE_integer("steps", 1, "Steps.")
cli.run(lambda words: print(words, flags.FLAGS.steps), arguments_name="RUN")
"""
    done = subprocess.run(
        [sys.executable, "-c", script, "one", "--steps=2", "two words"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(repository)},
    )
    assert done.stdout == "['one', 'two words'] 2\n"


def test_unknown_flag(command):
    assert_one_line_error(command("--stepz=3"), "stepz", "--helpfull")


def test_unknown_flag_in_a_file(command, tmp_path):
    write(tmp_path / "a.flags", "--stepz=3")
    assert_one_line_error(command("--flagfile=a.flags"), "stepz")


def test_value_of_a_wrong_type(command):
    assert_one_line_error(command("--steps=many"), "steps", "many")


def test_argument_that_is_no_flag(command):
    assert_one_line_error(command("steps=3"), "must be a flag", "steps=3")


def test_missing_flagfile(command, tmp_path):
    assert_one_line_error(command("--flagfile=none.flags"), tmp_path / "none.flags")


def test_user_error_of_the_command(command):
    assert_one_line_error(command("--fail"), "`--data` must exist. Received: --data=nowhere")


def test_a_bug_keeps_its_traceback(command):
    done = command("--crash")
    assert done.returncode not in (0, cli.EXIT_USER_ERROR)
    assert "Traceback" in done.stderr
    assert "RuntimeError: a bug" in done.stderr


def test_help(command):
    done = command("--helpshort")
    assert "--steps" in done.stdout
    assert "Steps." in done.stdout
    assert "Traceback" not in done.stderr


CONFIGURE = """
from c3tf import cli
from c3tf.config import absl_flags
absl_flags.define_flags()
cli.run(lambda: print(absl_flags.from_flags().to_dict()))
"""


def configure(repository, cwd, *words):
    return subprocess.run(
        [sys.executable, "-c", CONFIGURE, *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": str(repository)},
    )


def test_every_flag_file_of_the_project_is_accepted(repository):
    files = sorted(
        path for path in (repository / "configs").rglob("*.flags") if "evaluate" not in path.parts
    )
    answers = all_flag_files.read(repository, *([f"--flagfile={path}"] for path in files))
    assert files
    for path, answer in zip(files, answers, strict=True):
        assert isinstance(answer, Config), f"{path}: {answer}"


def test_a_refused_configuration_is_one_line(repository, tmp_path):
    done = configure(repository, tmp_path, "--dcrs_ratio=2")
    assert done.returncode == cli.EXIT_USER_ERROR
    assert done.stderr.count("\n") == 1
    assert "`--dcrs_ratio` must be at most 1.0. Received: 2.0" in done.stderr


def test_the_home_directory_is_expanded(command, tmp_path):
    (tmp_path / "home.flags").write_text("--data=~/from_file\n")
    home = os.path.expanduser("~")
    assert command("--data=~/data").stdout == f"steps=1 data={home}/data\n"
    assert command("--flagfile=home.flags").stdout == f"steps=1 data={home}/from_file\n"
    assert command("--data=a~/b").stdout == "steps=1 data=a~/b\n"


@pytest.mark.parametrize(
    ("module", "old", "new"),
    [
        ("c3tf.train", "--backbone_rate=0.1", "--backbone_lr_multiplier"),
        ("c3tf.train", "--learning_rate_power=1", "--poly_power"),
        ("c3tf.train", "--split=list.txt", "--labeled_list"),
        ("c3tf.evaluate", "--protocol=sliding", "--inference"),
        ("c3tf.evaluate", "--noflip", "--notta_flip"),
        ("c3tf.predict", "--scales=1.0", "--tta_scales"),
        ("c3tf.export", "--run=runs/a", "--model"),
    ],
)
def test_an_old_flag_name_is_refused_with_the_new_one(repository, module, old, new):
    done = subprocess.run(
        [sys.executable, "-m", module, old], cwd=repository, capture_output=True, text=True
    )
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert old.split("=")[0].lstrip("-") in last
    assert f"`{new}` now" in last


def test_the_environment_decides_no_result_and_is_told_so(command):
    done = command("--steps=3", KERAS_BACKEND="jax", TF_XLA_FLAGS="--tf_xla_auto_jit=2")
    assert (done.returncode, done.stdout) == (0, "steps=3 data=\n")
    assert done.stderr == (
        "python -m demo_command: not used from the environment: KERAS_BACKEND=jax, "
        "TF_XLA_FLAGS=--tf_xla_auto_jit=2\n"
    )


def test_what_cannot_be_printed_is_escaped_or_told_and_the_command_succeeds(command):
    done = command("--steps=3", "--data=道路\x1b[2J", PYTHONIOENCODING="ascii")
    assert (done.returncode, done.stdout) == (0, "steps=3 data=\\u9053\\u8def\\x1b[2J\n")
    with open("/dev/full", "w") as full:
        done = command("--steps=3", stdout=full)
    assert done.returncode == 0
    assert done.stderr == (
        "Not all output could be printed (No space left on device); the work is done.\n"
    )
    read, write = os.pipe()
    os.close(read)
    done = command("--steps=3", stdout=write, stderr=write)
    os.close(write)
    assert done.returncode == 0
    # Closed from the beginning, when the next file opened would be standard output.
    assert command("--steps=3", closed=True).returncode == 0
    done = command("--fail", "--data=a")
    assert_one_line_error(done, "must exist")
