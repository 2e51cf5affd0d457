"""Prediction of image files: reading, network and writing side by side; what is left to do."""

import collections
import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from c3tf.errors import UserError
from c3tf.inference import networks, reading
from c3tf.inference.image_files import Input
from c3tf.inference.networks import Predictor
from c3tf.inference.prediction_files import Outputs
from c3tf.io import json_files, orientation, predicted, schema
from c3tf.io.predicted import RECORD_FILE

_WRITERS = 2
_RECORD = schema.record(
    {"settings": schema.thing}, {"images_in": schema.text, "since": schema.integer()}
)


@dataclasses.dataclass(frozen=True)
class FilePredictor:
    """A network, the files that are written of its class maps, and how images are batched.

    Attributes:
        predict: class maps at any size; not used where `score` is given.
        outputs: what to write.
        score: probabilities at any size, needed where `outputs` are made from them.
        batch_size: images of one size at once.
        height: height that the network gets; 0 keeps the image's own. Results have the image's
            size in either case.
        exif: what becomes of rotations that metadata note, one of `orientation.RULES`.
        rows: images that were predicted, by their height.
    """

    predict: Predictor
    outputs: Outputs
    score: Predictor | None = None
    batch_size: int = 1
    height: int = 0
    exif: str = orientation.DEFAULT
    rows: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)

    def __post_init__(self) -> None:
        if self.outputs.with_probabilities and self.score is None:
            raise ValueError("`score` must be given where outputs are made from probabilities.")

    def run(
        self, inputs: Sequence[Input], progress: Callable[[int], None] | None = None
    ) -> dict[Path, str]:
        """Predicts images and writes their files; existing ones are replaced.

        Args:
            inputs: the images.
            progress: called with the number of images that are done.

        Returns:
            The images that could not be read, each with the reason.
        """
        report = progress or (lambda done: None)
        skipped: dict[Path, str] = {}
        pending: collections.deque[Future[int]] = collections.deque()
        written = 0
        with ThreadPoolExecutor(_WRITERS) as pool:
            for batch in reading.batches(inputs, self.batch_size, self.height, self.exif):
                if batch[0].problem:
                    skipped[batch[0].item.path] = batch[0].problem
                else:
                    try:
                        pending.append(pool.submit(self._write, batch, *self._maps(batch)))
                        self.rows[batch[0].image.shape[0]] += len(batch)
                    except tf.errors.ResourceExhaustedError:
                        skipped |= dict.fromkeys(
                            (one.item.path for one in batch), reading.NO_MEMORY
                        )
                # What waits to be written is bounded, however slow the disk is.
                while len(pending) > _WRITERS:
                    written += pending.popleft().result()
                report(written + len(skipped))
            for future in pending:
                written += future.result()
                report(written + len(skipped))
        return skipped

    def _maps(self, batch: list[reading.Loaded]) -> tuple[np.ndarray, np.ndarray | None]:
        """Returns class maps and, where outputs need them, probabilities at the images' size."""
        images = tf.constant(np.stack([loaded.shown for loaded in batch]))
        size = tf.constant(batch[0].image.shape[:2], tf.int32)
        if not self.outputs.with_probabilities:
            return self.predict(images, size).numpy(), None
        probabilities = self.score(images, size)
        return networks.most_likely(probabilities).numpy(), probabilities.numpy()

    def _write(
        self,
        batch: list[reading.Loaded],
        class_maps: np.ndarray,
        probabilities: np.ndarray | None,
    ) -> int:
        """Writes the files of a batch and returns its number of images."""
        for index, loaded in enumerate(batch):
            own = None if probabilities is None else probabilities[index]
            item = loaded.item
            self.outputs.write(item.name, loaded.image, class_maps[index], own, item.path)
        return len(batch)


def remaining(
    inputs: Sequence[Input],
    outputs: Outputs,
    settings: dict[str, Any],
    *,
    resume: bool = False,
    overwrite: bool = False,
) -> list[Input]:
    """Decides what of an output folder's earlier contents stays, and records the settings.

    The record says since when files are by these settings: those that `overwrite` has not come to
    yet are older. It names the folders of the images as well, since other ones hold other images
    of the same names.

    Args:
        inputs: the images.
        outputs: what to write.
        settings: what decides the predictions, plain data; written to `RECORD_FILE`.
        resume: goes on with an earlier prediction by the same settings.
        overwrite: replaces files.

    Returns:
        The images to predict: all, or without those that are done.

    Raises:
        UserError: something exists and may not be replaced, or does not go with what exists;
            nothing was written.
    """
    outputs.check_inputs_are_kept(inputs)
    record, folder = outputs.folder / RECORD_FILE, _folder_of(inputs[0])
    earlier = _earlier(record, settings, folder) if resume else None
    if earlier is not None:
        since = earlier.get("since", 0)
        left = [item for item in inputs if not outputs.complete(item, since)]
    else:
        left = list(inputs)
        if not overwrite:
            _refuse_existing(record, inputs, outputs, resume)
        since = _now(outputs.folder)
    held = {"settings": settings, "images_in": folder, "since": since}
    older = sorted(predicted.folders(outputs.folder) - set(outputs.formats))
    json_files.write(record, {**held, "older": older, "complete": False})
    return left


def finish(outputs: Outputs, images: int, skipped: dict[Path, str]) -> None:
    """Records that a prediction is complete, with the images that were skipped."""
    record = outputs.folder / RECORD_FILE
    named = {str(path): reason for path, reason in skipped.items()}
    held = {**json_files.read(record), "complete": True, "images": images, "skipped": named}
    json_files.write(record, held)


def _folder_of(item: Input) -> str:
    """Returns the folder that the names of results start from."""
    return os.path.realpath(item.path.absolute().parents[item.name.count("/")])


def _now(folder: Path) -> int:
    """Returns the time by the clock that stamps the files of a folder, in nanoseconds."""
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    return folder.stat().st_mtime_ns


def _refuse_existing(record: Path, inputs: Sequence[Input], outputs: Outputs, resume: bool) -> None:
    """Refuses files that may not be replaced, or of which nothing says what they were made with."""
    targets = (path for item in inputs for path in outputs.targets(item.name))
    existing = [path for path in (record, *targets) if path.exists()]
    if not existing:
        return
    if resume:
        raise UserError(
            f"--resume needs {record}, which says what files there are of: {len(existing)} of the "
            f"files to write exist, e.g. {existing[0]}. Give another --output, or --overwrite."
        )
    raise UserError(
        f"{len(existing)} of the files to write exist, e.g. {existing[0]}. Give another "
        "--output, or add --resume to go on, or --overwrite to replace them."
    )


def _earlier(record: Path, settings: dict[str, Any], folder: str) -> dict[str, Any] | None:
    """Reads the record of an earlier prediction, None where there is none.

    Raises:
        UserError: it is by other settings or of images in another folder, which must not mix.
    """
    if not record.exists():
        return None
    text = "{path} cannot be read: {reason}. Give another --output."
    held = json_files.read(record, check=_RECORD, text=text)
    earlier, wanted = held["settings"], json.loads(json.dumps(settings))
    different = sorted(
        name
        for name in {*earlier, *wanted}
        if _identity(earlier.get(name)) != _identity(wanted.get(name))
    )
    if different:
        name = different[0]
        raise UserError(
            f"--resume needs the settings of the earlier prediction in {record.parent}. Another "
            f"{name}: {earlier.get(name)} there, {wanted.get(name)} now."
        )
    # Earlier versions did not note it.
    if (before := held.get("images_in", folder)) != folder:
        raise UserError(
            f"--resume needs the images of the earlier prediction in {record.parent}: those in "
            f"{before} there, in {folder} now, where other images may have the same names. Give "
            "another --output, or --overwrite."
        )
    return held


def _identity(setting: Any) -> Any:
    """Leaves out where a model lies: what it holds, its checksum, says which one it is."""
    if isinstance(setting, dict) and "sha256" in setting:
        return {name: value for name, value in setting.items() if name != "model"}
    return setting
