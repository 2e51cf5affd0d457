"""What may be chosen of an evaluation; no TensorFlow."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from c3tf.errors import UserError
from c3tf.inference.options import InferenceOptions, check_batches

# The size that labels are measured at: as stored, or the image's.
ORIGINAL, RECORD = "original", "record"
LABEL_SIZES = (ORIGINAL, RECORD)

# What images may be spoiled by, see `c3tf.evaluation.corruptions`.
FOG, RAIN, NIGHT, BLUR, JPEG = CORRUPTIONS = ("fog", "rain", "night", "blur", "jpeg")
SEVERITIES, DEFAULT_SEVERITIES = (1, 2, 3, 4, 5), (1, 3, 5)


@dataclasses.dataclass(frozen=True)
class EvaluationOptions:
    """How a network is measured.

    Attributes:
        batch_size: images at once on one device.
        inference: what is done with an image.
        label_size: one of `LABEL_SIZES`.
        ignore_low_confidence: also measures with low-confidence pixels left out.
        confident_share: share of each predicted class to keep for that; None takes the
            checkpoint's thresholds.
        replicas: devices to use; 0 takes all GPUs, or one CPU.
        error_maps: folder for pictures of the errors; None draws none.
        overwrite: replaces existing pictures.
        calibration: also counts by confidence.
        corruptions: also measures on images spoiled so, some of `CORRUPTIONS`.
        severities: of these, 1 to 5.
        corruption_seed: of their draws.
    """

    batch_size: int = 1
    inference: InferenceOptions = dataclasses.field(default_factory=InferenceOptions)
    label_size: str = ORIGINAL
    ignore_low_confidence: bool = False
    confident_share: float | None = None
    replicas: int = 0
    error_maps: str | None = None
    overwrite: bool = False
    calibration: bool = False
    corruptions: tuple[str, ...] = ()
    severities: tuple[int, ...] = DEFAULT_SEVERITIES
    corruption_seed: int = 0

    def __post_init__(self) -> None:
        check_batches(self.batch_size, 0)
        if self.label_size not in LABEL_SIZES:
            raise UserError(
                f"`--label_size` must be {' or '.join(LABEL_SIZES)}. "
                f"Received: --label_size={self.label_size}"
            )
        if self.replicas < 0:
            raise UserError(f"`--replicas` must be 0 or more. Received: {self.replicas}")
        _check_some_of("corruptions", self.corruptions, CORRUPTIONS)
        _check_some_of("severities", self.severities, SEVERITIES)
        if not self.severities:
            raise UserError("`--severities` must not be empty.")
        if self.corruption_seed < 0:
            raise UserError(
                "`--corruption_seed` must be 0 or more. "
                f"Received: --corruption_seed={self.corruption_seed}"
            )
        if self.confident_share is None:
            return
        if not self.ignore_low_confidence:
            raise UserError("`--confident_share` needs --ignore_low_confidence.")
        if not 0 < self.confident_share <= 1:
            raise UserError(
                "`--confident_share` must be above 0 and at most 1. "
                f"Received: --confident_share={self.confident_share}"
            )


def _check_some_of(flag: str, values: Sequence[Any], known: Sequence[Any]) -> None:
    if len(set(values)) != len(values) or not set(values) <= set(known):
        raise UserError(
            f"`--{flag}` must be different ones of {', '.join(map(str, known))}. "
            f"Received: --{flag}={','.join(map(str, values))}"
        )
