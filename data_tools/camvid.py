"""Converts CamVid (SegNet layout) to TFRecords.

python -m data_tools.camvid --source=camvid --output=data/camvid --height=240
"""

from absl import flags

from c3tf import cli
from c3tf.labels import CAMVID
from data_tools import command
from data_tools.conversion.layouts import camvid

FLAGS = flags.FLAGS


def main() -> None:
    """Converts the data set the flags name."""
    command.convert_found(lambda: camvid.discover(FLAGS.source), "camvid", CAMVID)


if __name__ == "__main__":
    command.define_flags()
    flags.adopt_module_key_flags(command)
    cli.run(main)
