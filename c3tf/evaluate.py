"""Measures a run, a checkpoint or a SavedModel on a labeled split.

python -m c3tf.evaluate --model=runs/camvid --data=data/camvid

`docs/evaluation.md` says what sliding windows, test-time augmentation and the averaging rules are,
and what stands in the JSON file.
"""

import dataclasses

from c3tf import cli

# isort: split
# TensorFlow reads what `cli` sets when it is imported.
import tensorflow as tf
from absl import flags

from c3tf import models
from c3tf.data import manifest, validation
from c3tf.errors import UserError
from c3tf.evaluation import evaluator, metrics, thresholds
from c3tf.evaluation.evaluator import EvaluationResult, Evaluator
from c3tf.inference import test_time, test_time_flags
from c3tf.inference.test_time import InferenceOptions
from c3tf.io import json_files, writable
from c3tf.models import InferenceModel
from c3tf.progress import Progress
from c3tf.visualization import error_maps


@dataclasses.dataclass(frozen=True)
class Options:
    """How to measure.

    Attributes:
        batch_size: images at once on one device.
        inference: what is done with an image.
        label_size: one of `evaluator.LABEL_SIZES`.
        ignore_low_confidence: also measures with low-confidence pixels left out.
        confident_share: share of each predicted class to keep for that; None takes the
            checkpoint's thresholds.
        replicas: devices to use; 0 takes all GPUs, or one CPU.
        error_maps: folder for pictures of the errors; None draws none.
        overwrite: replaces existing pictures.
    """

    batch_size: int = 1
    inference: InferenceOptions = dataclasses.field(default_factory=InferenceOptions)
    label_size: str = evaluator.ORIGINAL
    ignore_low_confidence: bool = False
    confident_share: float | None = None
    replicas: int = 0
    error_maps: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        if self.confident_share is None:
            return
        if not self.ignore_low_confidence:
            raise UserError("`--confident_share` needs --ignore_low_confidence.")
        if not 0 < self.confident_share <= 1:
            raise UserError(
                "`--confident_share` must be above 0 and at most 1. "
                f"Received: --confident_share={self.confident_share}"
            )


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string(
        "model", None, "Folder of a run, a checkpoint, or a SavedModel.", required=True
    )
    flags.DEFINE_string("data", None, "Folder of a data set that a converter made.", required=True)
    flags.DEFINE_string("split", "val", "Split of the data set; all its images need labels.")
    flags.DEFINE_enum("weights", None, models.WEIGHTS, "Which network of a checkpoint [student].")
    flags.DEFINE_integer(
        "batch_size", 1, "Images at once; more than one needs images of one size.", lower_bound=1
    )
    test_time_flags.define()
    flags.DEFINE_enum(
        "label_size",
        evaluator.ORIGINAL,
        evaluator.LABEL_SIZES,
        "Measure at the size that labels are stored with, or at the image's.",
    )
    flags.DEFINE_enum(
        "averaging", metrics.AVERAGING[0], metrics.AVERAGING, "Whose rule the mean IoU follows."
    )
    flags.DEFINE_bool(
        "ignore_low_confidence", False, "Also measure without the pixels that DCRS drops."
    )
    flags.DEFINE_float(
        "confident_share", None, "Find the thresholds for that on this split, keeping this share."
    )
    flags.DEFINE_integer("replicas", 0, "Devices to use [all GPUs, or one CPU].", lower_bound=0)
    flags.DEFINE_string("error_maps", None, "Folder for a picture of the errors of every image.")
    flags.DEFINE_string("output", None, "JSON file to write the result to.")
    flags.DEFINE_bool("overwrite", False, "Replace an existing --output and pictures.")


def evaluate_split(
    model: str,
    data: str,
    split: str = "val",
    weights: str | None = None,
    options: Options | None = None,
) -> EvaluationResult:
    """Evaluates what `--model` names on one split of a data set.

    Args:
        model: folder of a run, checkpoint or SavedModel.
        data: folder of a data set.
        split: one whose images all have labels.
        weights: one of `models.WEIGHTS`, for runs and checkpoints.
        options: how to measure.

    Raises:
        UserError: model, data or options cannot be used, or do not fit each other.
    """
    options = options or Options()
    described = manifest.verify(data)
    validation.check_shards(described, split)
    names = described.names(split)
    draw = None
    if options.error_maps:
        draw = error_maps.ErrorMaps(options.error_maps, names, options.overwrite)
    devices = _devices(options.replicas)
    opened = _open(model, weights, devices)
    _check_classes(model, opened[0], data, described)
    dataset = validation.val_dataset(data, split, options.batch_size)
    facts = {
        **options.inference.to_json(),
        "label_size": options.label_size,
        **opened[0].source,
        "data": data,
        "split": split,
    }
    if options.ignore_low_confidence:
        found, facts["low_confidence"] = _thresholds(opened, dataset, len(names), options, devices)
        counting = [
            evaluator.confident_count_step(
                _score(one, options), one.label_map.num_classes, found, options.label_size
            )
            for one in opened
        ]
    else:
        counting = [
            evaluator.count_step(
                _predict(one, options), one.label_map.num_classes, options.label_size
            )
            for one in opened
        ]
    return Evaluator(counting, opened[0].label_map, devices).run(
        dataset,
        names=names,
        protocol=facts,
        progress=Progress(len(names), "images"),
        observe=draw,
    )


def from_flags() -> Options:
    """Reads the flags that say how to measure.

    Raises:
        UserError: a value is out of range, or does not go with another.
    """
    values = flags.FLAGS
    return Options(
        batch_size=values.batch_size,
        inference=test_time_flags.read(),
        label_size=values.label_size,
        ignore_low_confidence=values.ignore_low_confidence,
        confident_share=values.confident_share,
        replicas=values.replicas,
        error_maps=values.error_maps,
        overwrite=values.overwrite,
    )


def main() -> None:
    """Runs the command from its flags."""
    values = flags.FLAGS
    options = from_flags()
    if values.output:
        writable.check_file(values.output, replace=values.overwrite)
    if options.error_maps:
        writable.check_folder(options.error_maps, "--error_maps")
    result = evaluate_split(values.model, values.data, values.split, values.weights, options)
    print(result.table())
    print(f"{result.images} images of {values.data}, split {values.split}")
    rule = values.averaging
    print(f"mean IoU ({rule} rule): {result.mean_iou(rule):.2%}")
    if values.output:
        data = result.to_json()
        chosen = {"averaging": rule, "mean_iou": data["metrics"][f"mean_iou_{rule}"]}
        json_files.write(values.output, {**chosen, **data})
        print(f"Result written to {values.output}")


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


def _open(model: str, weights: str | None, devices: list[str | None]) -> list[InferenceModel]:
    """Opens the model once on every device."""
    opened = []
    for device in devices:
        with tf.device(device):
            opened.append(models.load(model, weights))
    return opened


def _check_classes(
    model: str, opened: InferenceModel, data: str, described: manifest.Manifest
) -> None:
    known, labeled = opened.label_map.class_names, described.label_map.class_names
    if known != labeled:
        raise UserError(
            f"{model} knows the classes {', '.join(known)}, but {data} is labeled with "
            f"{', '.join(labeled)}."
        )


def _score(opened: InferenceModel, options: Options) -> test_time.Predictor:
    classes = opened.label_map.num_classes
    return test_time.scorer(opened.probabilities, options.inference, classes)


def _predict(opened: InferenceModel, options: Options) -> test_time.Predictor:
    if not options.inference.averages:
        return opened.predict
    return test_time.predictor(_score(opened, options))


def _thresholds(
    opened: list[InferenceModel],
    dataset: tf.data.Dataset,
    images: int,
    options: Options,
    devices: list[str | None],
) -> tuple:
    """Returns the thresholds of the predicted classes, and what results state of them."""
    first = opened[0]
    if options.confident_share is None:
        if first.thresholds is None:
            raise UserError(
                f"{first.source['model']} holds no DCRS thresholds: only checkpoints with a "
                "teacher do. `--confident_share=0.8` finds some on this split."
            )
        found, origin = first.thresholds, "checkpoint"
    else:
        counting = [
            evaluator.confidence_step(
                _score(one, options), one.label_map.num_classes, options.label_size
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


if __name__ == "__main__":
    define_flags()
    cli.run(main)
