"""The directory a conversion writes into: one run at a time, nothing overwritten, continued."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

from c3tf.data import manifest as manifests
from c3tf.errors import DataError
from c3tf.io import files, leftovers, locks
from data_tools.conversion import notes

_SHOWN = 5
# Says what is converted and how, in the work folder.
_REQUEST = "request.json"


class OutputError(DataError):
    """A shard cannot be written, now; the data are not to blame."""


def work_dir(output: str) -> str:
    """Returns the folder of `output` that exists only while a conversion is not finished."""
    return files.join(output, manifests.INCOMPLETE_DIR)


@contextlib.contextmanager
def locked(output: str) -> Iterator[None]:
    """Makes the output directory and holds it for one run.

    The lock belongs to the process: the system frees it however the process ends, so nothing has
    to be cleaned up after a SIGKILL. Remote file systems (`gs://...`) have no locks.

    Args:
        output: directory to make and to lock.

    Raises:
        DataError: another conversion holds it, or what is inside the block meets an `OSError`:
            nothing but the output raises one there.
    """
    with contextlib.ExitStack() as stack:
        try:
            files.make_dirs(output)
            if not files.is_remote(output):
                busy = DataError(
                    f"Another conversion is writing into {output}. Wait until it ends, or choose "
                    "another --output."
                )
                stack.enter_context(locks.alone(output, busy, "run one conversion at a time."))
            yield
        except OSError as error:
            raise DataError(
                f"{output} cannot be written: {error}. Make room or mend the directory, and run "
                "the same command again; it continues."
            ) from error


def prepare(output: str, request: dict[str, Any]) -> bool:
    """Makes the work folder, or finds what a stopped run left in it.

    Args:
        output: the directory, which exists.
        request: what is to be converted and how; plain data.

    Returns:
        True if a stopped run had finished but for cleaning up, which is done then.

    Raises:
        DataError: the directory holds something else, or what was noted there is damaged.
        OSError: it cannot be written.
    """
    request = json.loads(json.dumps(request))
    folder = work_dir(output)
    request_path = files.join(folder, _REQUEST)
    held = files.list_dir(output)
    begun = notes.read_json(request_path) if files.exists(request_path) else None
    if begun is not None and begun != request and _nothing_done(output):
        # As after a refusal: whoever mends an option need not delete anything.
        clean_up(output)
        held, begun = files.list_dir(output), None
    if begun is not None and begun != request:
        changed = [key for key in request if begun.get(key) != request[key]]
        raise DataError(
            f"{output} holds a stopped conversion with other {', '.join(changed)}. Run that one "
            "again to finish it, delete the directory, or choose another --output."
        )
    if begun is not None and manifests.FILE_NAME in held:
        clean_up(output)
        return True
    if begun is None and set(held) - {manifests.INCOMPLETE_DIR}:
        finished = manifests.FILE_NAME in held
        if finished:
            files.remove_tree(folder)
        kind = "a finished data set" if finished else "other files"
        raise DataError(
            f"{output} already holds {kind} ({', '.join(held[:_SHOWN])}). Nothing is overwritten: "
            "choose another --output, or delete the directory. "
            "(`python -m data_tools.verify` checks a finished one.)"
        )
    files.make_dirs(folder)
    _remove_pieces(output, folder)
    files.write_text(request_path, json.dumps(request))
    return False


def _remove_pieces(output: str, folder: str) -> None:
    """Deletes what a killed run left unfinished, and its complaints."""
    for place in (output, folder):
        files.remove_partials(place)
    for name in files.list_dir(folder):
        if not name.endswith(".json"):
            files.remove(files.join(folder, name))


def forget_nothing_done(output: str) -> None:
    """Deletes the work folder of a refused conversion that has finished no shard.

    The refusal may ask for another option, with which the same directory must do.
    """
    if _nothing_done(output):
        clean_up(output)


def _nothing_done(output: str) -> bool:
    """Whether a directory holds a work folder and nothing that was finished."""
    names = files.list_dir(output)
    return {n for n in names if not leftovers.is_leftover(n)} == {manifests.INCOMPLETE_DIR}


def clean_up(output: str) -> None:
    """Deletes the work folder of a finished conversion; may be stopped and called again.

    Args:
        output: the directory of the data set.
    """
    folder = work_dir(output)
    # The request goes last: with it the same command still knows that this is its own output.
    for name in files.list_dir(folder):
        if name != _REQUEST:
            files.remove(files.join(folder, name))
    files.remove_tree(folder)
