"""Trains a segmentation network: `python -m c3tf.train --flagfile=configs/demo.flags`."""

import dataclasses
import gc
import os
import sys

from absl import flags

from c3tf import cli
from c3tf.config import Config, ConfigError, MethodConfig, absl_flags
from c3tf.evaluation import metrics
from c3tf.io import writable
from c3tf.runs import results as run_results
from c3tf.runs import run_dir, setup
from c3tf.runs.results import RunResult
from c3tf.runs.run import Run
from c3tf.runs.stopping import StopRequest
from c3tf.training import distribution
from c3tf.visualization import results_sheet

BASELINE = "supervised"


def main() -> None:
    """Trains as the flags say and prints what came out."""
    settings = absl_flags.from_flags()
    plans = [_baseline_of(settings)] if settings.training.baseline else []
    plans = [_in_its_folder(plan) for plan in [*plans, settings]]
    for plan in plans:
        run_dir.check(plan.training.output, plan)
    results = {plan.method.name: run_results.read(plan) for plan in plans}
    held = {name: result is not None for name, result in results.items()}
    _make_ready(settings, distribution.read_cluster(), all(held.values()))
    # Several hosts meet here, and TensorFlow must not have computed anything before. What is
    # finished is so for all of them, or one that does not see it would wait for the others.
    devices = distribution.create_devices(settings)
    left = [plan for plan in plans if not all(devices.gather(int(held[plan.method.name])))]
    # All runs are opened before the first one is trained, so that none fails after an hour.
    for plan in left[1:]:
        Run(plan, plan.method.name, devices)
        _free_memory()
    with StopRequest() as stop:
        results |= {plan.method.name: _train(plan, devices, stop) for plan in left}
    if not devices.cluster.is_chief:
        return
    for plan in plans:
        if plan not in left:
            print(f"{plan.method.name}: finished already, all of it is in {plan.training.output}")
    _print_results(results)
    outputs = {plan.method.name: plan.training.output for plan in plans}
    sheet = results_sheet.draw(outputs, plans[-1].training.output)
    print(f"SavedModel: {results[plans[-1].method.name].saved_model}")
    print(f"Predictions: {sheet}")


def _make_ready(settings: Config, cluster: distribution.Cluster, is_finished: bool) -> None:
    """Sees to what training needs, where there is something left to train."""
    if cluster.is_chief and not is_finished:
        writable.check_folder(settings.training.output)
    if cluster.num_workers > 1:
        print(f"{cluster}: waits for the other hosts", file=sys.stderr)
    elif not is_finished:
        setup.ensure_data(settings)


def _train(plan: Config, devices: distribution.Devices, stop: StopRequest) -> RunResult | None:
    """Trains one run and frees its memory, so that two runs need no more than one."""
    run = Run(plan, plan.method.name, devices)
    if devices.cluster.is_chief:
        print(run.describe(), flush=True)
    result = run.train(stop)
    del run
    _free_memory()
    return result


def _free_memory() -> None:
    # Networks and their compiled functions refer to each other in circles.
    gc.collect()


def _baseline_of(settings: Config) -> Config:
    """Returns the supervised baseline of a run: the same labels, steps and schedule."""
    averaging = {"loss_averaging": settings.method.loss_averaging}
    if averaging["loss_averaging"] == "group":
        averaging["mix_group"] = settings.method.mix_group
    # Nothing else of the method matters to it, so none of it ties the baseline's directory.
    return dataclasses.replace(
        settings,
        method=MethodConfig(name=BASELINE, **averaging),
        training=dataclasses.replace(settings.training, baseline=False, export_weights="student"),
    )


def _in_its_folder(settings: Config) -> Config:
    """Returns the run with its own directory below `--output`, named after the method.

    So one switch, `--method=supervised`, gives the baseline of a configuration beside it.
    """
    output = settings.training.output
    if not output:
        raise ConfigError("`--output` must name a directory. Received: nothing")
    return settings.with_options(output=os.path.join(output, settings.method.name))


def _print_results(results: dict[str, RunResult]) -> None:
    """Prints IoU per class and their means, networks side by side."""
    columns, names = {}, ()
    for name, result in results.items():
        names = result.label_map.class_names
        columns[f"{name} student" if result.teacher else name] = result.student.confusion
        if result.teacher:
            columns[f"{name} teacher"] = result.teacher.confusion
    print(metrics.table(columns, names))
    if len(results) > 1:
        own = next(name for name in results if name != BASELINE)
        before = results[BASELINE].student.mean_iou()
        after = results[own].student.mean_iou()
        print(
            f"mIoU: supervised baseline {before:.2%}, {own} {after:.2%} "
            f"({100 * (after - before):+.2f} points)"
        )


if __name__ == "__main__":
    absl_flags.define_flags()
    flags.adopt_module_key_flags(absl_flags)
    cli.run(main)
