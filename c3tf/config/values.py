"""Values that flags write as text: sizes, durations, and a number of labeled images."""

from c3tf.config.option import ConfigError

# The number of labeled images that keeps every label.
ALL = "all"


def parse_size(flag: str, text: str) -> tuple[int, int]:
    """Reads `HEIGHTxWIDTH` in pixels.

    Raises:
        ConfigError: it is something else; the message names the flag.
    """
    parts = text.lower().split("x")
    numbers = [int(part) for part in parts if part.strip().isdecimal()]
    if len(parts) != 2 or len(numbers) != 2 or min(numbers) < 1:
        raise ConfigError(
            f"`--{flag}` must be height x width in pixels, such as 512x1024. "
            f"Received: --{flag}={text}"
        )
    return numbers[0], numbers[1]


def parse_labeled(text: str, total: int | None = None) -> int:
    """Reads how many of `total` images keep their labels: a positive count, or `all`.

    Args:
        text: what `--labeled` is.
        total: training images; None before the data set is known, when `all` are 0.

    Raises:
        ConfigError: it is neither, or more than there are.
    """
    if text == ALL:
        return total or 0
    if not text.isdecimal() or int(text) == 0:
        raise ConfigError(
            f"`--labeled` must be a positive count or `{ALL}`. Received: --labeled={text}"
        )
    if total is not None and int(text) > total:
        raise ConfigError(
            f"`--labeled` must be at most {total}, the number of training images, or `{ALL}`. "
            f"Received: --labeled={text}"
        )
    return int(text)


def parse_steps(flag: str, text: str, total: int) -> int:
    """Reads a duration: a number of steps, or a share of the run's `total` such as `10%`.

    Raises:
        ConfigError: it is neither; the message names the flag.
    """
    try:
        if not text.endswith("%"):
            return int(text)
        share = float(text[:-1])
        if 0 <= share <= 100:
            return round(share * total / 100)
    except ValueError:
        pass
    raise ConfigError(
        f"`--{flag}` must be a number of steps, or a share of --steps from 0% to 100%. "
        f"Received: --{flag}={text}"
    )
