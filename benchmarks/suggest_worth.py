"""Measures what it is worth to label the photos that `c3tf suggest` names, not ones at random.

python benchmarks/suggest_worth.py --data=data/camvid --images=CAMVID/train --output=runs/worth

For every seed: a run learns from the first labels, which are drawn; as many labels again are taken
by `suggest` from that run, and drawn from the rest; two new runs begin from scratch with all labels
of either way. The result is the mIoU of their students and teachers after the last step, in
`results.json` and as a table. It goes on where it was stopped: a finished run is not trained again,
one that was begun goes on from its last checkpoint.
"""

import os
import statistics
import sys
from pathlib import Path
from typing import Any

from absl import app, flags

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

WAYS = ("suggested", "random")
NETWORKS = ("student", "teacher")


def define_flags() -> None:
    """Defines the benchmark's flags."""
    flags.DEFINE_string("experiment", "configs/camvid_1_30.flags", "Flag file of all runs.")
    flags.DEFINE_list("options", [], "Changes to it, such as steps=300,evaluate_every=300.")
    flags.DEFINE_string("data", "data/camvid", "The converted data set.")
    flags.DEFINE_string("images", None, "Folder with the photos of its train split.", required=True)
    flags.DEFINE_integer("height", 240, "Height that the networks see photos at.")
    flags.DEFINE_string("output", "runs/worth", "Folder of runs and results.")
    flags.DEFINE_integer("first", 12, "Labels at the start.", lower_bound=1)
    flags.DEFINE_integer("more", 12, "Labels that are added.", lower_bound=1)
    flags.DEFINE_list("seeds", ["1", "2", "3"], "Seeds of the first labels and of the runs.")


def compare(seed: int) -> dict[str, dict[str, float]]:
    """Trains the runs of one seed.

    Returns:
        The mIoU of every network, 0 to 1, by `"first"` and by way.
    """
    from c3tf.data import manifest, splits

    values = flags.FLAGS
    folder = os.path.join(values.output, f"seed_{seed}")
    names = manifest.load(values.data).names("train")
    first = splits.draw(names, values.first, seed)
    lists = {"first": os.path.join(folder, "first.txt")}
    splits.write(lists["first"], first)
    runs = {"first": _experiment(lists["first"], os.path.join(folder, "first"), seed)}
    scores = {"first": _scores(runs["first"])}
    lists["suggested"] = _suggested(runs["first"], os.path.join(folder, "suggestions"))
    drawn = splits.draw(first.unlabeled, values.more, seed)
    both = splits.draw([*first.labeled, *drawn.labeled], values.first + values.more, seed)
    lists["random"] = os.path.join(folder, "random.txt")
    splits.write(lists["random"], both)
    for way in WAYS:
        experiment = _experiment(lists[way], os.path.join(folder, way), seed)
        scores[way] = _scores(experiment)
    return scores


def table(scores: dict[int, dict[str, dict[str, float]]]) -> str:
    """Lays out the mIoU of every seed, their means and the gain of `suggest`, as Markdown."""
    lines = ["| seed | network | first | suggested | random | gain |", "| --- " * 6 + "|"]
    for network in NETWORKS:
        rows = {
            str(seed): [100 * found[way][network] for way in ("first", *WAYS)]
            for seed, found in scores.items()
            if all(network in found[way] for way in ("first", *WAYS))
        }
        if rows:
            rows["mean"] = [statistics.mean(column) for column in zip(*rows.values(), strict=True)]
        for name, (first, suggested, random) in rows.items():
            cells = [f"{value:.2f}" for value in (first, suggested, random)]
            gain = f"{suggested - random:+.2f}"
            lines.append(f"| {' | '.join([name, network, *cells, gain])} |")
    return "\n".join(lines)


def _experiment(labeled_list: str, output: str, seed: int) -> Any:
    import c3tf

    values = flags.FLAGS
    changes = dict(option.split("=", 1) for option in values.options)
    return c3tf.Experiment.from_flags(
        values.experiment,
        **changes,
        data=values.data,
        labeled="all",
        labeled_list=labeled_list,
        seed=seed,
        baseline=False,
        output=output,
    )


def _scores(experiment: Any) -> dict[str, float]:
    result = experiment.train().own
    found = {name: getattr(result, name) for name in NETWORKS}
    return {name: one.mean_iou() for name, one in found.items() if one is not None}


def _suggested(experiment: Any, folder: str) -> str:
    """Suggests photos once, and returns the list of these and the labeled ones."""
    from c3tf.suggestions import LABELED_FILE, PAGE_FILE, SuggestionOptions

    values = flags.FLAGS
    # The page is written last.
    if not os.path.exists(os.path.join(folder, PAGE_FILE)):
        options = SuggestionOptions(values.more, height=values.height, overwrite=True)
        experiment.suggest(values.images, folder, options)
    return os.path.join(folder, LABELED_FILE)


def main(_: list[str]) -> None:
    """Runs the comparison of every seed and writes what there is after each."""
    from c3tf.io import json_files

    scores = {}
    for seed in map(int, flags.FLAGS.seeds):
        scores[seed] = compare(seed)
        path = os.path.join(flags.FLAGS.output, "results.json")
        json_files.write(path, {str(key): value for key, value in scores.items()})
        print(table(scores), flush=True)


if __name__ == "__main__":
    define_flags()
    app.run(main)
