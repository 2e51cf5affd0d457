r"""Converts your own images and masks to TFRecords.

python -m data_tools.folder --images=photos --masks=masks --label_map=classes.json \
    --val_fraction=0.1 --output=data/own

docs/data.md describes the label-map file. A record is named by the stem of its image. Validation
images come from their own folders, from a list of names, or are a share of the images that the
hashes of the names decide.
"""

import dataclasses
import functools
import hashlib
from collections.abc import Callable, Sequence

from absl import flags

from c3tf import cli
from c3tf.data import splits
from c3tf.data.manifest import LeftOut
from c3tf.errors import DataError
from c3tf.io import files
from data_tools import command
from data_tools.conversion import label_map_file, pairing, roles
from data_tools.conversion.example import SourcePair
from data_tools.conversion.pairing import Naming
from data_tools.conversion.roles import Roles

FLAGS = flags.FLAGS
# What the user calls the values in masks -> what the conversion calls them.
_LABEL_IDS = {"ids": "raw", "colors": "colors", "red": "raw"}
_NAMES = ("stem", "path")
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
    naming: Naming = pairing.PLAIN,
) -> pairing.SourceListing:
    """Lists the images and masks in a user's folders.

    Args:
        images: folder of images; subfolders are searched too.
        masks: folder of their masks.
        validation: where the validation images come from.
        unlabeled: folders of images without masks.
        label_ids: kind of values in the masks, `"raw"` or `"colors"`.
        mask_suffix: what the stem of a mask has behind the stem of its image.
        naming: how images are called, and what their stems have behind that.

    Returns:
        The listing. Unlabeled images with the name of a labeled one are left out.

    Raises:
        DataError: a folder is missing or empty, an image is in two folders, or none is left to
            train on.
    """
    folders = _Folders([images, validation.images, *unlabeled], [masks, validation.masks])
    folders.open(mask_suffix, naming)
    places = [_divide(folder) for folder in unlabeled]
    pairs, lost = folders.pair("train", images, masks)
    both = _divide(images) if _divide(images) in places else None
    if both:
        # They are not left out, but unlabeled.
        lost = tuple(entry for entry in lost if entry.reason != pairing.NO_LABEL)
    left_out: dict[str, tuple[LeftOut, ...]] = {"train": lost}
    taken = set()
    if validation.images:
        more, left_out["val"] = folders.pair("val", validation.images, validation.masks)
        pairs += more
        # A validation image without its mask is one all the same.
        taken = folders.names(validation.images) | set(folders.labels(validation.masks))
    else:
        chosen = _chosen(validation, [pair.name for pair in pairs], naming.suffix)
        pairs = [
            dataclasses.replace(pair, split="val") if pair.name in chosen else pair
            for pair in pairs
        ]
        pairs.sort(key=lambda pair: (pair.split != "train", pair.name))
    taken |= {pair.name for pair in pairs}
    extra, lost = _unlabeled(folders, places, taken, both)
    extra, linked = roles.without_links(extra, pairs)
    lost = (*lost, *linked)
    if unlabeled:
        left_out["unlabeled"] = lost
    named = [images, masks, validation.images, validation.masks, *unlabeled]
    root = ", ".join(folder for folder in named if folder)
    return pairing.SourceListing(
        root,
        "own folders",
        label_ids,
        (*pairs, *extra),
        left_out,
        notices=(*folders.notices(), *roles.copies((*pairs, *extra))),
        image_suffix=naming.suffix,
    )


class _Folders:
    """The folders of images and of masks, each searched once."""

    def __init__(self, images: Sequence[str], masks: Sequence[str]) -> None:
        """Stores the folders, of which those of another way to validate are `""`."""
        # The first of each kind must be given.
        self._images = [files.join(*_divide(f)) for f in images if f or f is images[0]]
        self._masks = [files.join(*_divide(f)) for f in masks if f or f is masks[0]]
        self._found: dict[str, pairing.ImageListing] = {}

    def open(self, suffix: str, naming: Naming) -> None:
        """Lists the masks; what they are called decides what images are."""
        self._suffix, self._naming = suffix, naming
        self._roles = Roles(self._images, self._masks, suffix, naming)

    def labels(self, folder: str) -> dict[str, str]:
        """Returns the masks of a folder of masks."""
        return self._roles.labels(files.join(*_divide(folder)))

    def is_mask(self, place: tuple[str, str]) -> Callable[[str], bool]:
        """Returns the test whether a file below a folder of images is a mask."""
        return functools.partial(self._roles.is_mask, files.join(*place))

    def find(self, place: tuple[str, str]) -> pairing.ImageListing:
        """Lists the images of a folder."""
        folder = files.join(*place)
        if folder not in self._found:
            self._found[folder] = pairing.find_images(*place, self.is_mask(place), self._naming)
        return self._found[folder]

    def names(self, folder: str) -> set[str]:
        """Returns the names of the images of a folder."""
        return set(self.find(_divide(folder)).named)

    def pair(
        self, split: str, images: str, masks: str
    ) -> tuple[list[SourcePair], tuple[LeftOut, ...]]:
        """Pairs the images of one folder with the masks of another."""
        image_root, _ = place = _divide(images)
        mask_root, mask_folder = _divide(masks)
        labels = self.labels(masks)
        beside = "" if labels else pairing.held_instead(mask_root, mask_folder)
        wanted = f"*{self._suffix}.png in {masks}"
        return pairing.pair(image_root, split, self.find(place), labels, wanted, mask_root, beside)

    def unlabeled(
        self, place: tuple[str, str], taken: set[str]
    ) -> tuple[list[SourcePair], tuple[LeftOut, ...]]:
        """Lists the images of a folder without masks."""
        return pairing.unlabeled(*place, taken, found=self.find(place))

    def notices(self) -> tuple[str, ...]:
        """Says how many masks lie among images."""
        return tuple(
            f"{len(listing.masks)} files in {folder} are masks, and images of no split (such as "
            f"{listing.masks[0]})"
            for folder, listing in self._found.items()
            if listing.masks
        )


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


def _chosen(validation: Validation, names: list[str], image_suffix: str) -> set[str]:
    """Returns the names that validate."""
    if validation.list_file:
        if not files.exists(validation.list_file):
            raise DataError(f"There is no list --val_list={validation.list_file}.")
        chosen = set(splits.read(validation.list_file, names, image_suffix).labeled)
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
    folders: _Folders,
    places: Sequence[tuple[str, str]],
    taken: set[str],
    both: tuple[str, str] | None,
) -> tuple[list[SourcePair], tuple[LeftOut, ...]]:
    """Lists the images without masks of all folders.

    Args:
        folders: all of them, searched.
        places: those of images without masks, each as its parent and its name.
        taken: names of labeled and validation images.
        both: the folder among them that holds the labeled images as well.
    """
    pairs: list[SourcePair] = []
    lost: list[LeftOut] = []
    first: dict[str, SourcePair] = {}
    for place in places:
        found, left = folders.unlabeled(place, taken)
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
            Naming(FLAGS.image_suffix, FLAGS.names == "path"),
        ),
        described.label_map.name,
        described.label_map,
        converter="data_tools.folder",
        ignored_colors=described.ignored_colors,
        red_masks=FLAGS.masks_are == "red",
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
        "Whether the pixels of masks are ids, the colours of the label map, or colours of which "
        "the red channel is the id (CARLA; R = G = B; grey with alpha).",
    )
    flags.DEFINE_string("mask_suffix", "", "What a mask's name has behind its image's: x_mask.png.")
    flags.DEFINE_string(
        "image_suffix",
        "",
        "What an image's file name has behind its name: x_rgb.png. Files without it are no images.",
    )
    flags.DEFINE_enum(
        "names",
        "stem",
        _NAMES,
        "What an image is called: the stem of its file, or its path below the folder of images, "
        "where sequences hold equal file names.",
    )


if __name__ == "__main__":
    command.define_flags(source=False)
    flags.adopt_module_key_flags(command)
    _define_flags()
    cli.run(main)
