"""The flags of `Protocol`, for the commands that make class maps."""

from absl import flags

from c3tf.errors import UserError
from c3tf.inference.test_time import KINDS, WHOLE, Protocol


def define() -> None:
    """Defines the flags."""
    flags.DEFINE_enum("protocol", WHOLE, KINDS, "Images at once, or by overlapping windows.")
    flags.DEFINE_string("window", None, "Height x width of a window, such as 512x1024.")
    flags.DEFINE_float("overlap", None, "Share of a window that the next repeats, such as 0.5.")
    flags.DEFINE_bool("flip", False, "Average with the mirrored image.")
    flags.DEFINE_list("scales", ["1"], "Average over these sizes, such as 0.75,1,1.25.")


def read() -> Protocol:
    """Reads the flags.

    Raises:
        UserError: a value is out of range, or does not go with another.
    """
    values = flags.FLAGS
    return Protocol(
        kind=values.protocol,
        window=None if values.window is None else parse_size("window", values.window),
        overlap=values.overlap,
        flip=values.flip,
        scales=tuple(_number("scales", text) for text in values.scales),
    )


def parse_size(name: str, text: str) -> tuple[int, int]:
    """Reads `HEIGHTxWIDTH`.

    Raises:
        UserError: it is something else; the message names the flag `name`.
    """
    parts = text.lower().split("x")
    if len(parts) != 2 or not all(part.strip().isdecimal() for part in parts):
        raise UserError(
            f"`--{name}` must be height x width in pixels, such as 512x1024. "
            f"Received: --{name}={text}"
        )
    return int(parts[0]), int(parts[1])


def _number(name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise UserError(f"`--{name}` must be numbers. Received: {text!r}") from error
