r"""Converts your own images and masks to TFRecords.

python -m data_tools.folder --images=photos --masks=masks --label_map=classes.json \
    --val_fraction=0.1 --output=data/own

docs/data.md describes the label-map file. A record is named by the stem of its image. Validation
images come from their own folders, from a list of names, or are a share of the images that the
hashes of the names decide.
"""

import dataclasses
import hashlib
from collections.abc import Sequence

from absl import flags

from c3tf import cli
from c3tf.data import splits
from c3tf.data.manifest import LeftOut
from c3tf.errors import DataError
from c3tf.io import files
from data_tools import command
from data_tools.conversion import label_map_file, pairing
from data_tools.conversion.example import SourcePair

FLAGS = flags.FLAGS
# What the user calls the values in masks -> what the conversion calls them.
_LABEL_IDS = {"ids": "raw", "colors": "colors"}
_HASHES = 2**64


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
) -> pairing.SourceListing:
    """Lists the images and masks in a user's folders.

    Args:
        images: folder of images; subfolders are searched too.
        masks: folder of their masks.
        validation: where the validation images come from.
        unlabeled: folders of images without masks.
        label_ids: kind of values in the masks, `"raw"` or `"colors"`.
        mask_suffix: what the stem of a mask has behind the stem of its image.

    Returns:
        The listing. Unlabeled images with the name of a labeled one are left out.

    Raises:
        DataError: a folder is missing or empty, an image is in two folders, or none is left to
            train on.
    """
    places = [_divide(folder) for folder in unlabeled]
    pairs, lost = _pair_folders("train", images, masks, mask_suffix)
    both = _divide(images) if _divide(images) in places else None
    if both:
        # They are not left out, but unlabeled.
        lost = tuple(entry for entry in lost if entry.reason != pairing.NO_LABEL)
    left_out: dict[str, tuple[LeftOut, ...]] = {"train": lost}
    if validation.images:
        more, left_out["val"] = _pair_folders(
            "val", validation.images, validation.masks, mask_suffix
        )
        pairs += more
    else:
        chosen = _chosen(validation, [pair.name for pair in pairs])
        pairs = [
            dataclasses.replace(pair, split="val") if pair.name in chosen else pair
            for pair in pairs
        ]
        pairs.sort(key=lambda pair: (pair.split != "train", pair.name))
    extra, lost = _unlabeled(places, {pair.name for pair in pairs}, both)
    if unlabeled:
        left_out["unlabeled"] = lost
    folders = [images, masks, validation.images, validation.masks, *unlabeled]
    root = ", ".join(folder for folder in folders if folder)
    return pairing.SourceListing(root, "own folders", label_ids, (*pairs, *extra), left_out)


def _pair_folders(
    split: str, images: str, masks: str, suffix: str
) -> tuple[list[SourcePair], tuple[LeftOut, ...]]:
    """Pairs the images of one folder with the masks of another."""
    image_root, image_folder = _divide(images)
    mask_root, mask_folder = _divide(masks)
    found = pairing.find_images(image_root, image_folder)
    labels = pairing.find_labels(mask_root, mask_folder, suffix)
    if suffix and (image_root, image_folder) == (mask_root, mask_folder):
        found = _without_masks(found, labels)
    wanted = f"*{suffix}.png in {masks}"
    return pairing.pair(image_root, split, found, labels, wanted, label_root=mask_root)


def _without_masks(found: pairing.ImageListing, labels: dict[str, str]) -> pairing.ImageListing:
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
    ordered = sorted(names, key=_name_hash)
    chosen = [name for name in ordered if _name_hash(name) < validation.fraction * _HASHES]
    if len(names) < 2:
        raise DataError("--val_fraction needs at least 2 images with masks. Found: 1.")
    return set(ordered[: min(max(len(chosen), 1), len(names) - 1)])


def _name_hash(name: str) -> int:
    """Returns a whole number below 2**64 that looks random and depends on the name only."""
    digest = hashlib.sha256(b"validation:" + name.encode("utf-8")).digest()
    return int.from_bytes(digest[:8], "big")


def _unlabeled(
    places: Sequence[tuple[str, str]], taken: set[str], both: tuple[str, str] | None
) -> tuple[list[SourcePair], tuple[LeftOut, ...]]:
    """Lists the images without masks of all folders.

    Args:
        places: the folders, each as its parent and its name.
        taken: names of labeled and validation images.
        both: the folder among them that holds the labeled images as well.
    """
    pairs: list[SourcePair] = []
    lost: list[LeftOut] = []
    first: dict[str, SourcePair] = {}
    for place in places:
        found, left = pairing.unlabeled(*place, taken)
        for pair in found:
            if pair.name in first:
                raise DataError(
                    f"Two unlabeled images are named {pair.name!r}: {first[pair.name].image} and "
                    f"{pair.image}. Names must differ."
                )
            first[pair.name] = pair
        pairs += found
        # The labeled images of a folder are stored, as such.
        lost += [entry for entry in left if place != both or entry.reason != pairing.KNOWN]
    return pairs, tuple(lost)


def main() -> None:
    """Converts the folders the flags name."""
    described = label_map_file.read(FLAGS.label_map)
    validation = Validation(FLAGS.val_images, FLAGS.val_masks, FLAGS.val_list, FLAGS.val_fraction)
    command.convert_source(
        lambda: discover(
            FLAGS.images,
            FLAGS.masks,
            validation,
            FLAGS.unlabeled,
            _LABEL_IDS[FLAGS.masks_are],
            FLAGS.mask_suffix,
        ),
        described.label_map.name,
        described.label_map,
        converter="data_tools.folder",
        ignored_colors=described.ignored_colors,
    )


def _define_flags() -> None:
    """Defines the flags that only this command has."""
    flags.DEFINE_string("images", None, "Folder of the images to train on.", required=True)
    flags.DEFINE_string("masks", None, "Folder of their masks (PNG).", required=True)
    flags.DEFINE_string("label_map", None, "JSON file of the classes.", required=True)
    flags.DEFINE_string("val_images", "", "Folder of the validation images.")
    flags.DEFINE_string("val_masks", "", "Folder of their masks.")
    flags.DEFINE_string("val_list", "", "Text list of the images of --images that validate.")
    flags.DEFINE_float("val_fraction", None, "Share of --images that validates, e.g. 0.1.")
    flags.DEFINE_multi_string("unlabeled", [], "Folder of images without masks; may be repeated.")
    flags.DEFINE_enum(
        "masks_are",
        "ids",
        list(_LABEL_IDS),
        "Whether the pixels of masks are ids or the colours of the label map.",
    )
    flags.DEFINE_string("mask_suffix", "", "What a mask's name has behind its image's: x_mask.png.")


if __name__ == "__main__":
    command.define_flags(source=False)
    flags.adopt_module_key_flags(command)
    _define_flags()
    cli.run(main)
