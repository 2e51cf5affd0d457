"""Runs a command: expands flag files, parses flags, turns user errors into one clear line."""

import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence

from absl import app, flags, logging

from c3tf.config.renamed import new_name
from c3tf.errors import Stopped, UserError

# TensorFlow reads this when it is first imported, which commands do after this module. Its
# banners would bury the lines that a command prints.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

_FLAGFILE = "--flagfile"
EXIT_USER_ERROR = UserError.exit_code
# What shells give for a program that Ctrl-C ended: 128 and the number of the signal.
_EXIT_INTERRUPTED = 130
# A flag whose value begins with the home directory, which shells expand in other places only.
_HOME = re.compile(r"(--?[\w-]+=)(~/.*)", re.DOTALL)


def expand_flagfiles(arguments: Sequence[str]) -> list[str]:
    """Replaces every `--flagfile=PATH` by the flags that the file holds.

    absl reads flag files itself, with two traps that this function removes: a nested path is
    resolved against the working directory, and a flag given before `--flagfile` loses to the
    file. Here a nested path is relative to the file that names it, and flags given directly on
    the command line always win over those from files.

    Args:
        arguments: the command line without the program's name.

    Returns:
        The flags of all files in order of appearance, then the direct arguments.

    Raises:
        UserError: a file is missing, unreadable or includes itself.
    """
    from_files, direct = [], []
    words = iter(arguments)
    for word in words:
        if word == "--":
            direct.extend([word, *words])
        elif _names_flagfile(word):
            from_files.extend(_read(_flagfile_path(word, words), parents=()))
        else:
            direct.append(word)
    return from_files + direct


def _names_flagfile(word: str) -> bool:
    return word.split("=", 1)[0] in (_FLAGFILE, _FLAGFILE[1:])


def _flagfile_path(word: str, following: Iterator[str]) -> str:
    _, equals, path = word.partition("=")
    path = path if equals else next(following, "")
    if not path:
        raise UserError("`--flagfile` must name a file. Received: nothing.")
    return path


def _read(path: str, parents: tuple[str, ...]) -> list[str]:
    """Returns the flags in one file, files that it includes expanded in place."""
    path = os.path.abspath(os.path.expanduser(path))
    if path in parents:
        raise UserError(f"Flag file {path} includes itself: {' -> '.join((*parents, path))}")
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read flag file {path}: {error}") from error
    result = []
    for line in lines:
        line = line.strip()
        if not line or line.startswith(("#", "//")):
            continue
        if not line.startswith("-"):
            raise UserError(f"A line of flag file {path} must start with `--`. Received: {line!r}")
        if _names_flagfile(line):
            nested = os.path.expanduser(_flagfile_path(line, iter(())))
            result.extend(_read(os.path.join(os.path.dirname(path), nested), (*parents, path)))
        else:
            result.append(line)
    return result


def _expand_home(word: str) -> str:
    """Expands `--name=~/path`."""
    match = _HOME.fullmatch(word)
    return match[1] + os.path.expanduser(match[2]) if match else word


def run(main: Callable[..., int | None], arguments_name: str = "") -> None:
    """Parses the command line and runs `main`, ending the process with its exit code.

    Args:
        main: the command; it reads absl flags. Its return value is the exit code (`None` is 0).
        arguments_name: what the words that are no flags name, for a command that takes them:
            `main` is then called with their list. Such words are refused when it is empty.
    """
    program = "python -m " + _module_name()

    def call(arguments: Sequence[str]) -> int | None:
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
        if arguments_name:
            return main(list(arguments[1:]))
        if len(arguments) > 1:
            raise UserError(
                f"Every argument must be a flag (--name=value). Received: {arguments[1]!r}"
            )
        return main()

    def parse(arguments: Sequence[str]) -> list[str]:
        try:
            words = [_expand_home(word) for word in expand_flagfiles(arguments[1:])]
            return flags.FLAGS([arguments[0], *words])
        except flags.Error as error:
            old = getattr(error, "flagname", "")
            if new := new_name(old, flags.FLAGS):
                raise UserError(f"`--{old}` is called `--{new}` now. Received: --{old}") from error
            text = str(error).rstrip(".")
            raise UserError(f"{text}. `{program} --helpshort` lists the flags.") from error

    try:
        app.run(call, flags_parser=_with_help(parse))
    except Stopped as stopped:
        print(f"{program}: {stopped}", file=sys.stderr)
        sys.exit(stopped.exit_code)
    except (UserError, OSError) as error:
        # The system's own complaints (no permission, disk full) name the file.
        print(f"{program}: error: {error}", file=sys.stderr)
        sys.exit(getattr(error, "exit_code", EXIT_USER_ERROR))
    except KeyboardInterrupt:
        print(f"{program}: interrupted.", file=sys.stderr)
        sys.exit(_EXIT_INTERRUPTED)
    except MemoryError as error:
        print(f"{program}: error: Not enough memory: {error}", file=sys.stderr)
        sys.exit(EXIT_USER_ERROR)


def _with_help(parse: Callable[[Sequence[str]], list[str]]) -> Callable:
    """Keeps absl's `--help` flags, which it defines only when it parses by itself."""

    def parser(arguments: Sequence[str]) -> list[str]:
        app.define_help_flags()
        return parse(arguments)

    return parser


def _module_name() -> str:
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec.name if spec else os.path.basename(sys.argv[0])
