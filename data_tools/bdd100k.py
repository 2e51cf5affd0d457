"""Converts BDD100K (semantic segmentation, 10k images) to TFRecords.

python -m data_tools.bdd100k --source=bdd100k --output=data/bdd100k
"""

from absl import flags

from c3tf import cli
from c3tf.labels import CITYSCAPES
from data_tools import command
from data_tools.conversion.layouts import bdd100k

FLAGS = flags.FLAGS


def main() -> None:
    """Converts the data set the flags name."""
    # The masks hold the train ids of Cityscapes.
    command.convert_found(
        lambda: bdd100k.discover(FLAGS.source, extra=FLAGS.extra), "bdd100k", CITYSCAPES
    )


if __name__ == "__main__":
    command.define_flags()
    flags.adopt_module_key_flags(command)
    flags.DEFINE_bool("extra", False, "Add the images of images/100k/train, without labels.")
    cli.run(main)
