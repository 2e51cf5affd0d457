"""Runs a command: expands flag files, parses flags, turns user errors into one clear line."""

import logging as stdlib_logging
import os
import re
import runpy
import sys
from collections.abc import Callable, Sequence

from absl import app, flags, logging

from c3tf import help as help_texts
from c3tf import progress, versions
from c3tf.config import absl_flags, environment, flag_files
from c3tf.errors import Stopped, UserError
from c3tf.io import streams
from c3tf.io.native_log import NativeLog

# TensorFlow reads this when it is first imported, which commands do in their `main`.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# What OpenCV and the decoders below it say of a file stands in the error, too.
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

EXIT_USER_ERROR = UserError.exit_code
# What shells give for a program that Ctrl-C ended: 128 and the number of the signal.
_EXIT_INTERRUPTED = 130
# How texts name a command, and what is typed in its place where one is called through `c3tf`.
_CALL = re.compile(r"python -m (c3tf|data_tools)\.(?=\w)")
_TYPED = {"c3tf": "c3tf ", "data_tools": "c3tf data "}


def run(
    main: Callable[..., int | None], arguments_name: str = "", first: Sequence[str] = ()
) -> None:
    """Parses the command line and runs `main`, ending the process with its exit code.

    The command's docstring is its help: the first line, and an example that begins with
    `python -m`. It imports TensorFlow in `main`, so that help and errors in flags do not wait for
    it, and what it prints below Python is held back (`NativeLog`).

    Args:
        main: the command; it reads absl flags. Its return value is the exit code (`None` is 0).
        arguments_name: what the words that are no flags name, for a command that takes them:
            `main` is then called with their list. Such words are refused when it is empty.
        first: flags with a group that the short help shows.
    """
    streams.make_steadfast()
    command = _Command(arguments_name, first)
    try:
        app.run(lambda arguments: command.call(main, arguments), flags_parser=command.parse)
    except Stopped as stopped:
        command.end(stopped.exit_code, str(stopped))
    except (UserError, OSError) as error:
        # The system's own complaints (no permission, disk full) name the file.
        command.end(getattr(error, "exit_code", EXIT_USER_ERROR), f"error: {error}")
    except KeyboardInterrupt:
        command.end(_EXIT_INTERRUPTED, "interrupted.")
    except MemoryError as error:
        command.native_log.show()
        command.end(EXIT_USER_ERROR, f"error: Not enough memory: {error}")
    except Exception:
        # A traceback follows; what native code has printed may say why.
        command.native_log.show()
        raise


def run_module(module: str, program: str, arguments: Sequence[str]) -> None:
    """Runs a command's module as `python -m` does.

    Args:
        module: its full name.
        program: what the user typed, for its messages.
        arguments: the command line after that.
    """
    global _program
    _program, sys.argv[1:] = program, arguments
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def keep_native_log(path: str) -> None:
    """Names the file that gets what native code prints, where it prints anything.

    Args:
        path: the file; it is appended to when the command has succeeded.
    """
    global _native_log_path
    _native_log_path = path


# What the user typed, where `c3tf` runs a command's module.
_program = ""
_native_log_path = ""


class _Command:
    """One call of a command: its parsing, its run and its end."""

    def __init__(self, arguments_name: str, first: Sequence[str]) -> None:
        self.program = _called_as()
        self.native_log = NativeLog()
        self._arguments_name, self._first = arguments_name, first

    def parse(self, arguments: Sequence[str]) -> list[str]:
        """Parses the command line, or answers it where it asks for help or the version."""
        words = arguments[1 : arguments.index("--") if "--" in arguments else None]
        asked = {word.lstrip("-") for word in words if word.startswith("-")}
        if asked & {"h", "help", "helpshort", "helpfull"}:
            full = "helpfull" in asked
            print(_as_typed(help_texts.text(_document(), self.program, self._first, full)))
            sys.exit()
        if "version" in asked:
            print(f"c3tf {versions.VERSION}")
            sys.exit()
        try:
            return flags.FLAGS([arguments[0], *flag_files.expand(arguments[1:])])
        except flags.Error as error:
            raise UserError(self._explained(error)) from error

    def call(self, main: Callable[..., int | None], arguments: Sequence[str]) -> int | None:
        """Runs the command with parsed flags."""
        if len(arguments) > 1 and not self._arguments_name:
            raise UserError(
                f"Every argument must be a flag (--name=value). Received: {arguments[1]!r}"
            )
        if aside := environment.pin():
            said = f"{self.program}: not used from the environment: {', '.join(aside)}"
            print(said, file=sys.stderr)
        environment.check_keras_file()
        if not flags.FLAGS["verbosity"].present:
            logging.set_verbosity(logging.WARNING)
            logging.get_absl_handler().setFormatter(_Plain())
            self.native_log.start()
        result = main(list(arguments[1:])) if self._arguments_name else main()
        self.native_log.end(_native_log_path)
        progress.finish()
        streams.report_lost()
        return result

    def end(self, code: int, message: str) -> None:
        """Ends the process with a line that says why."""
        progress.finish()
        self.native_log.end()
        # One line, whatever stands in the names that it quotes.
        print(f"{self.program}: {streams.shown(_as_typed(message))}", file=sys.stderr)
        sys.exit(code)

    def _explained(self, error: flags.Error) -> str:
        """Says what is wrong with the flags, and what to do."""
        if missing := help_texts.missing(error):
            needed = " and ".join(f"`--{name}`" for name in missing)
            return f"{needed} must be given, as in: {_example()}"
        text = absl_flags.explained(error, flags.FLAGS)
        stop = "" if text.endswith("?") else "."
        return f"{text}{stop} `{self.program} --helpfull` lists the flags."


class _Plain(stdlib_logging.Formatter):
    """Says what a warning says, without time, process and line of code."""

    def format(self, record: stdlib_logging.LogRecord) -> str:
        lines = super().format(record).splitlines()
        return f"{record.levelname.lower()}: " + "\n".join(map(streams.shown, lines))


def need(**values: str) -> None:
    """Refuses to go on without flags whose default is empty.

    Args:
        **values: what they are, by name.

    Raises:
        UserError: names those that are missing, and an example.
    """
    if missing := [name for name, value in values.items() if not value]:
        needed = " and ".join(f"`--{name}`" for name in missing)
        raise UserError(f"{needed} must be given, directly or by a flag file, as in: {_example()}")


def _called_as() -> str:
    """Returns what the user typed to call the command."""
    return _program or f"python -m {_module_name()}"


def _as_typed(text: str) -> str:
    """Names the commands in a text as the user has called this one."""
    return _CALL.sub(lambda call: _TYPED[call[1]], text) if _program else text


def _document() -> str:
    return sys.modules["__main__"].__doc__ or ""


def _example() -> str:
    return help_texts.example(_document(), _called_as()) or f"{_called_as()} --flag=value"


def _module_name() -> str:
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    return spec.name if spec else os.path.basename(sys.argv[0])
