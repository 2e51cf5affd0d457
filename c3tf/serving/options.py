"""What may be chosen of an export; no TensorFlow."""

import dataclasses
from collections.abc import Sequence

from c3tf.errors import UserError

SAVED_MODEL, KERAS, TFLITE = "saved_model", "keras", "tflite"
FORMATS = (SAVED_MODEL, KERAS, TFLITE)
TFLITE_SIZE = (512, 1024)


class ServingError(UserError):
    """A model cannot be exported or read as asked."""


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """What is written of a network.

    Attributes:
        formats: some of `FORMATS`.
        fold: folds batch norm into the convolutions.
        tflite_size: height and width of the images that the TensorFlow Lite files take.
        half: stores the SavedModel's weights in float16; it computes in float32.
    """

    formats: Sequence[str] = (SAVED_MODEL,)
    fold: bool = True
    tflite_size: tuple[int, int] = TFLITE_SIZE
    half: bool = False

    def __post_init__(self) -> None:
        if not self.formats or not set(self.formats) <= set(FORMATS):
            raise ServingError(
                f"`--format` must list some of {', '.join(FORMATS)}. "
                f"Received: --format={','.join(self.formats)}"
            )
        if self.half and SAVED_MODEL not in self.formats:
            raise ServingError(
                f"`--half` needs --format={SAVED_MODEL}. Received: --half "
                f"--format={','.join(self.formats)}"
            )
        if len(self.tflite_size) != 2 or min(self.tflite_size) < 1:
            raise ServingError(
                "`--tflite_size` must be a height and a width in pixels, such as "
                f"{'x'.join(map(str, TFLITE_SIZE))}. "
                f"Received: --tflite_size={'x'.join(map(str, self.tflite_size))}"
            )
