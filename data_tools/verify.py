"""Reads a converted data set again: checksums, every record, labels, counts.

python -m data_tools.verify --data=data/cityscapes
"""

from absl import flags

from c3tf import cli
from data_tools import command

FLAGS = flags.FLAGS


def main() -> None:
    """Verifies the data set the flags name."""
    command.verify(FLAGS.data, FLAGS.num_workers)


if __name__ == "__main__":
    flags.DEFINE_string("data", None, "Directory of the converted data set.", required=True)
    flags.DEFINE_integer("num_workers", 0, "Processes; 0 uses all cores.", lower_bound=0)
    cli.run(main)
