"""JSON files: read with one clear error, written whole or not at all."""

import json
import os
from collections.abc import Callable
from typing import Any

from c3tf.errors import UserError
from c3tf.io import files

_KINDS = {dict: "object", list: "list"}


def read(
    path: str | os.PathLike,
    kind: type[dict | list] = dict,
    *,
    error: Callable[[str], UserError] = UserError,
    text: str = "{path} cannot be read: {reason}.",
) -> Any:
    """Reads a JSON file.

    Args:
        path: the file.
        kind: what it must hold.
        error: makes the error about its contents from the text.
        text: says what is wrong with the contents of `{path}` for a `{reason}`, and what to do.

    Raises:
        UserError: there is no such file, or it cannot be read; where it is no JSON or of another
            kind, as `error` makes it.
    """
    try:
        content = files.read_text(os.fspath(path))
    except FileNotFoundError as cause:
        raise UserError(f"There is no file {path}.") from cause
    except OSError as cause:
        raise UserError(f"{path} cannot be read: {cause.strerror or cause}.") from cause
    except UnicodeDecodeError as cause:
        raise error(text.format(path=path, reason=f"it is no text ({cause})")) from cause
    try:
        data = json.loads(content)
    except (ValueError, RecursionError) as cause:
        raise error(text.format(path=path, reason=f"it is no JSON ({cause})")) from cause
    if not isinstance(data, kind):
        raise error(text.format(path=path, reason=f"it holds no {_KINDS[kind]}"))
    return data


def write(path: str | os.PathLike, data: Any) -> None:
    """Writes plain data as indented JSON, replacing an existing file.

    Raises:
        ValueError: `data` holds NaN or infinity, which JSON does not know.
    """
    text = json.dumps(data, indent=2, allow_nan=False) + "\n"
    with files.whole(path, durable=True) as file:
        file.write(text.encode())
