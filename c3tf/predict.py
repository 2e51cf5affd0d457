"""Predicts image files, and draws what was predicted.

python -m c3tf.predict --model=exported/camvid --images=photos --output=predicted

For an image `street/a.jpg` the output folder gets, under the same relative name and for every
`--format` (see `c3tf.prediction.outputs`):
  train_ids/street/a.png      class of every pixel, 8-bit grey
  label_ids/street/a.png      the same in the data set's own ids, as its server wants them
  color/street/a.png          in the colours of the classes
  overlay/street/a.png        the colours over the image
  probabilities/street/a.npz  float16 probabilities

Images are read as they are stored: a rotation noted in a photograph's metadata is not applied.
An image that cannot be read is reported and skipped; the exit code is then 1.
"""

import sys
from pathlib import Path
from typing import Any

from absl import flags

from c3tf import cli, loading, protocol_flags
from c3tf import protocol as protocols
from c3tf.loading import OpenedModel
from c3tf.prediction import job
from c3tf.prediction.inputs import find_images
from c3tf.prediction.outputs import DEFAULT_FORMATS, FORMATS, Outputs
from c3tf.progress import Progress
from c3tf.protocol import Protocol

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
    flags.DEFINE_enum("weights", None, loading.WEIGHTS, "Which network of a checkpoint [student].")
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
    protocol_flags.define()
    flags.DEFINE_bool("resume", False, "Go on with an earlier prediction of the same settings.")
    flags.DEFINE_bool("overwrite", False, "Replace files of an earlier prediction.")


def main() -> int:
    """Runs the command from its flags."""
    values = flags.FLAGS
    protocol = protocol_flags.read()
    exclude = [Path(values.output) / name for name in FORMATS]
    found = find_images(values.images, exclude)
    opened = loading.open_model(values.model, values.weights)
    outputs = Outputs(Path(values.output), opened.label_map, values.format, values.opacity)
    planned = _job(opened, outputs, protocol, values.batch_size, values.height)
    settings = _settings(opened, protocol, values)
    inputs = job.remaining(
        found.inputs, outputs, settings, resume=values.resume, overwrite=values.overwrite
    )
    if there := len(found.inputs) - len(inputs):
        print(f"{there} of {len(found.inputs)} images are predicted already")
    skipped = found.left_out | planned.run(inputs, Progress(len(inputs), "images"))
    for path, reason in skipped.items():
        print(f"skipped {path}: {reason}", file=sys.stderr)
    total = len(found.inputs) + len(found.left_out)
    job.finish(outputs, settings, total - len(skipped), skipped)
    print(f"{total - len(skipped)} of {total} images predicted to {values.output}")
    return EXIT_SOME_SKIPPED if skipped else 0


def _job(
    opened: OpenedModel, outputs: Outputs, protocol: Protocol, batch_size: int, height: int
) -> job.Job:
    score = protocols.scorer(opened.probabilities, protocol, opened.label_map.num_classes)
    predict = protocols.predictor(score) if protocol.averages else opened.predict
    return job.Job(
        predict, outputs, protocols.compiled(score), batch_size=batch_size, height=height
    )


def _settings(opened: OpenedModel, protocol: Protocol, values: flags.FlagValues) -> dict[str, Any]:
    """Returns what decides the files that are written."""
    return {
        "model": opened.source,
        "classes": list(opened.label_map.class_names),
        "protocol": protocol.to_json(),
        "height": values.height,
        "format": list(values.format),
        "opacity": values.opacity,
    }


if __name__ == "__main__":
    define_flags()
    cli.run(main)
