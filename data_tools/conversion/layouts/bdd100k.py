"""BDD100K semantic segmentation, in its two published layouts.

Current: `images/10k/{train,val}` and `labels/sem_seg/masks/{train,val}/NAME.png`. Older:
`seg/images/{train,val}` and `seg/labels/{train,val}/NAME_train_id.png`. Masks hold the train ids
of Cityscapes. A record is named by the stem of its image.
"""

import dataclasses

from c3tf.data.manifest import LeftOut
from c3tf.errors import DataError
from data_tools.conversion import layout as layouts
from data_tools.conversion import pairing
from data_tools.conversion.example import Item

_SPLITS = ("train", "val")
# Pairs in the published data set.
_PUBLISHED = {"train": 7000, "val": 1000}
_EXTRA = "images/100k/train"


@dataclasses.dataclass(frozen=True)
class _Layout:
    """Folders of images and masks, and what masks have behind the name."""

    images: str
    masks: str
    suffix: str

    def folders(self) -> list[str]:
        """Returns the folders that must be there."""
        return [f"{top}/{split}" for split in _SPLITS for top in (self.images, self.masks)]


_LAYOUTS = {
    "images/10k": _Layout("images/10k", "labels/sem_seg/masks", ""),
    "seg": _Layout("seg/images", "seg/labels", "_train_id"),
}


def discover(source: str, extra: bool = False) -> pairing.Found:
    """Finds the images and masks of BDD100K.

    Args:
        source: directory that holds one of the two layouts; the current one wins.
        extra: also find the images of `images/100k/train`, without labels.

    Returns:
        What was found.

    Raises:
        DataError: the folders are not there, or a split is empty.
    """
    name = layouts.recognise(source, {name: v.folders() for name, v in _LAYOUTS.items()})
    layout = _LAYOUTS[name]
    unread = [
        other
        for other, v in _LAYOUTS.items()
        if other != name and layouts.has_folders(source, v.folders())
    ]
    items: list[Item] = []
    left_out: dict[str, tuple[LeftOut, ...]] = {}
    for split in _SPLITS:
        images = pairing.find_images(source, f"{layout.images}/{split}")
        masks = pairing.find_labels(source, f"{layout.masks}/{split}", layout.suffix)
        wanted = f"*{layout.suffix}.png in {layout.masks}/{split}"
        pairs, left_out[split] = pairing.pair(source, split, images, masks, wanted)
        items += pairs
    if extra:
        if not layouts.has_folders(source, [_EXTRA]):
            raise DataError(f"{source} holds no extra images; looked for {_EXTRA}.")
        more, left_out["unlabeled"] = pairing.unlabeled(source, _EXTRA, {i.name for i in items})
        items += more
    text = f"BDD100K, layout {name}" + (", with images/100k" if extra else "")
    text += "".join(f" (layout {other} is there too, and is not read)" for other in unread)
    return pairing.Found(source, text, "train", tuple(items), left_out, _PUBLISHED)
