r"""Lines of text on pictures, in letters that some font has.

Pillow brings one font, of Latin letters, and draws a box for every other. Where a text has others,
a font of the system is taken that has them all; where there is none, they are written as codes
(`\u9053`), which tell two classes apart as boxes do not.
"""

import functools

from PIL import ImageDraw, ImageFont

FONT_SIZE = 14

# Found by name in the folders of the system. Each has many scripts; the first that has all letters
# of a text is taken.
_FONTS = (
    "DejaVuSans.ttf",
    "NotoSansCJK-Regular.ttc",
    "NotoSans-Regular.ttf",
    "Arial Unicode.ttf",
    "ArialUnicode.ttf",
    "PingFang.ttc",
    "msyh.ttc",
    "YuGothM.ttc",
    "malgun.ttf",
    "wqy-zenhei.ttc",
    "DroidSansFallbackFull.ttf",
    "FreeSans.ttf",
)
# A letter that no font has: its picture is the box.
_NO_LETTER = "\U0010ffff"

_Font = ImageFont.FreeTypeFont | ImageFont.ImageFont


def width(text: str) -> int:
    """Returns how many pixels wide a text is written."""
    shown, font = _legible(text)
    return int(font.getlength(shown)) + 1


def write(
    draw: ImageDraw.ImageDraw,
    at: tuple[int, int],
    text: str,
    room: int,
    color: tuple[int, int, int],
) -> None:
    """Writes one line, cut to `room` pixels with an ellipsis."""
    shown, font = _legible(text)
    cut = shown
    while cut and font.getlength(cut + ("" if cut == shown else "...")) > room:
        cut = cut[:-1]
    draw.text(at, cut if cut == shown else cut + "...", fill=color, font=font)


@functools.cache
def _legible(text: str) -> tuple[str, _Font]:
    """Returns what is written for a text, and in which font."""
    own = ImageFont.load_default(size=FONT_SIZE)
    missing = _missing(own, text)
    if not missing:
        return text, own
    for name in _FONTS:
        font = _of_the_system(name)
        if font is not None and not _missing(font, text):
            return text, font
    codes = (c.encode("unicode_escape").decode() if c in missing else c for c in text)
    return "".join(codes), own


def _missing(font: _Font, text: str) -> set[str]:
    """Returns the letters of a text that a font draws as boxes."""
    if text.isascii():
        return set()
    box = _picture(font, _NO_LETTER)
    return {
        letter for letter in set(text) if not letter.isascii() and _picture(font, letter) == box
    }


def _picture(font: _Font, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)


@functools.cache
def _of_the_system(name: str) -> ImageFont.FreeTypeFont | None:
    try:
        return ImageFont.truetype(name, FONT_SIZE)
    except (OSError, ImportError):
        return None
