"""Converts CamVid (SegNet layout) to TFRecords.

python -m data_tools.camvid --source=camvid --output=data/camvid --height=240

The layout is `train/ trainannot/ val/ valannot/`, with 11 classes; 11 is void. A record is named by
the stem of its image.
"""

from absl import flags

from c3tf import cli
from c3tf.labels import CAMVID
from data_tools import command
from data_tools.conversion import layout, pairing

FLAGS = flags.FLAGS
_SPLITS = ("train", "val")
# Pairs in the published data set.
_PUBLISHED = {"train": 367, "val": 101}


def discover(source: str) -> pairing.SourceListing:
    """Lists the images and masks of CamVid.

    Raises:
        DataError: the folders are not there, or a split is empty.
    """
    folders = {split: (split, f"{split}annot") for split in _SPLITS}
    layout.recognise(source, {"segnet": layout.required(folders)})
    pairs, left_out = pairing.pair_splits(source, folders)
    return pairing.SourceListing(
        source, "CamVid, SegNet layout", "raw", tuple(pairs), left_out, _PUBLISHED
    )


def main() -> None:
    """Converts the data set the flags name."""
    command.convert_source(lambda: discover(FLAGS.source), "camvid", CAMVID)


if __name__ == "__main__":
    command.define_flags()
    flags.adopt_module_key_flags(command)
    cli.run(main)
