"""The flags of `InferenceOptions`, for the commands that make class maps."""

from absl import flags

from c3tf.config import parse_size
from c3tf.errors import UserError
from c3tf.inference.options import MODES, WHOLE, InferenceOptions


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_enum("inference", WHOLE, MODES, "Images at once, or by overlapping windows.")
    flags.DEFINE_string("window", None, "Height x width of a window, such as 512x1024.")
    flags.DEFINE_float("overlap", None, "Share of a window that the next repeats, such as 0.5.")
    flags.DEFINE_bool("tta_flip", False, "Test-time augmentation: average with the mirrored image.")
    flags.DEFINE_list(
        "tta_scales",
        ["1"],
        "Test-time augmentation: average over these sizes, such as 0.75,1,1.25.",
    )


def read() -> InferenceOptions:
    """Reads the flags.

    Raises:
        UserError: a value is out of range, or does not go with another.
    """
    values = flags.FLAGS
    return InferenceOptions(
        mode=values.inference,
        window=None if values.window is None else parse_size("window", values.window),
        overlap=values.overlap,
        tta_flip=values.tta_flip,
        tta_scales=tuple(_number("tta_scales", text) for text in values.tta_scales),
    )


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UserError(f"`--{name}` must be numbers. Received: {text!r}") from error
