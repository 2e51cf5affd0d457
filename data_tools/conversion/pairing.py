"""Lists of the files of a raw data set, and the pairing of images with masks by name.

What a data set's `discover` builds its `SourceListing` from: `pair_splits` where every split has
one folder of images and one of masks, else `find_images`, `find_labels` and `pair`; `unlabeled` for
images without masks.
"""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping

from c3tf.data.manifest import LeftOut
from c3tf.errors import DataError
from c3tf.io import files
from data_tools.conversion.example import SourcePair
from data_tools.conversion.listing import (
    NO_IMAGE,
    PLAIN,
    ImageListing,
    Naming,
    check_spelling,
    find_images,
    find_labels,
    held_instead,
    is_no_mask,
    members,
)

__all__ = [
    "KNOWN",
    "NO_IMAGE",
    "NO_LABEL",
    "NO_PARTNER",
    "PLAIN",
    "ImageListing",
    "Naming",
    "SourceListing",
    "check_spelling",
    "find_images",
    "find_labels",
    "held_instead",
    "members",
    "pair",
    "pair_splits",
    "unlabeled",
]

# Why a file is not in the data set.
KNOWN = "an image of this name is in train, val or test"
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
        notices: what else the user should know, a line each.
        image_suffix: what the stem of an image has behind the record name.

    Raises:
        DataError: an image both trains and validates.
    """

    root: str
    layout: str
    label_ids: str
    pairs: tuple[SourcePair, ...]
    left_out: dict[str, tuple[LeftOut, ...]]
    published: dict[str, int] = dataclasses.field(default_factory=dict)
    notices: tuple[str, ...] = ()
    image_suffix: str = ""

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
            "everything unpacked? Splits drawn from another number of images are other splits."
            for split, count in self.published.items()
            if counts[split] != count
        ]


def pair(
    root: str,
    split: str,
    images: ImageListing,
    labels: dict[str, str],
    wanted: str,
    label_root: str | None = None,
    beside: str = "",
) -> tuple[list[SourcePair], tuple[LeftOut, ...]]:
    """Pairs images with labels by name.

    Args:
        root: directory of the raw data.
        split: name of the split.
        images: what the folder of images holds.
        labels: masks, record name to path below their root.
        wanted: how masks are named, for the error.
        label_root: what the paths of the masks lie below, if not `root`.
        beside: what the folder of masks holds instead, for the error; see `held_instead`.

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
        held += beside
        raise DataError(
            f"Split {split!r} in {root} is empty: none of its {len(named)} images (such as "
            f"{min(named.values())}) has a mask. Wanted: {wanted}. Found: {held}."
        )
    lost = [LeftOut(path, NO_LABEL) for n, path in named.items() if n not in labels]
    lost += [LeftOut(path, _NO_IMAGE_OF_IT) for n, path in labels.items() if n not in named]
    lost += images.left_out()
    return pairs, tuple(sorted(lost, key=lambda entry: entry.source))


def pair_splits(
    root: str,
    folders: Mapping[str, tuple[str, str]],
    suffix: str = "",
    is_mask: Callable[[str], bool] = is_no_mask,
) -> tuple[list[SourcePair], dict[str, tuple[LeftOut, ...]]]:
    """Pairs the images and masks of every split of a data set.

    Args:
        root: directory of the raw data.
        folders: per split its folder of images and its folder of masks, below `root`.
        suffix: what the stem of a mask has behind the record name.
        is_mask: tells masks among the images, see `find_images`.

    Returns:
        The pairs, and per split the files without a partner.

    Raises:
        DataError: a split is empty, or `find_images` or `find_labels` refuses a folder.
    """
    pairs: list[SourcePair] = []
    left_out: dict[str, tuple[LeftOut, ...]] = {}
    for split, (image_folder, mask_folder) in folders.items():
        images = find_images(root, image_folder, is_mask)
        masks = find_labels(root, mask_folder, suffix)
        wanted = f"*{suffix}.png in {mask_folder}"
        beside = "" if masks else held_instead(root, mask_folder)
        more, left_out[split] = pair(root, split, images, masks, wanted, beside=beside)
        pairs += more
    return pairs, left_out


def unlabeled(
    root: str,
    folder: str,
    taken: set[str],
    labels: dict[str, str] | None = None,
    is_mask: Callable[[str], bool] = is_no_mask,
    found: ImageListing | None = None,
) -> tuple[list[SourcePair], tuple[LeftOut, ...]]:
    """Lists extra images, which training takes for unlabeled.

    Args:
        root: directory of the raw data.
        folder: folder of the images below it.
        taken: names of labeled, validation and test images, which are left out: a validation image
            must not be trained on, not even without its label, nor where it could not be converted.
        labels: labels to store with them, record name to path below `root`. An image needs none.
        is_mask: tells masks among the images, see `find_images`.
        found: what the folder holds, where it has been searched.

    Returns:
        The images, and those left out.

    Raises:
        DataError: none is left, or `find_images` refuses the folder.
    """
    found = found or find_images(root, folder, is_mask)
    masks = {name: files.join(root, path) for name, path in (labels or {}).items()}
    pairs = [
        SourcePair("unlabeled", name, files.join(root, path), masks.get(name), path)
        for name, path in sorted(found.named.items())
        if name not in taken
    ]
    if not pairs:
        raise DataError(
            f"{files.join(root, folder)} adds no unlabeled image: the names of all "
            f"{len(found.named)}, such as {min(found.named)!r}, are in other splits."
        )
    lost = [LeftOut(p, KNOWN) for n, p in found.named.items() if n in taken]
    lost += [LeftOut(p, _NO_IMAGE_OF_IT) for n, p in (labels or {}).items() if n not in found.named]
    return pairs, (*lost, *found.left_out())
