"""One option of a configuration: default, help, range, what a resumed run may change."""

import dataclasses
import enum
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_origin, get_type_hints

from c3tf.errors import UserError
from c3tf.io import schema


class ConfigError(UserError):
    """A value of the configuration is not allowed, alone or beside the others."""


class Resume(enum.StrEnum):
    """Whether an option may change between a run and its continuation."""

    # It decides where things are or how often something is written, not what is learned.
    FREE = "free"
    # It decides what is learned: only with `--allow_changed_flags`, and it is written down.
    ON_REQUEST = "needs --allow_changed_flags"
    # Another value makes the weights of the run meaningless.
    NEVER = "never"


def group(name: str, **facts: Any) -> Callable[..., Any]:
    """Returns `option` for the options under one heading of the help that share these facts."""
    return functools.partial(option, group=name, **facts)


def option(
    default: Any,
    help_text: str,
    *,
    group: str,
    resume: Resume = Resume.ON_REQUEST,
    flag: str = "",
    share_of_steps: bool = False,
    methods: tuple[str, ...] = (),
    **checks: Any,
) -> Any:
    """Declares one option of a section.

    Args:
        default: the value when nothing is said.
        help_text: what the option's flag says of itself.
        group: the heading under which the help shows it.
        resume: whether a run may go on with another value.
        flag: name of the flag where it is not the field's.
        share_of_steps: a duration, whose flag takes a share of the run (`10%`) as well; the
            configuration holds the steps that it comes to.
        methods: the methods that read it, besides the baseline; all of them where there is none.
        **checks: `choices`, `at_least`, `at_most`, `above` and `below`, for each of its values.

    Returns:
        A field of a dataclass.
    """
    if share_of_steps:
        help_text += " `10%` is a share of --steps."
    facts: dict[str, Any] = {"help": help_text, "group": group, "resume": resume, "flag": flag}
    facts |= {"methods": methods, "share_of_steps": share_of_steps}
    return dataclasses.field(default=default, metadata={**facts, **checks})


def flag_name(field: dataclasses.Field) -> str:
    """Returns the name of an option's flag."""
    return field.metadata["flag"] or field.name


def check_values(section: Any) -> None:
    """Refuses values of a wrong type or out of range, naming the flag."""
    types = get_type_hints(type(section))
    for field in dataclasses.fields(section):
        name, value, kind = flag_name(field), getattr(section, field.name), types[field.name]
        several = get_origin(kind) is tuple
        if several and not isinstance(value, tuple):
            raise ConfigError(f"`--{name}` must be a tuple. Received: {value!r}")
        for item in value if several else (value,):
            _check_type(name, item, get_args(kind)[0] if several else kind)
            _check_range(name, item, field.metadata)


def _check_type(name: str, value: Any, kind: type) -> None:
    # An int is a fine float; a bool is an int to Python, but never meant as a number here.
    accepted = (int, float) if kind is float else kind
    if not isinstance(value, accepted) or (kind is not bool and isinstance(value, bool)):
        raise ConfigError(f"`--{name}` must be of type {kind.__name__}. Received: {value!r}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"`--{name}` must be finite. Received: {value}")
    if isinstance(value, str) and not schema.is_text(value):
        # The configuration is written as text, and read again.
        raise ConfigError(f"`--{name}` must be UTF-8 without a zero byte. Received: {value!a}")


def _check_range(name: str, value: Any, checks: Mapping[str, Any]) -> None:
    refused = None
    if isinstance(value, int) and abs(value) > schema.LARGEST:
        refused = f"a whole number of 64 bits, {schema.LARGEST} at most"
    elif "choices" in checks and value not in checks["choices"]:
        refused = f"one of {', '.join(str(choice) for choice in checks['choices'])}"
    elif "at_least" in checks and value < checks["at_least"]:
        refused = f"at least {checks['at_least']}"
    elif "at_most" in checks and value > checks["at_most"]:
        refused = f"at most {checks['at_most']}"
    elif "above" in checks and value <= checks["above"]:
        refused = f"above {checks['above']}"
    elif "below" in checks and value >= checks["below"]:
        refused = f"below {checks['below']}"
    if refused:
        raise ConfigError(f"`--{name}` must be {refused}. Received: {value}")
