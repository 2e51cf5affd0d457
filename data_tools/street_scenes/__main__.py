"""Generates procedural street scenes as a BDD100K-shaped tree.

python -m data_tools.street_scenes --output=scenes

Labeled training images show mild weather, mostly clear or overcast; unlabeled ones and the
validation images everything: rain, fog, night, low sun and snow too. `splits/labeled.txt` names the
labeled images.
"""

import time

from absl import flags

from c3tf import cli
from data_tools.street_scenes.tree import Plan, write_tree

FLAGS = flags.FLAGS


def define_flags() -> None:
    """Defines the command's flags, with the defaults of `Plan`."""
    defaults = Plan()
    flags.DEFINE_string(
        "output", None, "Directory to make. It must be absent or empty.", required=True
    )
    flags.DEFINE_integer(
        "num_labeled", defaults.num_labeled, "Labeled training images, in mild conditions."
    )
    flags.DEFINE_integer(
        "num_unlabeled", defaults.num_unlabeled, "Further training images, in all conditions."
    )
    flags.DEFINE_integer("num_val", defaults.num_val, "Validation images, in all conditions.")
    flags.DEFINE_integer("width", defaults.width, "Image width in pixels.")
    flags.DEFINE_integer("height", defaults.height, "Image height in pixels.")
    flags.DEFINE_integer("seed", defaults.seed, "Seed; decides every byte of the set.")
    flags.DEFINE_integer("num_workers", 0, "Processes; 0 uses all cores.", lower_bound=0)


def main() -> None:
    """Generates the scenes the flags describe."""
    start = time.perf_counter()
    plan = Plan(
        num_labeled=FLAGS.num_labeled,
        num_unlabeled=FLAGS.num_unlabeled,
        num_val=FLAGS.num_val,
        width=FLAGS.width,
        height=FLAGS.height,
        seed=FLAGS.seed,
    )
    output = write_tree(FLAGS.output, plan, FLAGS.num_workers)
    seconds = time.perf_counter() - start
    print(f"Wrote {len(plan.scenes())} scenes to {output} in {seconds:.1f} s.")


if __name__ == "__main__":
    define_flags()
    cli.run(main)
