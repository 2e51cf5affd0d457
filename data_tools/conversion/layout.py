"""The layout of a raw data set: the folders it must have, and a hint where they are not."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence

from c3tf.errors import DataError
from c3tf.io import files

_SHOWN = 8
_ARCHIVES = (".zip", ".tar", ".tgz", ".tar.gz", ".7z", ".rar")
# How far up and how many folders down a directory is looked for that the user may have meant.
_LEVELS_UP, _MOST_BELOW = 2, 64


def required(folders: Mapping[str, tuple[str, str]]) -> list[str]:
    """Lists the folders of images and masks of all splits, as `pairing.pair_splits` takes them."""
    return [folder for images, masks in folders.values() for folder in (images, masks)]


def has_folders(root: str, folders: Sequence[str]) -> bool:
    """Tells whether all of some folders are below `root`."""
    return all(files.is_dir(files.join(root, folder)) for folder in folders)


def recognise(source: str, layouts: dict[str, Sequence[str]]) -> str:
    """Finds out which layout a source directory has.

    Args:
        source: directory the user named.
        layouts: per layout the folders it must have.

    Returns:
        The name of the first layout that fits.

    Raises:
        DataError: none fits; says what was expected, what is there, what is missing, and which
            directory nearby would fit.
    """
    if not files.is_dir(source):
        raise DataError(f"There is no source directory {source!r}.")
    for name, folders in layouts.items():
        if has_folders(source, folders):
            return name
    expected = ", or ".join(" and ".join(f"{f}/" for f in v) for v in layouts.values())
    held = files.list_dir(source)
    shown = ", ".join(held[:_SHOWN]) + (", ..." if len(held) > _SHOWN else "") or "nothing"
    raise DataError(
        f"{source} must hold {expected}. Found: {shown}.{_hint(source, held, layouts.values())}"
    )


def _hint(source: str, held: Sequence[str], layouts: Sequence[Sequence[str]]) -> str:
    """Says where the data set lies, or what is missing of the layout that fits best."""
    for nearby in _nearby(source, held):
        if any(has_folders(nearby, folders) for folders in layouts):
            return f" Did you mean --source={nearby}?"
    if packed := [name for name in held if name.lower().endswith(_ARCHIVES)]:
        return f" Unpack {', '.join(packed[:_SHOWN])} there first."
    missing = min(
        ([f for f in folders if not files.is_dir(files.join(source, f))] for folders in layouts),
        key=len,
    )
    inner = {folder: _inside(source, folder, held) for folder in missing}
    if all(inner.values()) and len(set(inner.values())) > 1:
        lies = ", ".join(f"{folder}/ in {place}" for folder, place in inner.items())
        return f" Missing: {lies}: move them up."
    if all(len(missing) == len(folders) for folders in layouts):
        return ""
    text = f" Missing: {', '.join(f'{folder}/' for folder in missing)}."
    for name in held:
        inside = files.join(source, name)
        if has_folders(inside, missing):
            return f"{text} It lies in {inside}: move it up."
    return text


def _inside(source: str, folder: str, held: Sequence[str]) -> str:
    """Returns the folder of a source in which another one lies, or nothing."""
    places = (files.join(source, name) for name in held[:_MOST_BELOW])
    return next((place for place in places if files.is_dir(files.join(place, folder))), "")


def _nearby(source: str, held: Sequence[str]) -> Iterator[str]:
    """Yields the directories a user may have meant: two levels up, then two levels down."""
    parent = files.absolute(source).rstrip("/")
    for _ in range(_LEVELS_UP):
        parent = parent.rpartition("/")[0]
        if parent and not parent.endswith("/"):
            yield parent
    below = [path for name in held[:_MOST_BELOW] if files.is_dir(path := files.join(source, name))]
    yield from below
    for path in below:
        # What may not be looked into is not meant.
        with contextlib.suppress(OSError):
            yield from (files.join(path, name) for name in files.list_dir(path)[:_MOST_BELOW])
