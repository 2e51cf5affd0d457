"""Checks that output can be written, before time is spent on what would be written.

What an earlier, killed command left unfinished of the same output is deleted then.

Folders that are missing above an output are made when it is written, by every command.
"""

import os
import tempfile

from c3tf.errors import UserError
from c3tf.io import files, leftovers


def check_file(
    path: str, flag: str = "--output", replace: bool = True, remote: bool = False
) -> None:
    """Checks that a file can be written; nothing is left behind.

    Args:
        path: the file as the user named it.
        flag: what the user named it with.
        replace: whether an earlier file may be replaced.
        remote: whether it may be a remote one (`gs://...`), which is not checked further.

    Raises:
        UserError: something else is there, an earlier file may not be replaced, or its folder
            can be neither made nor written to.
    """
    if files.is_remote(path):
        if not remote:
            _refuse_remote(path, flag)
        return
    if not os.path.basename(path) or (os.path.lexists(path) and not os.path.isfile(path)):
        there = "a folder" if os.path.isdir(path) else "no file"
        raise UserError(
            f"`{flag}` must name a file to write, and this is {there}. Received: {flag}={path}"
        )
    if not replace and os.path.exists(path):
        raise UserError(f"{path} exists. Give another {flag}, or add --overwrite.")
    _check_place(os.path.dirname(path), path, flag)
    leftovers.clear(path)


def check_folder(path: str, flag: str = "--output", whole: bool = False) -> None:
    """Checks that files can be written into a folder; nothing is left behind.

    Args:
        path: the folder as the user named it; it may be missing.
        flag: what the user named it with.
        whole: the folder itself is replaced, see `files.new_folder`, so that what counts is the
            one it lies in.

    Raises:
        UserError: it can be neither made nor written to, or another process makes it just now.
    """
    if files.is_remote(path):
        _refuse_remote(path, flag)
    above = os.path.dirname(path.rstrip(os.sep))
    _check_place(above if whole else path, path, flag)
    if whole and not leftovers.clear(path):
        raise UserError(
            f"Another process is making {path}. Wait for it, or give another {flag}. "
            f"Received: {flag}={path}"
        )


def _refuse_remote(path: str, flag: str) -> None:
    raise UserError(
        f"`{flag}` must name a local place: this command writes nowhere else. "
        f"Received: {flag}={path}"
    )


def _check_place(folder: str, path: str, flag: str) -> None:
    """Tries to write into a folder, or into the one that it would be made in."""
    folder = folder or os.curdir
    while not os.path.lexists(folder):
        folder = os.path.dirname(folder) or os.curdir
    if not os.path.isdir(folder):
        raise UserError(
            f"`{flag}` cannot be written, because {folder} is no folder. Give another {flag}. "
            f"Received: {flag}={path}"
        )
    try:
        # Tried, because not every file system's answer is in a folder's mode.
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UserError(
            f"`{flag}` cannot be written, because the folder {folder} takes no files "
            f"({error.strerror}). Make it writable, or give another {flag}. "
            f"Received: {flag}={path}"
        ) from error
