"""The journal of a run, the JSON lines that it is made of, and the error of a failed write."""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from typing import Any

from c3tf.errors import StorageError
from c3tf.io import files, json_files, run_files, schema
from c3tf.io.schema import SchemaError

_ENTRY = schema.record({"step": schema.integer()})


class Journal:
    """Appends events of a run: starts, changed flags, stops, damage passed over."""

    def __init__(self, run_dir: str) -> None:
        """Opens the journal of a run; nothing is written yet."""
        self._path = os.path.join(run_dir, run_files.EVENTS)

    def write(self, event: str, step: int, facts: dict[str, Any] | None = None) -> None:
        """Appends what happened after a training step, with JSON facts about it."""
        stamp = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
        append(self._path, {"event": event, "step": step, "time": stamp, **(facts or {})})


def append(path: str, entry: dict[str, Any]) -> None:
    """Appends one object as a line of JSON, after ending a line that a killed process left open.

    Raises:
        StorageError: it cannot be written.
    """
    text = line(entry)
    with writing(path), open(path, "a+b") as file:
        size = file.seek(0, os.SEEK_END)
        if size:
            file.seek(size - 1)
            text = text if file.read(1) == b"\n" else "\n" + text
        file.write(text.encode("utf-8"))


def line(entry: dict[str, Any]) -> str:
    """Returns an object as one line of JSON."""
    return json.dumps(entry) + "\n"


def read(path: str) -> list[dict[str, Any]]:
    """Reads the whole lines of a file of JSON objects, each about a step.

    A line that was cut off, or was not written by `append`, is left out.
    """
    if not os.path.exists(path):
        return []
    entries = []
    for line in files.read_bytes(path).splitlines():
        try:
            entry = json_files.parse(line)
            _ENTRY(entry, "")
        except SchemaError:
            continue
        entries.append(entry)
    return entries


@contextlib.contextmanager
def writing(what: str, kept: str = "") -> Iterator[None]:
    """Turns a failed write into one clear error.

    Args:
        what: path of what is written.
        kept: a sentence about what is not lost.

    Raises:
        StorageError: the block failed because `what` could not be written.
    """
    try:
        yield
    except OSError as error:
        said = f"Cannot write {what}: {error.strerror or error}. {kept}".rstrip()
        raise StorageError(
            f"{said} Make room or mend the disk, then start the same command again: it goes on "
            "from the newest checkpoint."
        ) from error
