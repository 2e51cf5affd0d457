"""One option of a configuration: its default, its explanation and the values it may take."""

import dataclasses
from typing import Any


def option(default: Any, help_text: str, **checks: Any) -> Any:
    """Declares one option of a section.

    Args:
        default: the value when nothing is said.
        help_text: what the option's flag says of itself.
        **checks: `choices`, `at_least`, `at_most`, `above` and `below`, for each of its values.

    Returns:
        A field of a dataclass.
    """
    return dataclasses.field(default=default, metadata={"help": help_text, **checks})
