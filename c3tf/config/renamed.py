"""Names that flags had in earlier versions, and what they are called now."""

from collections.abc import Container

# Some old names are flags of other commands still: `--flip` and `--scales` of c3tf.train. A name
# is looked up only where it is unknown.
RENAMED = {
    "backbone_rate": "backbone_lr_multiplier",
    "flip": "tta_flip",
    "learning_rate_power": "poly_power",
    "protocol": "inference",
    "run": "model",
    "scales": "tta_scales",
    "split": "labeled_list",
    "tflite_size": "size",
}


def new_name(name: str, known: Container[str]) -> str | None:
    """Returns what a flag is called now, or None.

    Args:
        name: an unknown flag, perhaps with the `no` that switches it off.
        known: the flags that there are; an old name of other flags means nothing.
    """
    for prefix in ("", "no"):
        new = RENAMED.get(name.removeprefix(prefix)) if name.startswith(prefix) else None
        if new is not None and new in known:
            return prefix + new
    return None
