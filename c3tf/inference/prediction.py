"""Prediction of image files: reading, network and writing side by side; what is left to do."""

import collections
import dataclasses
import json
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
from c3tf.io import json_files, orientation

# Says what the files of an output folder were predicted with.
RECORD_FILE = "prediction.json"
_WRITERS = 2


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
    """

    predict: Predictor
    outputs: Outputs
    score: Predictor | None = None
    batch_size: int = 1
    height: int = 0
    exif: str = orientation.DEFAULT

    def __post_init__(self) -> None:
        if self.outputs.with_probabilities and self.score is None:
            raise ValueError("`score` must be given where outputs are made from probabilities.")
        if self.batch_size < 1 or self.height < 0:
            raise UserError(
                "`--batch_size` must be at least 1 and `--height` 0 or more. "
                f"Received: --batch_size={self.batch_size}, --height={self.height}"
            )

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
    if resume and overwrite:
        raise UserError("Give one of --resume and --overwrite, not both.")
    outputs.check_inputs_are_kept(inputs)
    record = outputs.folder / RECORD_FILE
    if resume:
        _check_same(record, settings)
        inputs = [item for item in inputs if not outputs.complete(item)]
    elif not overwrite:
        targets = (path for item in inputs for path in outputs.targets(item.name))
        existing = [path for path in (record, *targets) if path.exists()]
        if existing:
            raise UserError(
                f"{len(existing)} of the files to write exist, e.g. {existing[0]}. Give another "
                "--output, or add --resume to go on, or --overwrite to replace them."
            )
    json_files.write(record, {"settings": settings, "complete": False})
    return list(inputs)


def finish(
    outputs: Outputs, settings: dict[str, Any], images: int, skipped: dict[Path, str]
) -> None:
    """Records that a prediction is complete, with the images that were skipped."""
    named = {str(path): reason for path, reason in skipped.items()}
    json_files.write(
        outputs.folder / RECORD_FILE,
        {"settings": settings, "complete": True, "images": images, "skipped": named},
    )


def _check_same(record: Path, settings: dict[str, Any]) -> None:
    """Refuses to mix predictions by different settings in one folder."""
    if not record.exists():
        return
    text = "{path} cannot be read: {reason}. Give another --output."
    earlier = json_files.read(record, text=text).get("settings")
    if not isinstance(earlier, dict):
        raise UserError(text.format(path=record, reason="it names no settings"))
    wanted = json.loads(json.dumps(settings))
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


def _identity(setting: Any) -> Any:
    """Leaves out where a model lies: what it holds, its checksum, says which one it is."""
    if isinstance(setting, dict) and "sha256" in setting:
        return {name: value for name, value in setting.items() if name != "model"}
    return setting
