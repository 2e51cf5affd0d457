"""Images whose metadata (EXIF) note a rotation: how many there are, and what their masks tell."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from c3tf.io import decoding, files, image_bytes, orientation
from c3tf.io.image_bytes import ImageBytesError
from data_tools.conversion.example import SourcePair

_THREADS = 8
_SHOWN = 3


def survey(pairs: Sequence[SourcePair]) -> str:
    """Says how many images note a rotation, and which picture the sizes of their masks fit.

    Args:
        pairs: the images; those of remote file systems are not looked at.
    """
    local = [pair for pair in pairs if not files.is_remote(pair.image)]
    with ThreadPoolExecutor(_THREADS) as executor:
        found = [kind for kind in executor.map(_look, local) if kind]
    names = [name for name, _ in found]
    upright, stored = ([tells for _, tells in found].count(kind) for kind in ("apply", "ignore"))
    shown = ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")
    text = f"In all, {len(names)} of {len(pairs)} images note one: {shown}."
    if upright or stored:
        text += (
            f" The sides of their masks tell: {upright} fit the upright picture (--exif=apply), "
            f"{stored} the stored one (--exif=ignore)."
        )
    return text


def _look(pair: SourcePair) -> tuple[str, str] | None:
    """Returns which image this is and the rule that its mask's sides tell, if it is turned."""
    try:
        encoded = decoding.read(pair.image)
        header = image_bytes.check(encoded)
        image = decoding.opened(encoded)
        noted = orientation.of(image, header)
        if not orientation.is_turned(noted):
            return None
        size = pair.label and decoding.opened(decoding.read(pair.label)).size
    except (ImageBytesError, OSError):
        return None
    swaps = orientation.swaps_sides(noted) and image.width != image.height
    if not swaps or size not in (image.size, image.size[::-1]):
        return pair.source, ""
    return pair.source, "ignore" if size == image.size else "apply"
