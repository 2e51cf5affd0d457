"""Draws which training images count as labeled, and writes them as a text list.

python -m data_tools.splits --data=data/cityscapes --labeled=372 --seed=12345 --output=1_8.txt
"""

from absl import flags

from c3tf import cli
from c3tf.config import ALL, parse_labeled
from c3tf.data import manifest, splits
from c3tf.io import writable

FLAGS = flags.FLAGS


def main() -> None:
    """Draws the split the flags describe."""
    writable.check_file(FLAGS.output, remote=True)
    names = manifest.load(FLAGS.data).names("train")
    count = parse_labeled(FLAGS.labeled, len(names))
    split = splits.draw(names, count, FLAGS.seed)
    splits.write(FLAGS.output, split)
    print(
        f"{FLAGS.output}: {len(split.labeled)} of {len(names)} labeled, seed {split.seed}, "
        f"hash {split.hash}"
    )


if __name__ == "__main__":
    flags.DEFINE_string("data", None, "Directory of the converted data set.", required=True)
    flags.DEFINE_string("labeled", None, f"Labeled images: a count, or `{ALL}`.", required=True)
    flags.DEFINE_integer(
        "seed",
        12345,
        "Seed of the draw; the paper's: 12345, 23456, 34567.",
        lower_bound=0,
        upper_bound=2**32 - 1,
    )
    flags.DEFINE_string("output", None, "Text list to write.", required=True)
    cli.run(main)
