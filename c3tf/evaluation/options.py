"""What may be chosen of an evaluation; no TensorFlow."""

import dataclasses

from c3tf.errors import UserError
from c3tf.inference.options import InferenceOptions

# The size that labels are measured at: as stored, or the image's.
ORIGINAL, RECORD = "original", "record"
LABEL_SIZES = (ORIGINAL, RECORD)


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
    """

    batch_size: int = 1
    inference: InferenceOptions = dataclasses.field(default_factory=InferenceOptions)
    label_size: str = ORIGINAL
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
