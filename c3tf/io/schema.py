"""What plain data from a file must look like before anything uses them: types, ranges, depth.

A check takes a value and where it stands, and raises `SchemaError` where it is something else.
"""

import math
from collections.abc import Callable, Mapping
from typing import Any

Check = Callable[[Any, str], None]

# No file of ours nests deeper than 10.
_DEEPEST = 40
# JSON has no bound; what counts and stores has 64 bits.
LARGEST = 2**63 - 1
_SHOWN = 60


class SchemaError(ValueError):
    """Plain data are not what they must be; the message says where and what is allowed."""


def check_plain(data: Any) -> None:
    """Checks what holds for all data from files: bounded depth, finite numbers, text of UTF-8.

    Raises:
        SchemaError: names what is wrong.
    """
    left = [(data, 1)]
    while left:
        value, depth = left.pop()
        if depth > _DEEPEST:
            raise SchemaError(f"its values lie in more than {_DEEPEST} others")
        if isinstance(value, dict):
            left += [(key, depth) for key in value]
            left += [(held, depth + 1) for held in value.values()]
        elif isinstance(value, list):
            left += [(held, depth + 1) for held in value]
        elif isinstance(value, float) and not math.isfinite(value):
            raise SchemaError(f"it holds {value}, which is no number")
        elif isinstance(value, int) and abs(value) > LARGEST:
            raise SchemaError("it holds a whole number of more than 64 bits")
        elif isinstance(value, str) and not is_text(value):
            raise SchemaError(f"it holds text that is none: {value!a:.{_SHOWN}}")


def is_text(value: str) -> bool:
    """Tells whether text is one to UTF-8 as well, and may be a path, which a zero byte ends."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in value


def integer(low: int = 0, high: int = LARGEST) -> Check:
    """Makes the check of a whole number in a range."""

    def check(value: Any, where: str) -> None:
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise _error(where, f"a whole number of {low} to {high}", value)

    return check


def number(low: float = -math.inf, high: float = math.inf) -> Check:
    """Makes the check of a number in a range."""

    def check(value: Any, where: str) -> None:
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not low <= value <= high
        ):
            raise _error(where, "a number", value)

    return check


def flag(value: Any, where: str) -> None:
    """Checks that a value is true or false."""
    if not isinstance(value, bool):
        raise _error(where, "true or false", value)


def text(value: Any, where: str) -> None:
    """Checks that a value is text."""
    if not isinstance(value, str):
        raise _error(where, "text", value)


def thing(value: Any, where: str) -> None:
    """Checks that a value is an object, of whatever."""
    if not isinstance(value, dict):
        raise _error(where, "an object", value)


def anything(value: Any, where: str) -> None:
    """Takes any value."""


def optional(inner: Check) -> Check:
    """Makes the check of something that may be null."""

    def check(value: Any, where: str) -> None:
        if value is not None:
            inner(value, where)

    return check


def listed(inner: Check, least: int = 0, most: int | None = None) -> Check:
    """Makes the check of a list of `least` to `most` things of one kind."""

    def check(value: Any, where: str) -> None:
        if not isinstance(value, list):
            raise _error(where, "a list", value)
        if len(value) < least or (most is not None and len(value) > most):
            allowed = f"of {least} to {most}" if most is not None else f"of at least {least}"
            raise _error(f"{where}, {len(value)} entries,", f"{allowed} entries", value)
        for place, held in enumerate(value):
            inner(held, f"{where}[{place}]")

    return check


def named(inner: Check) -> Check:
    """Makes the check of an object whose values are of one kind."""

    def check(value: Any, where: str) -> None:
        thing(value, where)
        for name, held in value.items():
            inner(held, f"{where}.{name}")

    return check


def record(
    required: Mapping[str, Check], further: Mapping[str, Check] | None = None, closed: bool = False
) -> Check:
    """Makes the check of an object with known names.

    Args:
        required: by the names that must be there.
        further: by names that may be absent.
        closed: refuses all other names.
    """
    known = {**required, **(further or {})}

    def check(value: Any, where: str) -> None:
        thing(value, where)
        if missing := [name for name in required if name not in value]:
            raise SchemaError(f"{_place(where)} lacks `{missing[0]}`")
        if closed and (extra := [name for name in value if name not in known]):
            raise SchemaError(f"{_place(where)} holds {extra[0]!a:.{_SHOWN}}, which is unknown")
        for name, inner in known.items():
            if name in value:
                inner(value[name], f"{where}.{name}" if where else name)

    return check


def _place(where: str) -> str:
    return f"`{where:.{_SHOWN}}`" if where else "it"


def _error(where: str, allowed: str, value: Any) -> SchemaError:
    shown = type(value).__name__ if isinstance(value, dict | list) else f"{value!a:.{_SHOWN}}"
    return SchemaError(f"{_place(where)} must be {allowed}. Received: {shown}")
