"""What may be chosen of an export; no TensorFlow."""

import dataclasses
import importlib.util
from collections.abc import Sequence

from c3tf.errors import UserError

SAVED_MODEL, KERAS, LITERT, ONNX, OPENVINO = "saved_model", "keras", "litert", "onnx", "openvino"
FORMATS = (SAVED_MODEL, KERAS, LITERT, ONNX, OPENVINO)
# Those that may be made for one size of image; LiteRT's files always are.
SIZED = (LITERT, ONNX, OPENVINO)
LITERT_SIZE = (512, 1024)
INT8 = "int8"
QUANTIZATIONS = (INT8,)
# What writes a format beside requirements.txt, as it is imported: all of requirements-runtimes.txt.
PACKAGES = {ONNX: ("onnx", "tf2onnx"), OPENVINO: ("openvino", "scipy")}
_RENAMED = {"tflite": LITERT}


class ServingError(UserError):
    """A model cannot be exported or read as asked."""


@dataclasses.dataclass(frozen=True)
class ExportOptions:
    """What is written of a network.

    Attributes:
        formats: some of `FORMATS`.
        fold: folds batch norm into the convolutions.
        size: height and width of the images that the files of `SIZED` take. When absent, those of
            LiteRT take `LITERT_SIZE` and the others any.
        half: stores the SavedModel's weights in float16; it computes in float32.
        quantize: one of `QUANTIZATIONS`, for one more LiteRT file that computes in integers.
        representative: folder of a data set whose training images give their ranges.
    """

    formats: Sequence[str] = (SAVED_MODEL,)
    fold: bool = True
    size: tuple[int, int] | None = None
    half: bool = False
    quantize: str | None = None
    representative: str | None = None

    def __post_init__(self) -> None:
        received = f"--format={','.join(self.formats)}"
        for old, new in _RENAMED.items():
            if old in self.formats:
                raise ServingError(
                    f"`--format={old}` is called `--format={new}` now; its files are the same. "
                    f"Received: {received}"
                )
        if not self.formats or not set(self.formats) <= set(FORMATS):
            raise ServingError(
                f"`--format` must list some of {', '.join(FORMATS)}. Received: {received}"
            )
        if self.half and SAVED_MODEL not in self.formats:
            raise ServingError(
                f"`--half` needs --format={SAVED_MODEL}. Received: --half {received}"
            )
        self._check_size(received)
        self._check_quantization(received)
        for name in self.formats:
            _check_packages(name)

    def _check_size(self, received: str) -> None:
        if self.size is None:
            return
        sides = self.size if isinstance(self.size, Sequence) else (self.size,)
        text = f"--size={'x'.join(map(str, sides))}"
        if len(sides) != 2 or min(sides) < 1:
            raise ServingError(
                "`--size` must be a height and a width in pixels, such as "
                f"{'x'.join(map(str, LITERT_SIZE))}. Received: {text}"
            )
        if not set(SIZED) & set(self.formats):
            raise ServingError(
                f"`--size` needs a --format of {', '.join(SIZED)}: the others take images of any "
                f"size. Received: {text} {received}"
            )

    def _check_quantization(self, received: str) -> None:
        if self.quantize is None:
            if self.representative is not None:
                raise ServingError(
                    f"`--representative` needs --quantize={INT8}. Received: "
                    f"--representative={self.representative}"
                )
            return
        text = f"--quantize={self.quantize}"
        if self.quantize not in QUANTIZATIONS:
            raise ServingError(
                f"`--quantize` must be one of {', '.join(QUANTIZATIONS)}. Received: {text}"
            )
        if LITERT not in self.formats:
            raise ServingError(f"`--quantize` needs --format={LITERT}. Received: {text} {received}")
        if not self.representative:
            raise ServingError(
                "`--quantize` needs --representative=DATA, the folder of a data set whose training "
                f"images give the ranges of the integers. Received: {text}"
            )


def _check_packages(name: str) -> None:
    """Refuses a format whose writer is not installed."""
    missing = [one for one in PACKAGES.get(name, ()) if importlib.util.find_spec(one) is None]
    if missing:
        raise ServingError(
            f"`--format={name}` needs packages that are not installed: {', '.join(missing)}. "
            "`pip install -r requirements-runtimes.txt`, or `pip install c3tf[runtimes]`, brings "
            "them."
        )
