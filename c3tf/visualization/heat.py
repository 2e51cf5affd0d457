"""Heat maps over photographs: dark where a value is 0, bright where it is 1."""

import numpy as np

# Colours at evenly spaced values: their brightness rises all the way, also in print.
_STOPS = np.array(
    [(0, 0, 10), (85, 15, 110), (185, 55, 85), (250, 140, 10), (252, 255, 165)], np.float64
)


def heat(values: np.ndarray) -> np.ndarray:
    """Paints values as colours.

    Args:
        values: `(..., H, W)`, 0 to 1; what lies outside is taken as the nearer end.

    Returns:
        `(..., H, W, 3)` uint8 RGB.
    """
    values = np.asarray(values)
    places = np.linspace(0, 1, len(_STOPS))
    channels = [np.interp(values, places, _STOPS[:, channel]) for channel in range(3)]
    return np.rint(np.stack(channels, axis=-1)).astype(np.uint8)


def heat_over(image: np.ndarray, values: np.ndarray, opacity: float = 0.5) -> np.ndarray:
    """Blends the colours of values over their image.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        values: `(H, W)`, 0 to 1.
        opacity: share of the colour, 0 (only the image) to 1 (only the colour).

    Returns:
        `(H, W, 3)` uint8 RGB.

    Raises:
        ValueError: `opacity` is out of range, or the sizes differ.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"`opacity` must be within [0, 1]. Received: opacity={opacity}")
    color = heat(values)
    if image.shape != color.shape:
        raise ValueError(
            "`image` and `values` must have one size. "
            f"Received: image {image.shape}, values {np.shape(values)}"
        )
    return np.rint(image * (1 - opacity) + color * opacity).astype(np.uint8)
