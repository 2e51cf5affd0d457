"""Lists of the files of a raw data set, and the pairing of images with masks by name.

What a data set's `discover` builds its `SourceListing` from: `pair_splits` where every split has
one folder of images and one of masks, else `find_images`, `find_labels` and `pair`; `unlabeled` for
images without masks.
"""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Mapping

from c3tf.data import splits
from c3tf.data.manifest import LeftOut
from c3tf.errors import DataError
from c3tf.io import files
from data_tools.conversion.example import SourcePair

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png")
MASK_EXTENSIONS = (".png",)
# Why a file is not in the data set.
NO_IMAGE = "not a JPEG or PNG file"
KNOWN = "an image of this name is in train or val"
NO_LABEL, _NO_IMAGE_OF_IT = NO_PARTNER = ("image without a label", "label without image")


@dataclasses.dataclass(frozen=True)
class SourceListing:
    """The files of a raw data set: what its `discover` returns.

    Attributes:
        root: directory of the raw data.
        layout: one line that says what was recognised.
        label_ids: `"raw"`, `"train"` or `"colors"`, the kind of values in the masks.
        pairs: the images with their masks, sorted by split and name.
        left_out: per split, files without a partner, files that are no images, and unlabeled
            images of a name that train or val has.
        published: pairs per split in the published data set; empty for a user's own.

    Raises:
        DataError: an image both trains and validates.
    """

    root: str
    layout: str
    label_ids: str
    pairs: tuple[SourcePair, ...]
    left_out: dict[str, tuple[LeftOut, ...]]
    published: dict[str, int] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        train, val = ({p.name for p in self.pairs if p.split == s} for s in ("train", "val"))
        if shared := sorted(train & val):
            raise DataError(
                f"{len(shared)} images of {self.root} are in train and in val, such as "
                f"{shared[0]!r}. What is trained on cannot validate; names must differ."
            )

    def missing(self) -> list[str]:
        """Says where splits hold another number of pairs than the published data set."""
        counts = Counter(pair.split for pair in self.pairs)
        return [
            f"{split} holds {counts[split]} images with labels, the published data set {count}: is "
            "everything unpacked? Splits drawn from other counts are not those of the paper."
            for split, count in self.published.items()
            if counts[split] != count
        ]


@dataclasses.dataclass(frozen=True)
class ImageListing:
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


def find_images(root: str, folder: str) -> ImageListing:
    """Lists the images below a folder.

    Args:
        root: directory of the raw data.
        folder: folder below it; its subfolders are searched too.

    Raises:
        DataError: there is no image, two have the same name, or a name cannot be used.
    """
    found: dict[str, str] = {}
    others: list[str] = []
    check_spelling(files.join(root, folder))
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
    return ImageListing(found, tuple(others))


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
    check_spelling(files.join(root, folder))
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


def check_spelling(path: str) -> None:
    """Refuses a path that is no text: `dataset.json` names where the images came from."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f"The path {path!r} is not UTF-8. Rename the folder.") from error


def _unusable(root: str, path: str) -> DataError:
    """Complains about a name that cannot be printed, or not be told from another."""
    return DataError(f"{path!r} in {root} has a name that cannot be used. Rename it.")


def pair(
    root: str,
    split: str,
    images: ImageListing,
    labels: dict[str, str],
    wanted: str,
    label_root: str | None = None,
) -> tuple[list[SourcePair], tuple[LeftOut, ...]]:
    """Pairs images with labels by name.

    Args:
        root: directory of the raw data.
        split: name of the split.
        images: what the folder of images holds.
        labels: masks, record name to path below their root.
        wanted: how masks are named, for the error.
        label_root: what the paths of the masks lie below, if not `root`.

    Returns:
        The pairs, and the files without a partner.

    Raises:
        DataError: no image has a label.
    """
    below, named = root if label_root is None else label_root, images.named
    pairs = [
        SourcePair(split, name, files.join(root, path), files.join(below, labels[name]), path)
        for name, path in sorted(named.items())
        if name in labels
    ]
    if not pairs:
        held = f"there are {len(labels)} (such as {min(labels.values())})" if labels else "none"
        raise DataError(
            f"Split {split!r} in {root} is empty: none of its {len(named)} images (such as "
            f"{min(named.values())}) has a mask. Wanted: {wanted}. Found: {held}."
        )
    lost = [LeftOut(path, NO_LABEL) for n, path in named.items() if n not in labels]
    lost += [LeftOut(path, _NO_IMAGE_OF_IT) for n, path in labels.items() if n not in named]
    lost += images.left_out()
    return pairs, tuple(sorted(lost, key=lambda entry: entry.source))


def pair_splits(
    root: str, folders: Mapping[str, tuple[str, str]], suffix: str = ""
) -> tuple[list[SourcePair], dict[str, tuple[LeftOut, ...]]]:
    """Pairs the images and masks of every split of a data set.

    Args:
        root: directory of the raw data.
        folders: per split its folder of images and its folder of masks, below `root`.
        suffix: what the stem of a mask has behind the record name.

    Returns:
        The pairs, and per split the files without a partner.

    Raises:
        DataError: a split is empty, or `find_images` or `find_labels` refuses a folder.
    """
    pairs: list[SourcePair] = []
    left_out: dict[str, tuple[LeftOut, ...]] = {}
    for split, (image_folder, mask_folder) in folders.items():
        images = find_images(root, image_folder)
        masks = find_labels(root, mask_folder, suffix)
        wanted = f"*{suffix}.png in {mask_folder}"
        more, left_out[split] = pair(root, split, images, masks, wanted)
        pairs += more
    return pairs, left_out


def unlabeled(
    root: str, folder: str, taken: set[str], labels: dict[str, str] | None = None
) -> tuple[list[SourcePair], tuple[LeftOut, ...]]:
    """Lists extra images, which training takes for unlabeled.

    Args:
        root: directory of the raw data.
        folder: folder of the images below it.
        taken: names of labeled and validation images, which are left out: a validation image must
            not be trained on, not even without its label.
        labels: labels to store with them, record name to path below `root`. An image needs none.

    Returns:
        The images, and those left out.

    Raises:
        DataError: none is left, or `find_images` refuses the folder.
    """
    found = find_images(root, folder)
    masks = {name: files.join(root, path) for name, path in (labels or {}).items()}
    pairs = [
        SourcePair("unlabeled", name, files.join(root, path), masks.get(name), path)
        for name, path in sorted(found.named.items())
        if name not in taken
    ]
    if not pairs:
        raise DataError(
            f"{files.join(root, folder)} adds no unlabeled image: the names of all "
            f"{len(found.named)}, such as {min(found.named)!r}, are in train or val."
        )
    lost = [LeftOut(p, KNOWN) for n, p in found.named.items() if n in taken]
    lost += [LeftOut(p, _NO_IMAGE_OF_IT) for n, p in (labels or {}).items() if n not in found.named]
    return pairs, (*lost, *found.left_out())
