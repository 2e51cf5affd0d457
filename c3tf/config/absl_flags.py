"""The absl flags of a configuration: one per option, made from the dataclasses."""

import dataclasses
from typing import Any, get_args, get_type_hints

from absl import flags

from c3tf.config import OPTIONS, SECTIONS, Config, ConfigError


def define_flags() -> None:
    """Defines one absl flag per option, for a command that calls `from_flags`."""
    for name, (section, field) in OPTIONS.items():
        _define(name, field, get_type_hints(SECTIONS[section])[field.name])


def _define(name: str, field: dataclasses.Field, kind: Any) -> None:
    default: Any = field.default  # the flags of absl say that theirs is None
    text = field.metadata["help"]
    choices = field.metadata.get("choices")
    if kind is bool:
        flags.DEFINE_bool(name, default, text)
    elif kind is int:
        text += f" One of {', '.join(map(str, choices))}." if choices else ""
        flags.DEFINE_integer(name, default, text)
    elif kind is float:
        flags.DEFINE_float(name, default, text)
    elif kind is str and choices:
        flags.DEFINE_enum(name, default, choices, text)
    elif kind is str:
        flags.DEFINE_string(name, default, text)
    else:
        flags.DEFINE_list(name, [str(value) for value in default], text)


def from_flags() -> Config:
    """Returns the configuration that the parsed flags describe.

    Raises:
        ConfigError: a value is refused.
    """
    sections: dict[str, dict[str, Any]] = {section: {} for section in SECTIONS}
    for name, (section, field) in OPTIONS.items():
        value: Any = flags.FLAGS[name].value
        if isinstance(field.default, tuple):
            kind = get_type_hints(SECTIONS[section])[field.name]
            value = _numbers(name, value, get_args(kind)[0])
        sections[section][field.name] = value
    return Config(**{name: SECTIONS[name](**values) for name, values in sections.items()})


def _numbers(name: str, words: list[str], kind: type) -> tuple[float, ...]:
    try:
        return tuple(kind(word) for word in words if word.strip())
    except ValueError as error:
        what = "whole numbers" if kind is int else "numbers"
        raise ConfigError(
            f"`--{name}` must be {what} separated by commas. Received: {','.join(words)}"
        ) from error
