"""What the discoveries share: finding the root, listing files, pairing images with labels."""

import dataclasses
from collections.abc import Iterator, Sequence

from c3tf.data import files, splits
from c3tf.data.errors import DataError
from c3tf.data.manifest import LeftOut
from data_tools.example import Item

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png")
MASK_EXTENSIONS = (".png",)
_SHOWN = 8


@dataclasses.dataclass(frozen=True)
class Found:
    """What a discovery found.

    Attributes:
        root: directory of the raw data.
        layout: one line that says what was recognised.
        label_ids: `"raw"`, `"train"` or `"colors"`, the kind of values in the masks.
        items: the images, sorted by split and name.
        left_out: per split, files without a partner.
    """

    root: str
    layout: str
    label_ids: str
    items: tuple[Item, ...]
    left_out: dict[str, tuple[LeftOut, ...]]


def has_folders(root: str, folders: Sequence[str]) -> bool:
    """Tells whether all of some folders are below `root`."""
    return all(files.is_dir(files.join(root, folder)) for folder in folders)


def check_root(source: str, layouts: dict[str, Sequence[str]]) -> str:
    """Finds out which layout a source directory has.

    Args:
        source: directory the user named.
        layouts: per layout the folders it must have.

    Returns:
        The name of the first layout that fits.

    Raises:
        DataError: none fits; says what was expected, what is there, and which directory nearby
            would fit.
    """
    if not files.is_dir(source):
        raise DataError(f"There is no source directory {source!r}.")
    for name, folders in layouts.items():
        if has_folders(source, folders):
            return name
    expected = ", or ".join(" and ".join(f"{f}/" for f in v) for v in layouts.values())
    held = files.list_dir(source)
    shown = ", ".join(held[:_SHOWN]) + (", ..." if len(held) > _SHOWN else "") or "nothing"
    hint = next(
        (
            f" Did you mean --source={nearby}?"
            for nearby in _nearby(source, held)
            for folders in layouts.values()
            if has_folders(nearby, folders)
        ),
        "",
    )
    raise DataError(f"{source} must hold {expected}. Found: {shown}.{hint}")


def _nearby(source: str, held: Sequence[str]) -> Iterator[str]:
    """Yields the directories a user may have meant: two levels up, one level down."""
    parent = source.rstrip("/")
    for _ in range(2):
        parent = parent.rpartition("/")[0]
        if parent and not parent.endswith("/"):
            yield parent
    yield from (files.join(source, name) for name in held)


def find_images(root: str, folder: str) -> dict[str, str]:
    """Lists the images below a folder.

    Args:
        root: directory of the raw data.
        folder: folder below it; its subfolders are searched too.

    Returns:
        Record name to path below `root`.

    Raises:
        DataError: there is no image, two have the same name, or a name cannot be used.
    """
    found: dict[str, str] = {}
    for path in _walk(root, folder, IMAGE_EXTENSIONS):
        name = splits.record_name(path)
        if not name or name != name.strip() or not name.isprintable():
            raise DataError(f"{path!r} in {root} has a name that cannot be used. Rename the file.")
        _add(found, name, path, root)
    if not found:
        raise DataError(
            f"{files.join(root, folder)} holds no image ({', '.join(IMAGE_EXTENSIONS)})."
        )
    return found


def find_labels(root: str, folder: str, suffix: str = "") -> dict[str, str]:
    """Lists the masks below a folder.

    Args:
        root: directory of the raw data.
        folder: folder below it; its subfolders are searched too.
        suffix: what the mask's stem has behind the record name; other files are no masks.

    Returns:
        Record name to path below `root`; may be empty.

    Raises:
        DataError: two masks have the same name.
    """
    found: dict[str, str] = {}
    for path in _walk(root, folder, MASK_EXTENSIONS):
        stem = splits.record_name(path)
        if stem.endswith(suffix):
            _add(found, stem.removesuffix(suffix), path, root)
    return found


def _add(found: dict[str, str], name: str, path: str, root: str) -> None:
    """Adds a file, whose name must be new."""
    if name in found:
        raise DataError(
            f"Two files in {root} are named {name!r}: {found[name]} and {path}. Names must differ."
        )
    found[name] = path


def _walk(root: str, folder: str, extensions: tuple[str, ...]) -> Iterator[str]:
    """Yields the paths of files below `root`, in sorted order."""
    for name in files.list_dir(files.join(root, folder)):
        path = f"{folder}/{name}"
        if name.lower().endswith(extensions):
            yield path
        elif "." not in name and files.is_dir(files.join(root, path)):
            yield from _walk(root, path, extensions)


def pair(
    root: str,
    split: str,
    images: dict[str, str],
    labels: dict[str, str],
    label_root: str | None = None,
) -> tuple[list[Item], tuple[LeftOut, ...]]:
    """Pairs images with labels by name.

    Args:
        root: directory of the raw data.
        split: name of the split.
        images: record name to path below `root`.
        labels: the same for the masks.
        label_root: what the paths of the masks lie below, if not `root`.

    Returns:
        The pairs, and the files without a partner.

    Raises:
        DataError: no image has a label.
    """
    below = root if label_root is None else label_root
    items = [
        Item(split, name, files.join(root, path), files.join(below, labels[name]), path)
        for name, path in sorted(images.items())
        if name in labels
    ]
    if not items:
        raise DataError(
            f"Split {split!r} in {root} is empty: none of its {len(images)} images (such as "
            f"{min(images.values())}) has one of the {len(labels)} labels"
            + (f" (such as {min(labels.values())})." if labels else ".")
        )
    lost = [LeftOut(path, "image without a label") for n, path in images.items() if n not in labels]
    lost += [LeftOut(path, "label without image") for n, path in labels.items() if n not in images]
    return items, tuple(sorted(lost, key=lambda entry: entry.source))


def unlabeled(
    root: str, folder: str, taken: set[str], labels: dict[str, str] | None = None
) -> tuple[list[Item], tuple[LeftOut, ...]]:
    """Lists extra images, which training takes for unlabeled.

    Args:
        root: directory of the raw data.
        folder: folder of the images below it.
        taken: names of labeled and validation images, which are left out: a validation image must
            not be trained on, not even without its label.
        labels: labels to store with them, record name to path below `root`.

    Returns:
        The images, and those left out.
    """
    found = find_images(root, folder)
    masks = {name: files.join(root, path) for name, path in (labels or {}).items()}
    items = [
        Item("unlabeled", name, files.join(root, path), masks.get(name), path)
        for name, path in sorted(found.items())
        if name not in taken
    ]
    lost = [
        LeftOut(p, "an image of this name is in train or val")
        for n, p in found.items()
        if n in taken
    ]
    return items, tuple(lost)
