"""The evaluation of a model on one split of a data set."""

import dataclasses

import numpy as np
import tensorflow as tf

from c3tf.data import manifest, validation
from c3tf.errors import UserError
from c3tf.evaluation import calibration_step, corruptions, evaluator, thresholds
from c3tf.evaluation.evaluator import Evaluator
from c3tf.evaluation.options import EvaluationOptions
from c3tf.evaluation.result import EvaluationResult
from c3tf.inference.model import InferenceModel, Opener
from c3tf.io import writable
from c3tf.progress import Progress
from c3tf.visualization import error_maps


def evaluate_split(
    open_model: Opener,
    data: str,
    split: str = "val",
    options: EvaluationOptions | None = None,
) -> EvaluationResult:
    """Evaluates a model on one split of a data set.

    Args:
        open_model: opens it; called once per device.
        data: folder of a data set.
        split: one whose images all have labels.
        options: how to measure.

    Raises:
        UserError: model, data or options cannot be used, or do not fit each other.
    """
    options = options or EvaluationOptions()
    described = manifest.verify(data)
    validation.check_shards(described, split)
    names = described.names(split)
    draw = None
    if options.error_maps:
        writable.check_folder(options.error_maps, "--error_maps")
        draw = error_maps.ErrorMaps(options.error_maps, names, options.overwrite)
    devices = _devices(options.replicas)
    opened = _open(open_model, devices)
    _check_classes(opened[0], data, described)
    dataset = validation.val_dataset(data, split, options.batch_size)
    facts = {
        **options.inference.to_json(),
        "label_size": options.label_size,
        **opened[0].source,
        "data": data,
        "split": split,
    }
    found = None
    if options.ignore_low_confidence:
        found, facts["low_confidence"] = _thresholds(opened, dataset, len(names), options, devices)
    counting = [_step(one, options, found) for one in opened]
    if options.corruptions:
        facts["corruption_seed"] = options.corruption_seed
    measure = Evaluator(counting, opened[0].label_map, devices)
    clean = measure.run(
        dataset,
        names=names,
        protocol=facts,
        progress=Progress(len(names), "images"),
        observe=draw,
    )
    spoiled: dict[str, dict[int, EvaluationResult]] = {kind: {} for kind in options.corruptions}
    for kind, by_severity in spoiled.items():
        for severity in options.severities:
            by_severity[severity] = measure.run(
                corruptions.corrupted(dataset, kind, severity, options.corruption_seed),
                names=names,
                protocol=facts,
                progress=Progress(len(names), f"images, {kind} {severity}"),
            )
    return dataclasses.replace(clean, corrupted=spoiled)


def _step(
    opened: InferenceModel, options: EvaluationOptions, thresholds: np.ndarray | None
) -> evaluator.Step:
    """Makes what counts a batch as the options say."""
    classes, size = opened.label_map.num_classes, options.label_size
    if options.calibration:
        score = opened.scorer(options.inference)
        return calibration_step.calibrated_step(score, classes, size, thresholds)
    if thresholds is not None:
        score = opened.scorer(options.inference)
        return evaluator.confident_count_step(score, classes, thresholds, size)
    return evaluator.count_step(opened.predictor(options.inference), classes, size)


def _devices(replicas: int) -> list[str | None]:
    """Chooses the devices that share the images."""
    gpus = tf.config.list_logical_devices("GPU")
    devices = gpus or tf.config.list_logical_devices("CPU")
    wanted = replicas or (len(gpus) or 1)
    if wanted > len(devices):
        raise UserError(
            f"`--replicas` must be at most {len(devices)}, the number of local "
            f"{devices[0].device_type}s. Received: --replicas={replicas}"
        )
    return [None] if wanted == 1 else [device.name for device in devices[:wanted]]


def _open(open_model: Opener, devices: list[str | None]) -> list[InferenceModel]:
    """Opens the model once on every device.

    Raises:
        UserError: a run has written another checkpoint meanwhile.
    """
    opened = []
    for device in devices:
        with tf.device(device):
            opened.append(open_model())
    paths = {one.path for one in opened}
    if len(paths) > 1:
        raise UserError(
            f"{' and '.join(sorted(paths))} were opened on different devices: the run goes on. "
            "Name one checkpoint."
        )
    return opened


def _check_classes(opened: InferenceModel, data: str, described: manifest.Manifest) -> None:
    known, labeled = opened.label_map.class_names, described.label_map.class_names
    if known != labeled:
        raise UserError(
            f"{opened.source['model']} knows the classes {', '.join(known)}, but {data} is labeled "
            f"with {', '.join(labeled)}."
        )


def _thresholds(
    opened: list[InferenceModel],
    dataset: tf.data.Dataset,
    images: int,
    options: EvaluationOptions,
    devices: list[str | None],
) -> tuple:
    """Returns the thresholds of the predicted classes, and what results state of them."""
    first = opened[0]
    if options.confident_share is None:
        if first.thresholds is None:
            raise UserError(
                f"{first.source['model']} holds no DCRS thresholds: only checkpoints with a "
                "teacher and exports of them do. `--confident_share=0.8` finds some on this split."
            )
        is_checkpoint = first.source["kind"] == "checkpoint"
        found, origin = first.thresholds, "checkpoint" if is_checkpoint else "model card"
    else:
        counting = [
            evaluator.confidence_step(
                one.scorer(options.inference), one.label_map.num_classes, options.label_size
            )
            for one in opened
        ]
        progress = Progress(images, "images, thresholds")
        found = thresholds.find(counting, dataset, options.confident_share, devices, progress)
        origin = f"this split, keeping {options.confident_share:g} of each predicted class"
    named = zip(first.label_map.class_names, found.tolist(), strict=True)
    return found, {
        "rule": "left out where the largest probability is below its class's threshold",
        "thresholds_from": origin,
        "thresholds": dict(named),
    }
