"""Predicts image files, and draws what was predicted.

python -m c3tf.predict --model=demo/run/c3 --images=photos --output=predicted

For an image `street/a.jpg` the output folder gets, under the same relative name and for every
`--format` (see `c3tf.inference.prediction_files`):
  train_ids/street/a.png      class of every pixel, 8-bit grey
  label_ids/street/a.png      the same in the data set's own ids, as its server wants them
  color/street/a.png          in the colours of the classes
  overlay/street/a.png        the colours over the image
  probabilities/street/a.npz  float16 probabilities
  confidence/street/a.png     the largest probability, 8-bit grey
  uncertainty/street/a.png    doubt as heat over the image
  pseudo_labels/street/a.png  classes where they reach their DCRS threshold (--pseudo_as=labelme:
                              .json, polygons to correct in an editor)

An image whose metadata note a rotation is read as `--exif` says; class maps are of what is read.
An image that cannot be read is reported and skipped; the exit code is then 1.

python -m c3tf.predict --model=demo/run/c3 --video=drive.mp4 --output=predicted.mp4

writes a video with the classes drawn in, of the same frame rate, upright, without sound. A frame
that cannot be read shows the one before and is named; the exit code is then 1. A prediction of a
video that was stopped leaves nothing and begins anew.
"""

import sys

from absl import flags

from c3tf import cli
from c3tf.inference import test_time_flags, video_options
from c3tf.inference.options import (
    DEFAULT_FORMATS,
    FORMATS,
    PSEUDO_AS,
    TRAIN_IDS,
    WEIGHTS,
    PredictionOptions,
)
from c3tf.io import orientation, streams
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
        "A folder (searched with its subfolders for JPEG and PNG files), one file, a quoted "
        "pattern such as 'frames/**/*.jpg', or a list of files, one a line, that ends in .txt.",
    )
    video_options.define()
    flags.DEFINE_string("output", None, "Folder to write to.", required=True)
    flags.DEFINE_enum("weights", None, WEIGHTS, "Which network of a checkpoint [student].")
    flags.DEFINE_list("format", list(DEFAULT_FORMATS), f"What to write: {', '.join(FORMATS)}.")
    flags.DEFINE_enum("pseudo_as", TRAIN_IDS, PSEUDO_AS, "How pseudo-labels are written.")
    flags.DEFINE_float("opacity", 0.5, "Share of colour in overlays.", 0.0, 1.0)
    flags.DEFINE_integer("batch_size", 1, "Images of one size at once.", lower_bound=1)
    flags.DEFINE_integer(
        "height",
        0,
        "Height that the network sees images at, such as that of its training [the image's]; "
        "results have the image's size.",
        lower_bound=0,
    )
    flags.DEFINE_enum("exif", orientation.DEFAULT, orientation.RULES, orientation.HELP)
    test_time_flags.define()
    flags.DEFINE_bool("resume", False, "Go on with an earlier prediction of the same settings.")
    flags.DEFINE_bool("overwrite", False, "Replace files of an earlier prediction.")


def main() -> int:
    """Runs the command from its flags."""
    values = flags.FLAGS
    cli.need(**{"images` or `--video": values.images or values.video})
    video = video_options.read()
    return _predict_files() if video is None else _predict_video(video)


def _predict_files() -> int:
    values = flags.FLAGS
    options = PredictionOptions(
        formats=tuple(values.format),
        opacity=values.opacity,
        batch_size=values.batch_size,
        height=values.height,
        inference=test_time_flags.read(),
        resume=values.resume,
        overwrite=values.overwrite,
        exif=values.exif,
        pseudo_as=values.pseudo_as,
    )
    from c3tf import models
    from c3tf.inference import predict_files

    summary = predict_files.predict_files(
        lambda: models.open_model(values.model, values.weights),
        values.images,
        values.output,
        options,
        Progress,
    )
    for path, reason in summary.skipped.items():
        print(f"skipped {streams.shown(path)}: {streams.shown(reason)}", file=sys.stderr)
    done = summary.total - len(summary.skipped)
    before = f", {summary.there} of them before" if summary.there else ""
    rate = f", {summary.rate:.2f} per second" if done > summary.there else ""
    print(f"{done} of {summary.total} images predicted to {values.output}{before}{rate}")
    _warn(summary.advice)
    return EXIT_SOME_SKIPPED if summary.skipped else 0


def _predict_video(options: video_options.VideoOptions) -> int:
    values = flags.FLAGS
    from c3tf import models
    from c3tf.inference import video

    summary = video.predict_video(
        lambda: models.open_model(values.model, values.weights),
        values.video,
        values.output,
        options,
        Progress,
    )
    for line in summary.complaints():
        print(f"{streams.shown(values.video)}: {line}", file=sys.stderr)
    per_second = summary.frames / max(summary.seconds, 1e-9)
    print(
        f"{summary.frames} frames predicted to {values.output}, {per_second:.2f} per second; "
        f"{summary.rate:g} per second are shown"
    )
    _warn(summary.advice)
    return EXIT_SOME_SKIPPED if summary.broken or summary.lost else 0


def _warn(advice: str | None) -> None:
    if advice:
        print(f"warning: {advice}", file=sys.stderr)


if __name__ == "__main__":
    define_flags()
    cli.run(main)
