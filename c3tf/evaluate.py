"""Measures a run, a checkpoint or a SavedModel on a labeled split.

python -m c3tf.evaluate --model=demo/run/c3 --data=demo/scenes

`docs/evaluation.md` says what sliding windows, test-time augmentation and the averaging rules are,
and what stands in the JSON file.
"""

from absl import flags

from c3tf import cli
from c3tf.errors import UserError
from c3tf.evaluation import metrics
from c3tf.evaluation.options import (
    CORRUPTIONS,
    DEFAULT_SEVERITIES,
    LABEL_SIZES,
    ORIGINAL,
    EvaluationOptions,
)
from c3tf.inference import test_time_flags
from c3tf.inference.options import WEIGHTS
from c3tf.io import json_files, memory, writable


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string(
        "model", None, "Folder of a run, a checkpoint, or a SavedModel.", required=True
    )
    flags.DEFINE_string("data", None, "Folder of a data set that a converter made.", required=True)
    flags.DEFINE_string("split", "val", "Split of the data set; all its images need labels.")
    flags.DEFINE_enum("weights", None, WEIGHTS, "Which network of a checkpoint [student].")
    flags.DEFINE_string(
        "label_map", None, "Classes (label_map.json) of a SavedModel without a model card."
    )
    flags.DEFINE_integer(
        "batch_size", 1, "Images at once; more than one needs images of one size.", lower_bound=1
    )
    test_time_flags.define()
    flags.DEFINE_enum(
        "label_size",
        ORIGINAL,
        LABEL_SIZES,
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
    flags.DEFINE_bool("calibration", False, "Also measure whether its confidence is right.")
    flags.DEFINE_list(
        "corruptions", [], f"Also measure on spoiled images: some of {', '.join(CORRUPTIONS)}."
    )
    flags.DEFINE_list("severities", None, "Of --corruptions, 1 to 5 [1,3,5].")
    flags.DEFINE_integer("corruption_seed", 0, "Seed of what --corruptions draw.", lower_bound=0)
    flags.DEFINE_integer("replicas", 0, "Devices to use [all GPUs, or one CPU].", lower_bound=0)
    flags.DEFINE_string("error_maps", None, "Folder for a picture of the errors of every image.")
    flags.DEFINE_string("output", None, "JSON file to write the result to.")
    flags.DEFINE_bool("overwrite", False, "Replace an existing --output and pictures.")


def from_flags() -> EvaluationOptions:
    """Reads the flags that say how to measure.

    Raises:
        UserError: a value is out of range, or does not go with another.
    """
    values = flags.FLAGS
    return EvaluationOptions(
        batch_size=values.batch_size,
        inference=test_time_flags.read(),
        label_size=values.label_size,
        ignore_low_confidence=values.ignore_low_confidence,
        confident_share=values.confident_share,
        replicas=values.replicas,
        error_maps=values.error_maps,
        overwrite=values.overwrite,
        calibration=values.calibration,
        corruptions=tuple(values.corruptions),
        severities=_severities(values.severities, values.corruptions),
        corruption_seed=values.corruption_seed,
    )


def _severities(words: list[str] | None, corruptions: list[str]) -> tuple[int, ...]:
    if words is None:
        return DEFAULT_SEVERITIES
    text = ",".join(words)
    if not corruptions:
        raise UserError(f"`--severities` needs --corruptions. Received: --severities={text}")
    try:
        return tuple(map(int, words))
    except ValueError as error:
        raise UserError(f"`--severities` must be numbers. Received: {text!r}") from error


def main() -> None:
    """Runs the command from its flags."""
    values = flags.FLAGS
    options = from_flags()
    if values.output:
        writable.check_file(values.output, replace=values.overwrite)
    if options.error_maps:
        writable.check_folder(options.error_maps, "--error_maps")
    memory.keep_freed()
    from c3tf import models
    from c3tf.evaluation.split import evaluate_split

    result = evaluate_split(
        lambda: models.open_model(values.model, values.weights, values.label_map),
        values.data,
        values.split,
        options,
    )
    rule = values.averaging
    if values.output:
        data = result.to_json()
        chosen = {"averaging": rule, "mean_iou": data["metrics"][f"mean_iou_{rule}"]}
        json_files.write(values.output, {**chosen, **data})
    print(result.table())
    for text in (result.calibration_table(), result.corruption_table(rule)):
        if text:
            print(f"\n{text}\n")
    print(f"{result.images} images of {values.data}, split {values.split}")
    print(f"mean IoU ({rule} rule): {result.mean_iou(rule):.2%}")
    if values.output:
        print(f"Result written to {values.output}")


if __name__ == "__main__":
    define_flags()
    cli.run(main)
