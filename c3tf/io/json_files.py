"""JSON files: read within bounds and by a schema, written whole or not at all."""

import collections
import json
import os
import stat
from collections.abc import Callable
from typing import Any

from c3tf.errors import UserError
from c3tf.io import files, schema
from c3tf.io.schema import Check, SchemaError

_KINDS = {dict: "object", list: "list"}
# The description of a data set with 100,000 files left out has 20 MB.
MOST_BYTES = 256 << 20


def read(
    path: str | os.PathLike,
    kind: type[dict | list] = dict,
    *,
    check: Check = schema.anything,
    error: Callable[[str], UserError] = UserError,
    text: str = "{path} cannot be read: {reason}.",
) -> Any:
    """Reads a JSON file.

    Args:
        path: the file.
        kind: what it must hold.
        check: what that must look like, see `c3tf.io.schema`.
        error: makes the error about its contents from the text.
        text: says what is wrong with the contents of `{path}` for a `{reason}`, and what to do.

    Raises:
        UserError: there is no such file, or it cannot be read; where it is no JSON or something
            else than is asked for, as `error` makes it.
    """
    try:
        content = _content(os.fspath(path))
    except FileNotFoundError as cause:
        raise UserError(f"There is no file {path}.") from cause
    except OSError as cause:
        raise UserError(f"{path} cannot be read: {cause.strerror or cause}.") from cause
    try:
        data = parse(content)
        if not isinstance(data, kind):
            raise SchemaError(f"it holds no {_KINDS[kind]}")
        check(data, "")
    except SchemaError as cause:
        raise error(text.format(path=path, reason=str(cause).rstrip("."))) from cause
    return data


def parse(content: bytes | str) -> Any:
    """Parses JSON from anywhere.

    Raises:
        SchemaError: it is no JSON, or breaks what `schema.check_plain` asks of all data.
    """
    if len(content) > MOST_BYTES:
        raise SchemaError(f"it is longer than {MOST_BYTES} bytes")
    try:
        text = content.decode("utf-8-sig") if isinstance(content, bytes) else content
        data = json.loads(text, object_pairs_hook=_object)
    except SchemaError:
        raise
    except UnicodeDecodeError as cause:
        raise SchemaError(f"it is no text ({cause})") from cause
    except (ValueError, RecursionError) as cause:
        raise SchemaError(f"it is no JSON ({cause})") from cause
    schema.check_plain(data)
    return data


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Makes an object of its entries, of which JSON itself would keep the last of two alike."""
    held = dict(pairs)
    if len(held) < len(pairs):
        [(twice, _)] = collections.Counter(name for name, _ in pairs).most_common(1)
        raise SchemaError(f"it holds the entry {twice!a:.60} twice")
    return held


def _content(path: str) -> bytes:
    """Reads a file, of a local one no more than is allowed."""
    if files.is_remote(path):
        return files.read_bytes(path)
    # Opened without waiting: a pipe would keep the command for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(descriptor, "rb") as file:
        mode = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(mode):
            kind = "it is a directory" if stat.S_ISDIR(mode) else "it is no regular file"
            raise OSError(kind)
        return file.read(MOST_BYTES + 1)


def write(path: str | os.PathLike, data: Any) -> None:
    """Writes plain data as indented JSON, replacing an existing file.

    Bytes of a path that are no UTF-8 are written as escapes, because `read` takes text alone.

    Raises:
        ValueError: `data` holds NaN or infinity, which JSON does not know.
    """
    text = json.dumps(_readable(data), indent=2, allow_nan=False) + "\n"
    with files.whole(path, durable=True) as file:
        file.write(text.encode())


def _readable(data: Any) -> Any:
    """Returns plain data with escapes in place of what is no UTF-8."""
    if isinstance(data, str):
        return data.encode("utf-8", "backslashreplace").decode()
    if isinstance(data, dict):
        return {_readable(name): _readable(held) for name, held in data.items()}
    return [_readable(held) for held in data] if isinstance(data, list | tuple) else data
