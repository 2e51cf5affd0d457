"""CamVid in the layout of SegNet: `train/ trainannot/ val/ valannot/`, 11 classes, 11 is void.

A record is named by the stem of its image.
"""

from c3tf.data.manifest import LeftOut
from data_tools.conversion import layout, pairing
from data_tools.conversion.example import Item

_SPLITS = ("train", "val")
# Pairs in the published data set.
_PUBLISHED = {"train": 367, "val": 101}


def discover(source: str) -> pairing.Found:
    """Finds the images and masks of CamVid.

    Args:
        source: directory that holds `train`, `trainannot`, `val` and `valannot`.

    Returns:
        What was found.

    Raises:
        DataError: the folders are not there, or a split is empty.
    """
    folders = [folder for split in _SPLITS for folder in (split, f"{split}annot")]
    layout.recognise(source, {"segnet": folders})
    items: list[Item] = []
    left_out: dict[str, tuple[LeftOut, ...]] = {}
    for split in _SPLITS:
        images = pairing.find_images(source, split)
        masks = pairing.find_labels(source, f"{split}annot")
        pairs, left_out[split] = pairing.pair(
            source, split, images, masks, f"*.png in {split}annot"
        )
        items += pairs
    return pairing.Found(source, "CamVid, SegNet layout", "raw", tuple(items), left_out, _PUBLISHED)
