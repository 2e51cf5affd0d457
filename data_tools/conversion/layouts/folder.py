"""A user's own images: one folder of images, one of masks, any number without masks.

A record is named by the stem of its image. Validation images come from their own folders, from a
list of names, or are a share of the images that the hashes of the names decide.
"""

import dataclasses
import hashlib
from collections.abc import Sequence

from c3tf.data import splits
from c3tf.data.manifest import LeftOut
from c3tf.errors import DataError
from c3tf.io import files
from data_tools.conversion import pairing
from data_tools.conversion.example import Item

_FAR = 2**64


@dataclasses.dataclass(frozen=True)
class Validation:
    """Where the validation images come from; exactly one way is set.

    Attributes:
        images: a folder of their own; empty for another way.
        masks: the folder of their masks.
        list_file: a text list of names among the images, one per line.
        fraction: share of the images, between 0 and 1.
    """

    images: str = ""
    masks: str = ""
    list_file: str = ""
    fraction: float | None = None

    def __post_init__(self) -> None:
        if bool(self.images) != bool(self.masks):
            raise DataError("--val_images and --val_masks belong together; give both.")
        if sum((bool(self.images), bool(self.list_file), self.fraction is not None)) != 1:
            raise DataError(
                "Say which images validate, in one way: --val_images and --val_masks, or "
                "--val_list, or --val_fraction."
            )
        if self.fraction is not None and not 0 < self.fraction < 1:
            raise DataError(
                f"--val_fraction must lie between 0 and 1. Received: --val_fraction={self.fraction}"
            )


def discover(
    images: str,
    masks: str,
    validation: Validation,
    unlabeled: Sequence[str] = (),
    label_ids: str = "raw",
    mask_suffix: str = "",
) -> pairing.Found:
    """Finds the images and masks in a user's folders.

    Args:
        images: folder of images; subfolders are searched too.
        masks: folder of their masks.
        validation: where the validation images come from.
        unlabeled: folders of images without masks.
        label_ids: kind of values in the masks, `"raw"` or `"colors"`.
        mask_suffix: what the stem of a mask has behind the stem of its image.

    Returns:
        What was found. Unlabeled images with the name of a labeled one are left out.

    Raises:
        DataError: a folder is missing or empty, an image is in two folders, or none is left to
            train on.
    """
    places = [_divide(folder) for folder in unlabeled]
    items, lost = _pairs("train", images, masks, mask_suffix)
    both = _divide(images) if _divide(images) in places else None
    if both:
        # They are not left out, but unlabeled.
        lost = tuple(entry for entry in lost if entry.reason != pairing.NO_LABEL)
    left_out: dict[str, tuple[LeftOut, ...]] = {"train": lost}
    if validation.images:
        more, left_out["val"] = _pairs("val", validation.images, validation.masks, mask_suffix)
        items += more
    else:
        chosen = _chosen(validation, [item.name for item in items])
        items = [
            dataclasses.replace(item, split="val") if item.name in chosen else item
            for item in items
        ]
        items.sort(key=lambda item: (item.split != "train", item.name))
    extra, lost = _unlabeled(places, {item.name for item in items}, both)
    if unlabeled:
        left_out["unlabeled"] = lost
    folders = [images, masks, validation.images, validation.masks, *unlabeled]
    root = ", ".join(folder for folder in folders if folder)
    return pairing.Found(root, "own folders", label_ids, (*items, *extra), left_out)


def _pairs(
    split: str, images: str, masks: str, suffix: str
) -> tuple[list[Item], tuple[LeftOut, ...]]:
    """Pairs the images of one folder with the masks of another."""
    image_root, image_folder = _divide(images)
    mask_root, mask_folder = _divide(masks)
    found = pairing.find_images(image_root, image_folder)
    labels = pairing.find_labels(mask_root, mask_folder, suffix)
    if suffix and (image_root, image_folder) == (mask_root, mask_folder):
        found = _without_masks(found, labels)
    wanted = f"*{suffix}.png in {masks}"
    return pairing.pair(image_root, split, found, labels, wanted, label_root=mask_root)


def _without_masks(found: pairing.Images, labels: dict[str, str]) -> pairing.Images:
    """Takes the masks out of the images of the folder that both share."""
    masks = {path for name, path in labels.items() if name in found.named}
    images = {name: path for name, path in found.named.items() if path not in masks}
    return dataclasses.replace(found, named=images)


def _divide(folder: str) -> tuple[str, str]:
    """Divides a path into its parent, below which paths are named, and its last part."""
    if not folder:
        raise DataError("A folder of images or masks is given as '', which names none.")
    path = files.absolute(folder).rstrip("/")
    if not files.is_dir(path):
        raise DataError(f"There is no directory {folder!r}.")
    root, _, name = path.rpartition("/")
    if root.endswith(":/"):
        raise DataError(
            f"{folder} is a whole bucket. Put the images into a folder of it, and name that."
        )
    return root or "/", name


def _chosen(validation: Validation, names: list[str]) -> set[str]:
    """Returns the names that validate."""
    if validation.list_file:
        chosen = set(splits.read(validation.list_file, names).labeled)
        if len(chosen) == len(names):
            raise DataError(
                f"--val_list={validation.list_file} names all {len(names)} images; none is left to "
                "train on."
            )
        return chosen
    # At least one on each side. A name's place does not depend on the other names, so that a
    # set that grows keeps its validation images.
    ordered = sorted(names, key=_draw)
    chosen = [name for name in ordered if _draw(name) < validation.fraction * _FAR]
    if len(names) < 2:
        raise DataError("--val_fraction needs at least 2 images with masks. Found: 1.")
    return set(ordered[: min(max(len(chosen), 1), len(names) - 1)])


def _draw(name: str) -> int:
    """Returns a whole number below 2**64 that looks random and depends on the name only."""
    digest = hashlib.sha256(b"validation:" + name.encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big")


def _unlabeled(
    places: Sequence[tuple[str, str]], taken: set[str], both: tuple[str, str] | None
) -> tuple[list[Item], tuple[LeftOut, ...]]:
    """Lists the images without masks of all folders.

    Args:
        places: the folders, each as its parent and its name.
        taken: names of labeled and validation images.
        both: the folder among them that holds the labeled images as well.
    """
    items: list[Item] = []
    lost: list[LeftOut] = []
    first: dict[str, Item] = {}
    for place in places:
        found, left = pairing.unlabeled(*place, taken)
        for item in found:
            if item.name in first:
                raise DataError(
                    f"Two unlabeled images are named {item.name!r}: {first[item.name].image} and "
                    f"{item.image}. Names must differ."
                )
            first[item.name] = item
        items += found
        # The labeled images of a folder are stored, as such.
        lost += [entry for entry in left if place != both or entry.reason != pairing.KNOWN]
    return items, tuple(lost)
