"""The places of files whose names come from data: always below their folder."""

import os

from c3tf.errors import UserError
from c3tf.io import names


def problem(name: str) -> str | None:
    """Says why a name, with `/` between its parts, may not lead to a file below a folder, or None.

    What it would be written as is not looked at: `below` does.
    """
    parts = name.split("/")
    if "\0" in name:
        return "it holds a zero byte"
    if os.path.isabs(name) or os.path.splitdrive(name)[0]:
        return "it is absolute"
    if os.pardir in parts or (os.altsep and os.pardir in name.split(os.sep)):
        return "it leads up"
    if not set(parts) - {"", os.curdir} or parts[-1] in ("", os.curdir):
        return "it names no file"
    if any(len(os.fsencode(part)) > names.LONGEST for part in parts):
        return f"a part of it is longer than {names.LONGEST} bytes"
    return None


def below(folder: str | os.PathLike, name: str) -> str:
    """Returns where a file goes that is named by data, resolved when it is written or read.

    Args:
        folder: the user's own; links in it are followed.
        name: relative, with `/` between its parts.

    Returns:
        The path, below `folder` whatever links lie there.

    Raises:
        UserError: the name leads elsewhere, or no file can have it.
    """
    path = os.path.join(folder, name)
    reason = problem(name)
    if reason is None:
        root, end = os.path.realpath(folder), os.path.realpath(path)
        if not end.startswith(os.path.join(root, "")):
            reason = f"a link leads to {end}"
    if reason:
        raise UserError(f"The name {name!a:.300} cannot be used below {folder}: {reason}.")
    return path
