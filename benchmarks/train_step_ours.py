"""The side of `train_step` that runs c3tf: the trainer's step, compiled as `fit` compiles it."""

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

import train_step_side

REPOSITORY = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPOSITORY))

from c3tf.config import Config, environment, methods  # noqa: E402

# As the command does, before TensorFlow is imported.
environment.pin()

import tensorflow as tf  # noqa: E402

from c3tf import labels  # noqa: E402
from c3tf.data.batch import SemiBatch, SupervisedBatch, semi_type  # noqa: E402
from c3tf.io import memory  # noqa: E402
from c3tf.method import cutmix  # noqa: E402
from c3tf.nets import backbones  # noqa: E402
from c3tf.training import builder, statistics, teacher  # noqa: E402
from c3tf.training.trainer import SemiSupervisedTrainer  # noqa: E402

LABEL_MAPS = {label_map.num_classes: label_map for label_map in labels.LABEL_MAPS.values()}
STEPS_DONE = 10


def build(case: dict, **options: str) -> SemiSupervisedTrainer:
    """Builds the segmenter of a case in its semi-supervised phase, thresholds at 0.

    Args:
        case: a `train_step.Case` as a dict.
        **options: of the experiment, beside those of the case.
    """
    method = options.get("method", methods.C3)
    of_method = {"mix_group": case["pairs"]} if methods.METHODS[method].mixes else {}
    if method == methods.C3:
        of_method |= {
            "supervised_steps": STEPS_DONE,
            "dcrs_start": 0.0,
            "consistency_ramp_steps": 0,
            "consistency_class_mean": False,
        }
    config = Config().with_options(
        backbone=case["backbone"],
        backbone_weights="random",
        output_stride=case["output_stride"],
        global_batch_size=2 * case["pairs"],
        crop_height=case["height"],
        crop_width=case["width"],
        steps=1000,
        precision=case["precision"],
        **of_method,
        **options,
    )
    model = builder.build_model(config, LABEL_MAPS[case["num_classes"]])
    if config.needs.unlabeled:
        model.begin_semi_supervised(copy_student=True)
    model.optimizer.iterations.assign(STEPS_DONE)
    return model


def batch_for(model: SemiSupervisedTrainer, arrays: Mapping[str, np.ndarray]) -> tuple:
    """Makes a batch of arrays for a model; where it wants a second strong view, the first again."""
    arrays = {"u_s2": arrays["u_s"], **arrays}
    needs = model.config.needs
    kind = semi_type(needs.strong_views) if needs.unlabeled else SupervisedBatch
    return kind(*(tf.constant(arrays[name]) for name in kind._fields))


def save_weights(model: SemiSupervisedTrainer, path: Path) -> None:
    """Writes the student's weights, by `layer/variable` without the backbone's prefix."""
    weights = {
        f"{layer.name.removeprefix(backbones.PREFIX)}/{variable.name}": variable.numpy()
        for layer in model.student.layers
        for variable in layer.weights
    }
    layer = model.student.get_layer(f"{backbones.PREFIX}preprocess")
    norm = next(x for x in model.student.layers if "Normalization" in type(x).__name__)
    np.savez(
        path, scale=layer.scale, offset=layer.offset, epsilon=np.float64(norm.epsilon), **weights
    )


def parts_of(model: SemiSupervisedTrainer, batch: SemiBatch) -> dict[str, float]:
    """Times the parts of a step, each compiled by itself.

    What a step costs beside networks, optimizer and moving average is `losses`, found by taking
    these off: it holds mixing, targets, losses with their gradients, and what is counted.
    """
    images = cutmix.mix(batch.x, batch.u_s, batch.mix_plan(model.options.mix_group))
    variables = model.student.trainable_variables

    def gradients() -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            outputs = model.run(model.student, images)
            loss = tf.add_n([tf.reduce_sum(output) for output in outputs.values()])
        return tape.gradient(loss, [variable.value for variable in variables])

    ones = [tf.fill(variable.shape, tf.constant(1e-6)) for variable in variables]
    compiled = {
        "teacher": lambda: model.teacher_outputs(batch),
        "student forward": lambda: model.run(model.student, images),
        "gradients": gradients,
        "optimizer": lambda: model.optimizer.apply(ones, variables),
        "rest": lambda: teacher.update(model.teacher, model.student, tf.constant(0.99)),
        "whole": lambda: model.train_step(batch)[statistics.NAME],
    }
    seconds = {}
    for name, function in compiled.items():
        seconds[name] = train_step_side.least(tf.function(function, autograph=False))
    both, whole = seconds.pop("gradients"), seconds.pop("whole")
    seconds["backward"] = both - seconds["student forward"]
    seconds["losses"] = whole - both - sum(seconds[k] for k in ("teacher", "optimizer", "rest"))
    return seconds


def main() -> None:
    """Serves one case."""
    _, _, case, folder = sys.argv
    memory.keep_freed()
    environment.settle()
    model = build(json.loads(case))
    save_weights(model, Path(folder) / "weights.npz")
    with np.load(Path(folder) / "batch.npz") as arrays:
        batch = batch_for(model, arrays)
    compiled = tf.function(model.train_step, autograph=False)

    def step() -> dict[str, float]:
        logs = compiled(batch)
        return {name: float(v) for name, v in logs.items() if name != statistics.NAME}

    train_step_side.serve(step, lambda: parts_of(model, batch))


if __name__ == "__main__":
    main()
