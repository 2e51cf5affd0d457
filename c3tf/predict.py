"""Predicts image files, and draws what was predicted.

python -m c3tf.predict --model=exported/camvid --images=photos --output=predicted

For an image `street/a.jpg` the output folder gets, under the same relative name and for every
`--format` (see `c3tf.inference.prediction_files`):
  train_ids/street/a.png      class of every pixel, 8-bit grey
  label_ids/street/a.png      the same in the data set's own ids, as its server wants them
  color/street/a.png          in the colours of the classes
  overlay/street/a.png        the colours over the image
  probabilities/street/a.npz  float16 probabilities

Images are read as they are stored: a rotation noted in a photograph's metadata is not applied.
An image that cannot be read is reported and skipped; the exit code is then 1.
"""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from absl import flags

from c3tf import cli, models
from c3tf.inference import prediction, test_time, test_time_flags
from c3tf.inference.image_files import find_images
from c3tf.inference.prediction_files import DEFAULT_FORMATS, FORMATS, Outputs
from c3tf.inference.test_time import InferenceOptions
from c3tf.io import writable
from c3tf.models import InferenceModel
from c3tf.progress import Progress

EXIT_SOME_SKIPPED = 1


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string(
        "model", None, "Folder of a run, a checkpoint, or a SavedModel.", required=True
    )
    flags.DEFINE_string(
        "images",
        None,
        "A folder (searched with its subfolders for JPEG and PNG files), one file, or a quoted "
        "pattern such as 'frames/**/*.jpg'.",
        required=True,
    )
    flags.DEFINE_string("output", None, "Folder to write to.", required=True)
    flags.DEFINE_enum("weights", None, models.WEIGHTS, "Which network of a checkpoint [student].")
    flags.DEFINE_list("format", list(DEFAULT_FORMATS), f"What to write: {', '.join(FORMATS)}.")
    flags.DEFINE_float("opacity", 0.5, "Share of colour in overlays.", 0.0, 1.0)
    flags.DEFINE_integer("batch_size", 1, "Images of one size at once.", lower_bound=1)
    flags.DEFINE_integer(
        "height",
        0,
        "Height that the network sees images at, such as that of its training [the image's]; "
        "results have the image's size.",
        lower_bound=0,
    )
    test_time_flags.define()
    flags.DEFINE_bool("resume", False, "Go on with an earlier prediction of the same settings.")
    flags.DEFINE_bool("overwrite", False, "Replace files of an earlier prediction.")


@dataclasses.dataclass(frozen=True)
class Options:
    """How to predict.

    Attributes:
        formats: some of `prediction_files.FORMATS`.
        opacity: share of colour in overlays.
        batch_size: images of one size at once.
        height: height that the network sees images at; 0 keeps the image's own.
        inference: what is done with an image.
        resume: goes on with an earlier prediction of the same settings.
        overwrite: replaces files.
    """

    formats: Sequence[str] = DEFAULT_FORMATS
    opacity: float = 0.5
    batch_size: int = 1
    height: int = 0
    inference: InferenceOptions = dataclasses.field(default_factory=InferenceOptions)
    resume: bool = False
    overwrite: bool = False


@dataclasses.dataclass(frozen=True)
class Summary:
    """What became of the images.

    Attributes:
        total: files that were found.
        there: images that an earlier prediction had done.
        skipped: files that could not be predicted, with the reason.
    """

    total: int
    there: int
    skipped: dict[Path, str]


def predict_images(
    model: str,
    images: str,
    output: str,
    weights: str | None = None,
    options: Options | None = None,
    progress: Callable[[int, str], Callable[[int], None]] | None = None,
) -> Summary:
    """Predicts what `--images` names and writes it to a folder.

    Args:
        model: folder of a run, checkpoint or SavedModel.
        images: folder, file or pattern.
        output: folder to write to.
        weights: one of `models.WEIGHTS`, for runs and checkpoints.
        options: how to predict.
        progress: makes what is called with the number of images so far, from the number of
            images to come and their unit; `Progress` does.

    Raises:
        UserError: model, images or options cannot be used, or files are in the way.
    """
    options = options or Options()
    writable.check_folder(output)
    found = find_images(images, exclude=[Path(output) / name for name in FORMATS])
    opened = models.load(model, weights)
    outputs = Outputs(Path(output), opened.label_map, options.formats, options.opacity)
    predictor = _file_predictor(opened, outputs, options)
    settings = _settings(opened, options)
    inputs = prediction.remaining(
        found.inputs, outputs, settings, resume=options.resume, overwrite=options.overwrite
    )
    report = progress(len(inputs), "images") if progress else None
    skipped = found.left_out | predictor.run(inputs, report)
    total = len(found.inputs) + len(found.left_out)
    prediction.finish(outputs, settings, total - len(skipped), skipped)
    return Summary(total, len(found.inputs) - len(inputs), skipped)


def main() -> int:
    """Runs the command from its flags."""
    values = flags.FLAGS
    options = Options(
        formats=tuple(values.format),
        opacity=values.opacity,
        batch_size=values.batch_size,
        height=values.height,
        inference=test_time_flags.read(),
        resume=values.resume,
        overwrite=values.overwrite,
    )
    summary = predict_images(
        values.model, values.images, values.output, values.weights, options, Progress
    )
    for path, reason in summary.skipped.items():
        print(f"skipped {path}: {reason}", file=sys.stderr)
    done = summary.total - len(summary.skipped)
    before = f", {summary.there} of them before" if summary.there else ""
    print(f"{done} of {summary.total} images predicted to {values.output}{before}")
    return EXIT_SOME_SKIPPED if summary.skipped else 0


def _file_predictor(
    opened: InferenceModel, outputs: Outputs, options: Options
) -> prediction.FilePredictor:
    classes = opened.label_map.num_classes
    score = test_time.scorer(opened.probabilities, options.inference, classes)
    return prediction.FilePredictor(
        test_time.predictor(score) if options.inference.averages else opened.predict,
        outputs,
        test_time.compiled(score),
        batch_size=options.batch_size,
        height=options.height,
    )


def _settings(opened: InferenceModel, options: Options) -> dict[str, Any]:
    """Returns what decides the files that are written."""
    return {
        "model": opened.source,
        "classes": list(opened.label_map.class_names),
        "protocol": options.inference.to_json(),
        "height": options.height,
        "format": list(options.formats),
        "opacity": options.opacity,
    }


if __name__ == "__main__":
    define_flags()
    cli.run(main)
