"""What happens when a run's files cannot be written."""

import contextlib
from collections.abc import Iterator

from c3tf.errors import StorageError


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
