"""The absl flags of a configuration: one per option, made from the dataclasses."""

import dataclasses
import os
from collections.abc import Iterable, Mapping
from typing import Any, get_args, get_type_hints

from absl import flags

from c3tf.config import OPTIONS, SECTIONS, Config, ConfigError, flag_files
from c3tf.config.renamed import new_name
from c3tf.config.values import parse_steps


def define_flags(values: flags.FlagValues = flags.FLAGS) -> None:
    """Defines one absl flag per option among `values`, for a command that calls `from_flags`."""
    for name, (section, field) in OPTIONS.items():
        _define(name, field, get_type_hints(SECTIONS[section])[field.name], values)
        # Read by `c3tf.help`: the heading under which the help shows the flag.
        values[name].group = field.metadata["group"]


def _define(name: str, field: dataclasses.Field, kind: Any, values: flags.FlagValues) -> None:
    default: Any = field.default  # the flags of absl say that theirs is None
    text = field.metadata["help"]
    choices = field.metadata.get("choices")
    if field.metadata["share_of_steps"]:
        flags.DEFINE_string(name, str(default), text, flag_values=values)
    elif kind is bool:
        flags.DEFINE_bool(name, default, text, flag_values=values)
    elif kind is int:
        text += f" One of {', '.join(map(str, choices))}." if choices else ""
        flags.DEFINE_integer(name, default, text, flag_values=values)
    elif kind is float:
        flags.DEFINE_float(name, default, text, flag_values=values)
    elif kind is str and choices:
        flags.DEFINE_enum(name, default, choices, text, flag_values=values)
    elif kind is str:
        flags.DEFINE_string(name, default, text, flag_values=values)
    else:
        flags.DEFINE_list(name, [str(value) for value in default], text, flag_values=values)


def from_flags(values: flags.FlagValues = flags.FLAGS) -> Config:
    """Returns the configuration that parsed flags describe.

    Raises:
        ConfigError: a value is refused.
    """
    sections: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for name, (section, field) in OPTIONS.items():
        value: Any = values[name].value
        if isinstance(field.default, tuple):
            kind = get_type_hints(SECTIONS[section])[field.name]
            value = _numbers(name, value, get_args(kind)[0])
        elif field.metadata["share_of_steps"]:
            value = parse_steps(name, value, values["steps"].value)
        sections[section][field.name] = value
    return Config(**{name: SECTIONS[name](**chosen) for name, chosen in sections.items()})


def from_files(files: Iterable[str | os.PathLike], options: Mapping[str, Any]) -> Config:
    """Returns the configuration that flag files and options describe; no command line is read.

    Args:
        files: flag files, the later ones winning, see `flag_files.expand`.
        options: by the names of their flags; they win over the files. None is the default.

    Raises:
        ConfigError: an option is unknown or its value is refused.
        UserError: a file cannot be read.
    """
    values = flags.FlagValues()
    define_flags(values)
    words = [f"--flagfile={os.fspath(path)}" for path in files]
    for name, value in options.items():
        chosen = OPTIONS[name].field.default if value is None and name in OPTIONS else value
        words.append(f"--{name}={_as_text(chosen)}")
    try:
        values(["c3tf", *flag_files.expand(words)])
    except flags.Error as error:
        raise ConfigError(explained(error, values)) from error
    return from_flags(values)


def explained(error: flags.Error, values: flags.FlagValues) -> str:
    """Returns what is wrong with flags; an old name with the new one."""
    old = getattr(error, "flagname", "")
    if new := new_name(old, values):
        return f"`--{old}` is called `--{new}` now. Received: --{old}"
    # absl puts a blank before its question mark.
    return str(error).replace(" ?", "?").rstrip(".")


def _as_text(value: Any) -> str:
    if hasattr(value, "tolist"):  # an array or a number of NumPy's
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return ",".join(map(str, value))
    return str(value)


def _numbers(name: str, words: list[str], kind: type) -> tuple[float, ...]:
    try:
        return tuple(kind(word) for word in words if word.strip())
    except ValueError as error:
        what = "whole numbers" if kind is int else "numbers"
        raise ConfigError(
            f"`--{name}` must be {what} separated by commas. Received: {','.join(words)}"
        ) from error
