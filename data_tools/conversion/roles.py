"""Which files of a user's folders are masks, and which are images: one answer for all folders.

Folders may lie in one another, or hold images and masks side by side. A file is a mask where one of
these holds:

- the folders of masks give it as one, by its kind and its suffix;
- its name ends as those of masks do (`--mask_suffix`), wherever it lies;
- it lies in a folder of masks that is below the folder of images;
- it is one of these files under another name, by a link.

What is a mask is an image of no split.
"""

import collections
import os
from collections.abc import Sequence

from c3tf.data.manifest import LeftOut
from c3tf.errors import DataError
from c3tf.io import files, image_bytes
from data_tools.conversion import listing, pairing
from data_tools.conversion.example import SourcePair
from data_tools.conversion.pairing import Naming

# Why a file of a folder of unlabeled images is left out.
_LINKED = "a link to an image in train or val"


class Roles:
    """The masks below some folders, and the test whether a file is one."""

    def __init__(
        self,
        image_folders: Sequence[str],
        mask_folders: Sequence[str],
        suffix: str = "",
        naming: Naming = pairing.PLAIN,
    ) -> None:
        """Lists the masks.

        Args:
            image_folders: absolute paths of the folders of images of all splits.
            mask_folders: absolute paths of the folders of masks of all splits.
            suffix: what the stem of a mask has behind the stem of its image.
            naming: how images are called.
        """
        self._mask_folders, self._suffix = tuple(mask_folders), suffix
        self._labels: dict[str, dict[str, str]] = {}
        for folder in mask_folders:
            # Where no suffix tells masks from images, those below a folder of images are images.
            inner = [f for f in image_folders if _is_below(f, folder)] if not suffix else []
            root, _, name = folder.rpartition("/")
            self._labels[folder] = pairing.find_labels(
                root or "/", name, suffix, naming=naming, skipped=inner
            )
        self._files = {
            files.join(folder.rpartition("/")[0] or "/", path)
            for folder, labels in self._labels.items()
            for path in labels.values()
        }
        self._identities = {_identity(path) for path in self._files} - {None}

    def labels(self, folder: str) -> dict[str, str]:
        """Returns the masks of a folder: record name to path below the folder's parent."""
        return self._labels[folder]

    def is_mask(self, folder: str, path: str) -> bool:
        """Tells whether a file, by its absolute path, below a folder of images is a mask."""
        if path in self._files or _identity(path) in self._identities:
            return True
        if listing.ends_as_masks(path, self._suffix):
            return True
        return any(_is_below(m, folder) and _is_below(path, m) for m in self._mask_folders)


def without_links(
    extra: Sequence[SourcePair], pairs: Sequence[SourcePair]
) -> tuple[list[SourcePair], list[LeftOut]]:
    """Leaves out unlabeled images that are labeled or validation images under another name.

    Raises:
        DataError: an image of one split is one of the other under another name.
    """
    known: dict[tuple[int, int] | str, SourcePair] = {}
    for pair in pairs:
        file = _identity(pair.image)
        if file and (first := known.setdefault(file, pair)).split != pair.split:
            raise DataError(
                f"{first.image} and {pair.image} are one file, in {first.split} and in "
                f"{pair.split}. What is trained on cannot validate; remove one of them."
            )
    kept: list[SourcePair] = []
    linked: list[LeftOut] = []
    for pair in extra:
        if _identity(pair.image) in known:
            linked.append(LeftOut(pair.source, _LINKED))
        else:
            kept.append(pair)
    return kept, linked


def copies(pairs: Sequence[SourcePair]) -> tuple[str, ...]:
    """Says, in a line or none, which images validate and are trained on, under another name.

    Only files of one length are read.
    """
    by_length: dict[int, list[SourcePair]] = collections.defaultdict(list)
    for pair in pairs:
        if length := _length(pair.image):
            by_length[length].append(pair)
    found: list[tuple[SourcePair, SourcePair]] = []
    for held in by_length.values():
        validating = [pair for pair in held if pair.split == "val"]
        if validating and len(validating) < len(held):
            trained = {files.sha256(p.image): p for p in held if p.split != "val"}
            known = ((pair, trained.get(files.sha256(pair.image))) for pair in validating)
            found += [(pair, other) for pair, other in known if other is not None]
    if not found:
        return ()
    pair, other = found[0]
    return (
        f"{len(found)} validation images are copies of images that are trained on (such as "
        f"{pair.source} of {other.source}): scores on them say little",
    )


def _length(path: str) -> int:
    """Returns the bytes of a local image file that can be read, 0 of anything else."""
    if files.is_remote(path) or not (os.path.isfile(path) and os.access(path, os.R_OK)):
        return 0
    length = files.size(path)
    return length if length <= image_bytes.MAX_BYTES else 0


def _identity(path: str) -> tuple[int, int] | str | None:
    """Returns what is the same for all names of a file; a remote one has one, its path."""
    if files.is_remote(path):
        return path
    try:
        status = os.stat(path)
    except OSError:
        # A link that leads nowhere is told when it is read.
        return None
    return status.st_dev, status.st_ino


def _is_below(path: str, folder: str) -> bool:
    return path.startswith(f"{folder.rstrip('/')}/")
