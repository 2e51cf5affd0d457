"""Trains a segmentation network: `python -m c3tf.train --flagfile=configs/demo.flags`."""

import os

from absl import flags

from c3tf import cli, config_flags, preparation
from c3tf.config import Config
from c3tf.evaluation import metrics
from c3tf.training import results_sheet, runner

config_flags.define_flags()
flags.adopt_module_key_flags(config_flags)

BASELINE = "baseline"


def main() -> None:
    """Trains as the flags say and prints what came out."""
    settings = config_flags.from_flags()
    preparation.ensure_data(settings)
    runs = {}
    if settings.training.baseline:
        runs[BASELINE] = runner.Run(_baseline_of(settings), BASELINE)
    # Both are opened before the first one is trained, so that no flag fails after an hour.
    runs[settings.method.method] = runner.Run(settings, settings.method.method)
    results = {}
    for name, run in runs.items():
        print(run.describe(), flush=True)
        results[name] = run.train()
    _print_results(results)
    sheet = results_sheet.draw(results, settings)
    print(f"SavedModel: {results[settings.method.method].saved_model}")
    print(f"Predictions: {sheet}")


def _baseline_of(settings: Config) -> Config:
    """Returns the supervised baseline of a run: the same labels, steps and schedule."""
    return settings.with_options(
        method="supervised",
        baseline=False,
        export_weights="student",
        output=os.path.join(settings.training.output, BASELINE),
    )


def _print_results(results: dict[str, runner.RunResult]) -> None:
    """Prints IoU per class and their means, networks side by side."""
    columns, names = {}, ()
    for name, result in results.items():
        names = result.label_map.class_names
        columns[f"{name} student" if result.teacher else name] = result.student.confusion
        if result.teacher:
            columns[f"{name} teacher"] = result.teacher.confusion
    print(metrics.table(columns, names))
    if BASELINE in results:
        own = next(name for name in results if name != BASELINE)
        before = results[BASELINE].student.mean_iou()
        after = results[own].student.mean_iou()
        print(
            f"mIoU: supervised baseline {before:.2%}, {own} {after:.2%} "
            f"({100 * (after - before):+.2f} points)"
        )


if __name__ == "__main__":
    cli.run(main)
