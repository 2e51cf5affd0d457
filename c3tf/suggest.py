"""Suggests which photos to label next: doubtful ones that are unlike each other.

python -m c3tf.suggest --model=demo/run/c3 --images=photos --count=20 --output=next

The output folder gets:
  suggested.txt      the photos, the most useful first, for annotators
  labeled_list.txt   what is labeled already, and these: the next --labeled_list
  scores.csv         every photo's scores
  suggestions.html   the photos with prediction and doubt, in one page

Photos that the run has labels of are left out. A photo that cannot be read is reported and
skipped; the exit code is then 1. `docs/labeling.md` says what is scored, and how they are chosen.
"""

import sys

from absl import flags

from c3tf import cli
from c3tf.inference import choice
from c3tf.io import orientation, streams

EXIT_SOME_SKIPPED = 1


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("model", None, "Folder of a run, or one checkpoint.", required=True)
    flags.DEFINE_string(
        "images", None, "A folder with photos, one file, or a quoted pattern.", required=True
    )
    flags.DEFINE_string("output", None, "Folder to write to.", required=True)
    flags.DEFINE_integer("count", 20, "Photos to suggest.", lower_bound=1)
    flags.DEFINE_string(
        "labeled_list",
        "",
        "List of the photos that have labels, 'none' where none has [those the run learned from].",
    )
    flags.DEFINE_integer("batch_size", 1, "Photos of one size at once.", lower_bound=1)
    flags.DEFINE_integer(
        "height",
        0,
        "Height that the networks see photos at, such as that of their training [the photo's].",
        lower_bound=0,
    )
    flags.DEFINE_enum("exif", orientation.DEFAULT, orientation.RULES, orientation.HELP)
    flags.DEFINE_enum(
        "choice",
        choice.COVERAGE,
        choice.WAYS,
        "Of the most doubtful: those that stand for others, or those farthest apart.",
    )
    flags.DEFINE_bool("overwrite", False, "Replace earlier suggestions.")


def main() -> int:
    """Runs the command from its flags."""
    values = flags.FLAGS
    from c3tf import suggestions

    options = suggestions.SuggestionOptions(
        count=values.count,
        labeled_list=values.labeled_list,
        batch_size=values.batch_size,
        height=values.height,
        exif=values.exif,
        choice=values.choice,
        overwrite=values.overwrite,
    )
    found = suggestions.suggest(values.model, values.images, values.output, options)
    for path, reason in found.skipped.items():
        print(f"skipped {streams.shown(path)}: {streams.shown(reason)}", file=sys.stderr)
    if found.warning:
        print(f"warning: {streams.shown(found.warning)}", file=sys.stderr)
    print(
        f"{len(found.photos)} of {found.scored} photos suggested in {values.output}; "
        f"{found.labeled} with labels were left out"
    )
    return EXIT_SOME_SKIPPED if found.skipped else 0


if __name__ == "__main__":
    define_flags()
    cli.run(main)
