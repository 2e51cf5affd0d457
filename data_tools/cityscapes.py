"""Converts Cityscapes (leftImg8bit and gtFine) to TFRecords.

python -m data_tools.cityscapes --source=cityscapes --output=data/cityscapes

The layout is `leftImg8bit/{train,val}/CITY` and `gtFine/{train,val}/CITY`. A record is named
`aachen_000000_000019`: the stem without `_leftImg8bit`. The extra images of
`leftImg8bit_trainextra` can be added as unlabeled ones, with their labels of `gtCoarse` or without.
"""

from pathlib import PurePosixPath

from absl import flags

from c3tf import cli
from c3tf.data.manifest import LeftOut
from c3tf.errors import DataError
from c3tf.io import files
from c3tf.labels import CITYSCAPES
from data_tools import command
from data_tools.conversion import layout as layouts
from data_tools.conversion import pairing
from data_tools.conversion.example import SourcePair

FLAGS = flags.FLAGS
_DEFAULT_HEIGHT = 512
_SPLITS = ("train", "val")
# What is published as train, val or test is no further image.
_MEMBERS = (*_SPLITS, "test")
_LABEL_MARKS = ("_gtFine_", "_gtCoarse_")
# Pairs in the published data set.
_PUBLISHED = {"train": 2975, "val": 500}
_IMAGES, _LABELS = "leftImg8bit", "gtFine"
# Kind of mask, the end of its file name -> kind of ids.
_KINDS = {"labelIds": "raw", "labelTrainIds": "train"}
_LABEL_KINDS = ("auto", *_KINDS)
_EXTRA = (
    "leftImg8bit/train_extra",
    "leftImg8bit_trainextra/leftImg8bit/train_extra",
    "leftImg8bit_trainextra/train_extra",
    "leftImg8bit_trainextra",
)
_COARSE = ("gtCoarse/train_extra", "gtCoarse/gtCoarse/train_extra")


def discover(
    source: str, labels: str = "auto", extra: bool = False, coarse: bool = False
) -> pairing.SourceListing:
    """Lists the images and masks of Cityscapes.

    Args:
        source: directory that holds `leftImg8bit` and `gtFine`.
        labels: `"labelIds"`, `"labelTrainIds"`, or `"auto"`: the former if there are any.
        extra: also list the images of `leftImg8bit_trainextra`, as unlabeled ones.
        coarse: store the labels of `gtCoarse` with them.

    Raises:
        DataError: the folders are not there, or a split is empty.
    """
    if labels not in _LABEL_KINDS:
        raise ValueError(f"`labels` must be one of {_LABEL_KINDS}. Received: labels={labels!r}")
    if coarse and not extra:
        raise DataError("--coarse stores labels of the extra images; it needs --extra.")
    folders = {split: (f"{_IMAGES}/{split}", f"{_LABELS}/{split}") for split in _SPLITS}
    layouts.recognise(source, {"cityscapes": layouts.required(folders)})
    kind, masks = _find_masks(source, labels)
    pairs: list[SourcePair] = []
    left_out: dict[str, tuple[LeftOut, ...]] = {}
    for split, (image_folder, mask_folder) in folders.items():
        images = pairing.find_images(source, image_folder, _is_label)
        wanted = f"*_{_LABELS}_{kind}.png in {mask_folder}"
        beside = "" if masks[split] else _other_kind(source, split, kind)
        more, left_out[split] = pairing.pair(
            source, split, images, masks[split], wanted, beside=beside
        )
        pairs += more
    if extra:
        folder = _find_folder(source, _EXTRA, "extra images")
        coarse_masks = _find_coarse(source, kind) if coarse else None
        taken = _published(source, kind)
        more, left_out["unlabeled"] = pairing.unlabeled(
            source, folder, taken, coarse_masks, _is_label
        )
        pairs += more
    text = f"Cityscapes, gtFine {kind}" + (", with train_extra" if extra else "")
    text += " and gtCoarse" if coarse else ""
    return pairing.SourceListing(source, text, _KINDS[kind], tuple(pairs), left_out, _PUBLISHED)


def _is_label(path: str) -> bool:
    """Tells whether a file is a label of some kind, wherever it was unpacked."""
    return any(mark in PurePosixPath(path).name for mark in _LABEL_MARKS)


def _published(source: str, kind: str) -> set[str]:
    """Lists the names of the published splits, whatever of them can be converted."""
    folders = {f"{_IMAGES}/{split}": "" for split in _MEMBERS}
    folders |= {f"{_LABELS}/{split}": f"_{_LABELS}_{kind}" for split in _MEMBERS}
    return pairing.members(source, folders)


def _other_kind(source: str, split: str, kind: str) -> str:
    """Says, as the rest of a sentence, that the masks of a split are of the other kind."""
    for other in _KINDS:
        if pairing.find_labels(source, f"{_LABELS}/{split}", f"_{_LABELS}_{other}"):
            return f" of this kind, but {other}: say --labels={other} if all splits have them"
    return pairing.held_instead(source, f"{_LABELS}/{split}")


def _find_masks(source: str, labels: str) -> tuple[str, dict[str, dict[str, str]]]:
    """Finds the masks of the first kind there is; one kind for all splits."""
    kinds = tuple(_KINDS) if labels == "auto" else (labels,)
    for kind in kinds:
        suffix = f"_{_LABELS}_{kind}"
        masks = {s: pairing.find_labels(source, f"{_LABELS}/{s}", suffix) for s in _SPLITS}
        if any(masks.values()):
            return kind, masks
    endings = " or ".join(f"*_{_LABELS}_{kind}.png" for kind in kinds)
    folder = files.join(source, _LABELS)
    beside = _other_kind(source, _SPLITS[0], kinds[0])
    raise DataError(f"{folder} holds no {endings}{beside}. Unpack gtFine_trainvaltest.zip there.")


def _find_coarse(source: str, kind: str) -> dict[str, str]:
    """Finds the coarse labels, of the kind the fine ones have."""
    folder = _find_folder(source, _COARSE, "coarse labels")
    found = pairing.find_labels(source, folder, f"_gtCoarse_{kind}")
    if not found:
        raise DataError(
            f"{files.join(source, folder)} holds no *_gtCoarse_{kind}.png. Unpack gtCoarse.zip "
            "there, or leave out --coarse."
        )
    return found


def _find_folder(source: str, candidates: tuple[str, ...], what: str) -> str:
    """Finds the first folder there is."""
    for folder in candidates:
        if files.is_dir(files.join(source, folder)):
            return folder
    raise DataError(f"{source} holds no {what}; looked for {', '.join(candidates)}.")


def main() -> None:
    """Converts the data set the flags name."""
    command.convert_source(
        lambda: discover(FLAGS.source, FLAGS.labels, FLAGS.extra, FLAGS.coarse),
        "cityscapes",
        CITYSCAPES,
    )


if __name__ == "__main__":
    command.define_flags(default_height=_DEFAULT_HEIGHT)
    flags.adopt_module_key_flags(command)
    flags.DEFINE_enum(
        "labels",
        "auto",
        _LABEL_KINDS,
        "Which masks to read; auto takes labelIds if there are any.",
    )
    flags.DEFINE_bool("extra", False, "Add the images of train_extra as unlabeled ones.")
    flags.DEFINE_bool(
        "coarse",
        False,
        "With --extra: store the labels of gtCoarse with them. Training does not read these.",
    )
    cli.run(main)
