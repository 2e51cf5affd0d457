"""What the discoveries share: finding the root, listing files, pairing images with labels."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence

from c3tf.data import files, splits
from c3tf.data.errors import DataError
from c3tf.data.manifest import LeftOut
from data_tools.example import Item

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png")
MASK_EXTENSIONS = (".png",)
# Why a file beside the images is not in the data set.
NO_IMAGE = "not a JPEG or PNG file"
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
        published: pairs per split in the published data set; empty for a user's own.

    Raises:
        DataError: an image both trains and validates.
    """

    root: str
    layout: str
    label_ids: str
    items: tuple[Item, ...]
    left_out: dict[str, tuple[LeftOut, ...]]
    published: dict[str, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        train, val = ({i.name for i in self.items if i.split == s} for s in ("train", "val"))
        if shared := sorted(train & val):
            raise DataError(
                f"{len(shared)} images of {self.root} are in train and in val, such as "
                f"{shared[0]!r}. What is trained on cannot validate; names must differ."
            )

    def missing(self) -> list[str]:
        """Says where splits hold another number of pairs than the published data set."""
        counts = Counter(item.split for item in self.items)
        return [
            f"{split} holds {counts[split]} images with labels, the published data set {count}: is "
            "everything unpacked? Splits drawn from other counts are not those of the paper."
            for split, count in self.published.items()
            if counts[split] != count
        ]


@dataclasses.dataclass(frozen=True)
class Images:
    """What a folder of images holds.

    Attributes:
        named: record name to path below the root.
        others: paths of files that are no images.
    """

    named: dict[str, str]
    others: tuple[str, ...]

    def left_out(self) -> list[LeftOut]:
        """Lists the files that are no images."""
        return [LeftOut(path, NO_IMAGE) for path in self.others]


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


def find_images(root: str, folder: str) -> Images:
    """Lists the images below a folder.

    Args:
        root: directory of the raw data.
        folder: folder below it; its subfolders are searched too.

    Returns:
        The images, and the files that are none.

    Raises:
        DataError: there is no image, two have the same name, or a name cannot be used.
    """
    found: dict[str, str] = {}
    others: list[str] = []
    for path in _walk(root, folder):
        if not path.lower().endswith(IMAGE_EXTENSIONS):
            others.append(path)
            continue
        name = splits.record_name(path)
        if not name or name != name.strip():
            raise _unusable(root, path)
        _add(found, name, path, root)
    if not found:
        raise DataError(
            f"{files.join(root, folder)} holds no image ({', '.join(IMAGE_EXTENSIONS)})."
        )
    return Images(found, tuple(others))


def find_labels(root: str, folder: str, suffix: str = "") -> dict[str, str]:
    """Lists the masks below a folder.

    Args:
        root: directory of the raw data.
        folder: folder below it; its subfolders are searched too.
        suffix: what the mask's stem has behind the record name; other files are no masks.

    Returns:
        Record name to path below `root`; may be empty.

    Raises:
        DataError: two masks have the same name, or a name cannot be used.
    """
    found: dict[str, str] = {}
    for path in _walk(root, folder):
        stem = splits.record_name(path)
        if path.lower().endswith(MASK_EXTENSIONS) and stem.endswith(suffix):
            _add(found, stem.removesuffix(suffix), path, root)
    return found


def _add(found: dict[str, str], name: str, path: str, root: str) -> None:
    """Adds a file, whose name must be new."""
    if name in found:
        raise DataError(
            f"Two files in {root} are named {name!r}: {found[name]} and {path}. Names must differ."
        )
    found[name] = path


def _walk(root: str, folder: str) -> Iterator[str]:
    """Yields the paths of files below `root`, in sorted order."""
    for name in files.list_dir(files.join(root, folder)):
        path = f"{folder}/{name}"
        if not name.isprintable():
            raise _unusable(root, path)
        # Asking takes time; what ends as an image does is none of the folders people make.
        if not name.lower().endswith(IMAGE_EXTENSIONS) and files.is_dir(files.join(root, path)):
            yield from _walk(root, path)
        else:
            yield path


def _unusable(root: str, path: str) -> DataError:
    """Complains about a name that cannot be printed, or not be told from another."""
    return DataError(f"{path!r} in {root} has a name that cannot be used. Rename it.")


def pair(
    root: str,
    split: str,
    images: Images,
    labels: dict[str, str],
    label_root: str | None = None,
) -> tuple[list[Item], tuple[LeftOut, ...]]:
    """Pairs images with labels by name.

    Args:
        root: directory of the raw data.
        split: name of the split.
        images: what the folder of images holds.
        labels: masks, record name to path below their root.
        label_root: what the paths of the masks lie below, if not `root`.

    Returns:
        The pairs, and the files without a partner.

    Raises:
        DataError: no image has a label.
    """
    below, named = root if label_root is None else label_root, images.named
    items = [
        Item(split, name, files.join(root, path), files.join(below, labels[name]), path)
        for name, path in sorted(named.items())
        if name in labels
    ]
    if not items:
        raise DataError(
            f"Split {split!r} in {root} is empty: none of its {len(named)} images (such as "
            f"{min(named.values())}) has one of the {len(labels)} labels"
            + (f" (such as {min(labels.values())})." if labels else ".")
        )
    lost = [LeftOut(path, "image without a label") for n, path in named.items() if n not in labels]
    lost += [LeftOut(path, "label without image") for n, path in labels.items() if n not in named]
    lost += images.left_out()
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

    Raises:
        DataError: none is left, or `find_images` refuses the folder.
    """
    found = find_images(root, folder)
    masks = {name: files.join(root, path) for name, path in (labels or {}).items()}
    items = [
        Item("unlabeled", name, files.join(root, path), masks.get(name), path)
        for name, path in sorted(found.named.items())
        if name not in taken
    ]
    if not items:
        raise DataError(
            f"{files.join(root, folder)} adds no unlabeled image: the names of all "
            f"{len(found.named)}, such as {min(found.named)!r}, are in train or val."
        )
    lost = [
        LeftOut(p, "an image of this name is in train or val")
        for n, p in found.named.items()
        if n in taken
    ]
    return items, (*lost, *found.left_out())
