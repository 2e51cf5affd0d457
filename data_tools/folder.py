"""Converts your own images and masks to TFRecords.

python -m data_tools.folder --images=photos --masks=masks --label_map=classes.json \
    --val_fraction=0.1 --output=data/own

docs/data.md describes the label-map file.
"""

from absl import flags

from c3tf import cli
from data_tools import command
from data_tools.conversion import label_map_file
from data_tools.conversion.layouts import folder

FLAGS = flags.FLAGS
# What the user calls the values in masks -> what the conversion calls them.
_LABEL_IDS = {"ids": "raw", "colors": "colors"}


def main() -> None:
    """Converts the folders the flags name."""
    described = label_map_file.read(FLAGS.label_map)
    validation = folder.Validation(
        FLAGS.val_images, FLAGS.val_masks, FLAGS.val_list, FLAGS.val_fraction
    )
    command.convert_found(
        lambda: folder.discover(
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
