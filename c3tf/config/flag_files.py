"""Flag files: found, read, and expanded into the flags that they hold."""

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from c3tf.errors import UserError

_FLAGFILE = "--flagfile"
# A shell expands `~` only where a word begins with it.
_HOME = re.compile(r"(--?[\w-]+=)(~/.*)", re.DOTALL)
_COMMENT = re.compile(r"\s#(\s|$)")
# The experiment files: beside the package in a repository, inside of it where it is installed.
_NAME = "configs"
_PACKAGE = Path(__file__).resolve().parent.parent
_INSTALLED, _REPOSITORY = _PACKAGE / f"_{_NAME}", _PACKAGE.parent / _NAME
_SHIPPED = _INSTALLED if _INSTALLED.is_dir() else _REPOSITORY


def expand(arguments: Sequence[str]) -> list[str]:
    """Replaces every `--flagfile=PATH` by the flags that the file holds, and `~/` in values.

    absl reads flag files itself, with two traps that this function removes: a nested path is
    resolved against the working directory, and a flag given before `--flagfile` loses to the
    file. Here a nested path is relative to the file that names it, and flags given directly on
    the command line always win over those from files. A path `configs/...` that is not there is
    that of the experiment file which comes with the package.

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
            from_files.extend(_read(found(_flagfile_path(word, words)), parents=()))
        else:
            direct.append(word)
    return [_expand_home(word) for word in from_files + direct]


def _expand_home(word: str) -> str:
    """Expands `--name=~/path`."""
    match = _HOME.fullmatch(word)
    return match[1] + os.path.expanduser(match[2]) if match else word


def found(path: str, folder: str = os.curdir) -> str:
    """Returns the absolute path of an experiment file, below `folder` or with those of c3tf."""
    own = os.path.abspath(os.path.join(folder, os.path.expanduser(path)))
    parts = Path(path).parts
    if parts[:1] != (_NAME,) or len(parts) < 2 or os.path.exists(own):
        return own
    shipped = _SHIPPED.joinpath(*parts[1:])
    return str(shipped) if shipped.exists() else own


def _names_flagfile(word: str) -> bool:
    return word.split("=", 1)[0] in (_FLAGFILE, _FLAGFILE[1:])


def _flagfile_path(word: str, following: Iterator[str]) -> str:
    _, equals, path = word.partition("=")
    path = path if equals else next(following, "")
    if not path:
        raise UserError("`--flagfile` must name a file. Received: nothing.")
    return path


def _problem(line: str) -> str | None:
    """Says what a line must do and does not, or None."""
    if not line.startswith("-"):
        return "start with `--`"
    if not line.strip("-"):
        # To absl it ends the flags: what follows would be dropped.
        return "name a flag behind `--`"
    value = line.partition("=")[2]
    # A shell would take these away; here they would be a part of the value.
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return "hold its value without quotes"
    return "hold no comment; give it a line of its own" if _COMMENT.search(value) else None


def _read(path: str, parents: tuple[str, ...]) -> list[str]:
    """Returns the flags in one file, files that it includes expanded in place."""
    if path in parents:
        raise UserError(f"Flag file {path} includes itself: {' -> '.join((*parents, path))}")
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"Cannot read flag file {path}: {error}") from error
    if "\0" in text:
        raise UserError(f"Cannot read flag file {path}: it holds a zero byte, so it is no text")
    result = []
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith(("#", "//")):
            continue
        if problem := _problem(line):
            raise UserError(f"A line of flag file {path} must {problem}. Received: {line!r}")
        if _names_flagfile(line):
            nested = found(_flagfile_path(line, iter(())), os.path.dirname(path))
            result.extend(_read(nested, (*parents, path)))
        else:
            result.append(line)
    return result
