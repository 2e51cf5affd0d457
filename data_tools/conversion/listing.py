"""Lists of the images and of the masks below folders, and what they are called."""

import dataclasses
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import PurePosixPath

from c3tf.data import names as record_names
from c3tf.data.manifest import LeftOut
from c3tf.errors import DataError
from c3tf.io import files, names, predicted

IMAGE_EXTENSIONS = names.IMAGE_EXTENSIONS
MASK_EXTENSIONS = (".png",)
NO_IMAGE = "not a JPEG or PNG file"
_SHOWN_KINDS = 3


@dataclasses.dataclass(frozen=True)
class Naming:
    """How records are called by the paths of their images.

    Attributes:
        suffix: what the stem of an image has behind the record name; others are no images.
        with_folders: the folders above a file, up to the one that was named, are part of its name,
            where sequences hold equal file names.
    """

    suffix: str = ""
    with_folders: bool = False

    def name(self, path: str, folder: str, suffix: str) -> str | None:
        """Returns the record name of a file with a suffix, None where it has not got it."""
        if not suffix:
            stem = record_names.of_file(path)
        else:
            stem = unicodedata.normalize("NFC", PurePosixPath(path).stem)
            if not stem.endswith(suffix):
                return None
            # As that of the image, whose name is made without what data sets append.
            stem = record_names.of_stem(stem.removesuffix(suffix))
        if not self.with_folders:
            return stem
        inner = PurePosixPath(unicodedata.normalize("NFC", path.removeprefix(f"{folder}/")))
        return record_names.SEPARATOR.join([*inner.parts[:-1], stem])


PLAIN = Naming()


@dataclasses.dataclass(frozen=True)
class ImageListing:
    """What a folder of images holds.

    Attributes:
        named: record name to path below the root.
        others: paths of files that are no images.
        masks: paths of masks among them.
    """

    named: dict[str, str]
    others: tuple[str, ...]
    masks: tuple[str, ...] = ()

    def left_out(self) -> list[LeftOut]:
        """Lists the files that are no images."""
        return [LeftOut(path, NO_IMAGE) for path in self.others]


def is_no_mask(path: str) -> bool:
    """Answers where no masks lie among images."""
    return False


def find_images(
    root: str,
    folder: str,
    is_mask: Callable[[str], bool] = is_no_mask,
    naming: Naming = PLAIN,
) -> ImageListing:
    """Lists the images below a folder.

    Args:
        root: directory of the raw data.
        folder: folder below it; its subfolders are searched too, but for those of predictions.
        is_mask: tells of a path, with the root, whether it is a mask and thus no image.
        naming: how images are called.

    Raises:
        DataError: there is no image, two have the same name, or a name cannot be used.
    """
    found: dict[str, str] = {}
    others: list[str] = []
    masks: list[str] = []
    check_spelling(files.join(root, folder))
    for path in _walk(root, folder, predictions=False):
        if not names.may_be_image(files.join(root, path), IMAGE_EXTENSIONS):
            others.append(path)
            continue
        if is_mask(files.join(root, path)):
            masks.append(path)
            continue
        name = naming.name(path, folder, naming.suffix)
        if name is None:
            others.append(path)
            continue
        if not name or name != name.strip():
            raise _unusable(root, path)
        _add(found, name, path, root)
    if not found:
        wanted = f"no image ({', '.join(IMAGE_EXTENSIONS)})"
        held = f" but {len(masks)} masks" if masks else ""
        held += f"; none of its {len(others)} other files is one" if others else ""
        if naming.suffix:
            wanted += f" whose name ends in {naming.suffix}"
        raise DataError(f"{files.join(root, folder)} holds {wanted}{held}.")
    return ImageListing(found, tuple(others), tuple(masks))


def find_labels(
    root: str,
    folder: str,
    suffix: str = "",
    naming: Naming = PLAIN,
    skipped: Sequence[str] = (),
) -> dict[str, str]:
    """Lists the masks below a folder.

    Args:
        root: directory of the raw data.
        folder: folder below it; its subfolders are searched too.
        suffix: what the mask's stem has behind the record name; other files are no masks.
        naming: how images are called, in whose folders masks may lie.
        skipped: folders below it, with the root, that hold no masks.

    Returns:
        Record name to path below `root`; may be empty.

    Raises:
        DataError: two masks have the same name, a name cannot be used, or a file ends as masks do
            but for capital letters.
    """
    found: dict[str, str] = {}
    check_spelling(files.join(root, folder))
    for path in _walk(root, folder, frozenset(skipped)):
        if not names.may_be_image(files.join(root, path), MASK_EXTENSIONS):
            continue
        name = naming.name(path, folder, suffix)
        if name is not None:
            _add(found, name, path, root)
        else:
            ends_as_masks(files.join(root, path), suffix)
    return found


def ends_as_masks(path: str, suffix: str) -> bool:
    """Tells whether the stem of a file ends as those of masks do, where these have a suffix.

    Raises:
        DataError: it does but for capital letters.
    """
    stem = PurePosixPath(path).stem
    if not suffix or not stem.lower().endswith(suffix.lower()):
        return False
    if not stem.endswith(suffix):
        raise DataError(
            f"{path} ends as masks do ({suffix}) but for capital letters, so it may be a mask or "
            "an image. Rename it."
        )
    return True


def _add(found: dict[str, str], name: str, path: str, root: str) -> None:
    """Adds a file, whose name must be new."""
    if name in found:
        raise DataError(
            f"Two files in {root} are named {name!r}: {found[name]} and {path}. Names must differ. "
            "Where folders of sequences hold equal names, `python -m data_tools.folder` takes the "
            "folders into the names with --names=path."
        )
    found[name] = path


def _walk(
    root: str, folder: str, skipped: frozenset[str] = frozenset(), predictions: bool = True
) -> Iterator[str]:
    """Yields the paths of files below `root`, in sorted order; predictions among them or not."""
    held = files.list_dir(files.join(root, folder))
    if not predictions and predicted.RECORD_FILE in held:
        skipped |= {
            files.join(root, folder, name) for name in predicted.folders(files.join(root, folder))
        }
    for name in held:
        path = f"{folder}/{name}"
        if not record_names.is_usable(name):
            raise _unusable(root, path)
        # Asking takes time; what ends as an image does is none of the folders people make.
        if not name.lower().endswith(IMAGE_EXTENSIONS) and files.is_dir(files.join(root, path)):
            if files.join(root, path) not in skipped:
                yield from _walk(root, path, skipped, predictions)
        else:
            yield path


def members(root: str, folders: Mapping[str, str]) -> set[str]:
    """Lists the names of all that published splits hold, images and masks, with partner or without.

    Args:
        root: directory of the raw data.
        folders: folders below it, those that are missing are passed over; and what the stems of
            their files have behind the record name.
    """
    found = set()
    for folder, suffix in folders.items():
        if files.is_dir(files.join(root, folder)):
            found |= {PLAIN.name(path, folder, suffix) for path in _walk(root, folder)}
    return found - {None}


def check_spelling(path: str) -> None:
    """Refuses a path that is no text: `dataset.json` names where the images came from."""
    try:
        path.encode("utf-8")
    except UnicodeEncodeError as error:
        raise DataError(f"The path {path!r} is not UTF-8. Rename the folder.") from error


def _unusable(root: str, path: str) -> DataError:
    """Complains about a name that is no line of text, or cannot be told from another."""
    return DataError(f"{path!r} in {root} has a name that cannot be used. Rename it.")


def held_instead(root: str, folder: str) -> str:
    """Says, as the rest of a sentence, what a folder without fitting masks holds."""
    kinds = Counter(PurePosixPath(path).suffix.lower() or "none" for path in _walk(root, folder))
    if not kinds:
        return " (the folder is empty)"
    shown = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common(_SHOWN_KINDS))
    text = f" (files by ending: {shown})"
    if set(kinds) & set(IMAGE_EXTENSIONS) - set(MASK_EXTENSIONS):
        text += ". JPEG blurs ids: only PNG masks are read"
    return text
