"""Converts Cityscapes (leftImg8bit and gtFine) to TFRecords.

python -m data_tools.cityscapes --source=cityscapes --output=data/cityscapes
"""

from absl import flags

from c3tf import cli
from c3tf.labels import CITYSCAPES
from data_tools import command
from data_tools.conversion.layouts import cityscapes

FLAGS = flags.FLAGS
_DEFAULT_HEIGHT = 512


def main() -> None:
    """Converts the data set the flags name."""
    command.convert_found(
        lambda: cityscapes.discover(FLAGS.source, FLAGS.labels, FLAGS.extra, FLAGS.coarse),
        "cityscapes",
        CITYSCAPES,
    )


if __name__ == "__main__":
    command.define_flags(default_height=_DEFAULT_HEIGHT)
    flags.adopt_module_key_flags(command)
    flags.DEFINE_enum(
        "labels",
        "auto",
        cityscapes.LABEL_KINDS,
        "Which masks to read; auto takes labelIds if there are any.",
    )
    flags.DEFINE_bool("extra", False, "Add the images of train_extra as unlabeled ones.")
    flags.DEFINE_bool(
        "coarse",
        False,
        "With --extra: store the labels of gtCoarse with them. Training does not read these.",
    )
    cli.run(main)
