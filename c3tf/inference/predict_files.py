"""Prediction of image files by one model, from the search for images to the record of settings."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from c3tf.errors import UserError
from c3tf.inference import prediction, test_time
from c3tf.inference.image_files import find_images
from c3tf.inference.model import InferenceModel, Opener
from c3tf.inference.options import FORMATS, PSEUDO_LABELS, PredictionOptions
from c3tf.inference.prediction_files import Outputs
from c3tf.io import leftovers, locks, predicted, writable


@dataclasses.dataclass(frozen=True)
class Summary:
    """What became of the images.

    Attributes:
        total: files that were found.
        there: images that an earlier prediction had done.
        skipped: files that could not be predicted, with the reason.
        seconds: that prediction took, from the first image that was read to the last file.
        advice: what may be wrong with them all, for people; None if nothing is.
    """

    total: int
    there: int
    skipped: dict[Path, str]
    seconds: float
    advice: str | None = None

    @property
    def rate(self) -> float:
        """Images per second, of those that were predicted now."""
        return (self.total - len(self.skipped) - self.there) / max(self.seconds, 1e-9)


def predict_files(
    open_model: Opener,
    images: str,
    output: str,
    options: PredictionOptions | None = None,
    progress: Callable[[int, str], Callable[[int], None]] | None = None,
) -> Summary:
    """Predicts image files and writes what was predicted to a folder.

    Args:
        open_model: opens the model, once the images are found.
        images: folder, file, pattern or list, see `find_images`.
        output: folder to write to.
        options: how to predict.
        progress: makes what is called with the number of images so far, from the number of
            images to come and their unit; `Progress` does.

    Raises:
        UserError: model, images or options cannot be used, or files are in the way.
    """
    options = options or PredictionOptions()
    writable.check_folder(output)
    found = find_images(images, exclude=[Path(output) / name for name in FORMATS])
    opened = open_model()
    outputs = Outputs(
        Path(output),
        opened.label_map,
        options.formats,
        options.opacity,
        opened.thresholds,
        options.pseudo_as,
    )
    predictor = _file_predictor(opened, outputs, options)
    settings = _settings(opened, options)
    with _alone(output):
        for folder in outputs.folders():
            leftovers.sweep(folder)
        inputs = prediction.remaining(
            found.inputs, outputs, settings, resume=options.resume, overwrite=options.overwrite
        )
        report = progress(len(inputs), "images") if progress else None
        start = time.monotonic()
        skipped = found.left_out | predictor.run(inputs, report)
        seconds = time.monotonic() - start
        total = len(found.inputs) + len(found.left_out)
        prediction.finish(outputs, total - len(skipped), skipped)
    advice = opened.advice(predictor.rows, options.height, options.inference.tta_scales)
    return Summary(total, len(found.inputs) - len(inputs), skipped, seconds, advice)


@contextlib.contextmanager
def _alone(output: str) -> Iterator[None]:
    """Keeps other predictions out of an output folder, which is made where it is missing."""
    made = not os.path.isdir(output)
    os.makedirs(output, exist_ok=True)
    busy = UserError(f"Another process predicts into {output}. Wait for it, or give another one.")
    try:
        with locks.alone(output, busy, "predict into it once at a time."):
            leftovers.clear(os.path.join(output, predicted.RECORD_FILE))
            yield
    finally:
        # What was refused leaves no empty folder.
        if made and not os.listdir(output):
            os.rmdir(output)


def _file_predictor(
    opened: InferenceModel, outputs: Outputs, options: PredictionOptions
) -> prediction.FilePredictor:
    return prediction.FilePredictor(
        opened.predictor(options.inference),
        outputs,
        test_time.compiled(opened.scorer(options.inference)),
        batch_size=options.batch_size,
        height=options.height,
        exif=options.exif,
    )


def _settings(opened: InferenceModel, options: PredictionOptions) -> dict[str, Any]:
    """Returns what decides the files that are written."""
    settings = {
        "model": opened.source,
        "classes": list(opened.label_map.class_names),
        "protocol": options.inference.to_json(),
        "height": options.height,
        "format": list(options.formats),
        "opacity": options.opacity,
        "exif": options.exif,
    }
    if PSEUDO_LABELS in options.formats:
        settings["pseudo_as"] = options.pseudo_as
        settings["thresholds"] = [float(value) for value in opened.thresholds]
    return settings
