"""The weights of the classes in the supervised loss: none, from pixel counts, or from a file."""

import numpy as np

from c3tf.config import Config, ConfigError
from c3tf.config.method import INVERSE_FREQUENCY, UNWEIGHTED
from c3tf.data.manifest import Manifest
from c3tf.io import files, json_files
from c3tf.labels import LabelMap

_TRAIN = "train"
# A larger factor on a pixel's loss leaves float32, at once or in Adam's squares.
MOST = 1e6


def of(config: Config, manifest: Manifest) -> np.ndarray | None:
    """Returns the weight of every class that `--class_weights` asks for.

    Args:
        config: the run's configuration.
        manifest: its data set.

    Returns:
        `(C,)` float64; None where all classes count the same.

    Raises:
        ConfigError: a class has no pixels to count, or the file does not fit the classes.
    """
    chosen = config.method.class_weights
    if chosen == UNWEIGHTED:
        return None
    if chosen == INVERSE_FREQUENCY:
        return _inverse_frequency(manifest)
    return _from_file(chosen, manifest.label_map)


def _inverse_frequency(manifest: Manifest) -> np.ndarray:
    """Weighs a class by 1 / its share of the training pixels, so that the mean over pixels is 1."""
    pixels = np.array(manifest.split(_TRAIN).class_pixels, np.float64)
    names = manifest.label_map.class_names
    if missing := [name for name, count in zip(names, pixels, strict=True) if not count]:
        raise ConfigError(
            f"`--class_weights={INVERSE_FREQUENCY}` must go with data in which every class has "
            f"pixels. Received: {manifest.data_dir}, whose training images have none of "
            f"{', '.join(missing)}. Give the weights in a file."
        )
    return pixels.sum() / (len(pixels) * pixels)


def _from_file(path: str, label_map: LabelMap) -> np.ndarray:
    """Reads a JSON object that holds a weight for every class by name."""
    if not files.exists(path):
        raise ConfigError(
            f"`--class_weights` must be {UNWEIGHTED}, {INVERSE_FREQUENCY} or a JSON file. "
            f"Received: --class_weights={path}, and there is no such file"
        )
    text = "`--class_weights` must name a JSON object of weights by class: {path}: {reason}."
    given = json_files.read(path, error=ConfigError, text=text)
    names = label_map.class_names
    reasons = [f"it lacks {name!r}" for name in names if name not in given]
    reasons += [f"{name!r} is no class of {label_map.name}" for name in given if name not in names]
    reasons += [
        f"{name!r} is {weight!r} and not a number from 0 to {MOST:.0f}"
        for name, weight in given.items()
        if not _is_weight(weight)
    ]
    if not reasons and not any(given.values()):
        reasons = ["all weights are 0"]
    if reasons:
        raise ConfigError(text.format(path=path, reason="; ".join(reasons)))
    return np.array([given[name] for name in names], np.float64)


def _is_weight(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= MOST
