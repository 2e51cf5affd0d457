"""Converts BDD100K (semantic segmentation, 10k images) to TFRecords.

python -m data_tools.bdd100k --source=bdd100k --output=data/bdd100k

There are two published layouts. Current: `images/10k/{train,val}` and
`labels/sem_seg/masks/{train,val}/NAME.png`. Older: `seg/images/{train,val}` and
`seg/labels/{train,val}/NAME_train_id.png`. Masks hold the train ids of Cityscapes. A record is
named by the stem of its image.
"""

import dataclasses
import functools
from pathlib import PurePosixPath

from absl import flags

from c3tf import cli
from c3tf.errors import DataError
from c3tf.labels import CITYSCAPES
from data_tools import command
from data_tools.conversion import layout as layouts
from data_tools.conversion import pairing

FLAGS = flags.FLAGS
_SPLITS = ("train", "val")
# What the 10k set holds is no further image, whether it can be converted or not.
_MEMBERS = (*_SPLITS, "test")
# Pairs in the published data set.
_PUBLISHED = {"train": 7000, "val": 1000}
_EXTRA = "images/100k/train"


@dataclasses.dataclass(frozen=True)
class _Layout:
    """Folders of images and masks, and what masks have behind the name."""

    images: str
    masks: str
    suffix: str

    def folders(self) -> dict[str, tuple[str, str]]:
        """Returns the folders of images and of masks of every split."""
        return {split: (f"{self.images}/{split}", f"{self.masks}/{split}") for split in _SPLITS}

    def members(self) -> dict[str, str]:
        """Returns the folders of all published splits, and what names have behind them there."""
        images = {f"{self.images}/{split}": "" for split in _MEMBERS}
        return images | {f"{self.masks}/{split}": self.suffix for split in _MEMBERS}


_LAYOUTS = {
    "images/10k": _Layout("images/10k", "labels/sem_seg/masks", ""),
    "seg": _Layout("seg/images", "seg/labels", "_train_id"),
}


def discover(source: str, extra: bool = False) -> pairing.SourceListing:
    """Lists the images and masks of BDD100K.

    Args:
        source: directory that holds one of the two layouts; the current one wins.
        extra: also list the images of `images/100k/train`, without labels.

    Raises:
        DataError: the folders are not there, or a split is empty.
    """
    required = {name: layouts.required(v.folders()) for name, v in _LAYOUTS.items()}
    name = layouts.recognise(source, required)
    unread = [
        other
        for other, folders in required.items()
        if other != name and layouts.has_folders(source, folders)
    ]
    layout = _LAYOUTS[name]
    pairs, left_out = pairing.pair_splits(
        source, layout.folders(), layout.suffix, functools.partial(_is_mask, layout.suffix)
    )
    notices: tuple[str, ...] = ()
    if extra:
        if not layouts.has_folders(source, [_EXTRA]):
            raise DataError(f"{source} holds no extra images; looked for {_EXTRA}.")
        taken = set().union(*(pairing.members(source, v.members()) for v in _LAYOUTS.values()))
        more, left_out["unlabeled"] = pairing.unlabeled(source, _EXTRA, taken)
        pairs += more
        if not layouts.has_folders(source, [f"{layout.images}/test"]):
            notices = (
                f"{layout.images}/test is not there: images of the published test split cannot be "
                f"told, and those in {_EXTRA} are unlabeled images",
            )
    text = f"BDD100K, layout {name}" + (", with images/100k" if extra else "")
    text += "".join(f" (layout {other} is there too, and is not read)" for other in unread)
    return pairing.SourceListing(source, text, "train", tuple(pairs), left_out, _PUBLISHED, notices)


def _is_mask(suffix: str, path: str) -> bool:
    """Tells whether a file is a mask by its name, where masks have a suffix."""
    return bool(suffix) and PurePosixPath(path).stem.endswith(suffix)


def main() -> None:
    """Converts the data set the flags name."""
    command.convert_source(lambda: discover(FLAGS.source, extra=FLAGS.extra), "bdd100k", CITYSCAPES)


if __name__ == "__main__":
    command.define_flags()
    flags.adopt_module_key_flags(command)
    flags.DEFINE_bool("extra", False, "Add the images of images/100k/train, without labels.")
    cli.run(main)
