"""Run-length codes of masks: COCO's, as lists and as text, and that of Label Studio's brush."""

import numpy as np

from data_tools.annotations.shapes import AnnotationError

# COCO's text holds five bits of a number in each character, from this one on.
_FIRST, _BITS, _MORE, _SIGN = ord("0"), 5, 0x20, 0x10
_LARGEST = 2**31


def pixels_of_counts(counts: list[int], height: int, width: int, where: str) -> np.ndarray:
    """Decodes lengths of runs, columns first as COCO has them, beginning with pixels outside.

    Returns:
        `(height, width)` bool.

    Raises:
        AnnotationError: they are not as many pixels as the image has.
    """
    return _pixels(counts, height * width, where).reshape(width, height).T


def pixels_of_rows(counts: list[int], height: int, width: int, where: str) -> np.ndarray:
    """Decodes lengths of runs, rows first as CVAT has them, see `pixels_of_counts`."""
    return _pixels(counts, height * width, where).reshape(height, width)


def counts_of_text(text: str, where: str) -> list[int]:
    """Decodes COCO's compressed text into lengths of runs.

    A number is in little-endian groups of five bits with its sign in the last; from the third on
    it is the difference to the number before the last.

    Raises:
        AnnotationError: it is no such text.
    """
    counts: list[int] = []
    value = shift = 0
    for character in text:
        code = ord(character) - _FIRST
        if not 0 <= code < 2 * _MORE or shift > 30:
            raise AnnotationError(f"{where}: {text!a:.40} is no run-length code.")
        value |= (code & (_MORE - 1)) << shift
        shift += _BITS
        if code & _MORE:
            continue
        if code & _SIGN:
            value -= 1 << shift
        counts.append(value + (counts[-2] if len(counts) > 2 else 0))
        value = shift = 0
    if shift:
        raise AnnotationError(f"{where}: a run-length code ends within a number.")
    return counts


def pixels_of_brush(code: list[int], height: int, width: int, where: str) -> np.ndarray:
    """Decodes the bytes of Label Studio's brush: four values a pixel, of which the last is kept.

    They are a stream of bits: 32 for the number of values, 5 for the bits of a value, four times
    4 for the bits of a run's length, each less one; then runs of one bit (whether the values are
    equal), two (which of the four lengths), the length less one, and one value or so many.

    Returns:
        `(height, width)` bool, True where the last value is not 0.

    Raises:
        AnnotationError: it is no such code, or of another image size.
    """
    try:
        bits = "".join(f"{byte:08b}" for byte in bytes(code))
    except ValueError as error:
        raise AnnotationError(f"{where}: a brush's code must be bytes: {error}.") from error
    place = 0

    def take(count: int) -> int:
        nonlocal place
        if place + count > len(bits):
            raise AnnotationError(f"{where}: a brush's code ends too early.")
        place += count
        return int(bits[place - count : place], 2)

    total, word = take(32), take(5) + 1
    lengths = [take(4) + 1 for _ in range(4)]
    if total != height * width * 4:
        raise AnnotationError(
            f"{where}: a brush's code holds {total} values, and {width} x {height} pixels have "
            f"{height * width * 4}."
        )
    values = np.zeros(total, np.uint32)
    filled = 0
    while filled < total:
        equal, length = take(1), take(lengths[take(2)]) + 1
        end = filled + length
        if end > total:
            raise AnnotationError(f"{where}: a brush's code holds more than its {total} values.")
        values[filled:end] = take(word) if equal else [take(word) for _ in range(length)]
        filled = end
    return values[3::4].reshape(height, width) > 0


def _pixels(counts: list[int], pixels: int, where: str) -> np.ndarray:
    if any(not 0 <= count < _LARGEST for count in counts) or sum(counts) != pixels:
        raise AnnotationError(
            f"{where}: a run-length code is of {sum(counts)} pixels, and the image has {pixels}."
        )
    inside = np.arange(len(counts)) % 2 == 1
    return np.repeat(inside, counts)
