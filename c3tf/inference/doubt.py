"""How sure a network is of every pixel: confidence, entropy, pseudo-labels; NumPy."""

import numpy as np

from c3tf.labels import IGNORE

_BYTE = np.iinfo(np.uint8).max


def entropy(probabilities: np.ndarray) -> np.ndarray:
    """Computes the entropy of every pixel's classes as a share of the largest there is.

    Args:
        probabilities: `(..., C)` softmax.

    Returns:
        `(...)` float32: 0 where one class has all, 1 where all have the same; 0 for one class.
    """
    p = np.asarray(probabilities, np.float32)
    classes = p.shape[-1]
    if classes == 1:
        return np.zeros(p.shape[:-1], np.float32)
    terms = p * np.log(np.where(p > 0, p, 1))
    # Rounding could leave it a little below 0.
    return np.clip(-terms.sum(-1) / np.log(classes, dtype=np.float32), 0, 1)


def confidence_bytes(probabilities: np.ndarray) -> np.ndarray:
    """Returns the largest probability `(..., C)` of every pixel as `(...)` uint8: 255 is 1."""
    return np.rint(np.asarray(probabilities).max(-1) * _BYTE).astype(np.uint8)


def pseudo_labels(
    probabilities: np.ndarray, class_map: np.ndarray, thresholds: np.ndarray
) -> np.ndarray:
    """Keeps the classes whose probability reaches their DCRS threshold, as training does.

    Args:
        probabilities: `(H, W, C)` softmax.
        class_map: `(H, W)` uint8, the class of the largest.
        thresholds: `(C,)` by predicted class.

    Returns:
        `(H, W)` uint8 train ids, `IGNORE` elsewhere.
    """
    reached = probabilities.max(-1) >= np.asarray(thresholds, probabilities.dtype)[class_map]
    return np.where(reached, class_map, np.uint8(IGNORE))
