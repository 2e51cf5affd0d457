"""The names of records, made from the paths of image files."""

import unicodedata
from pathlib import PurePosixPath

# Joins the folders of a name to it, where these belong to the name.
SEPARATOR = "__"
# What data sets append to the name of an image in its file name.
_IMAGE_SUFFIXES = ("_leftImg8bit",)
# Kinds of characters that no line of a list holds: control, halves of one, ends of lines. Spaces of
# all kinds and marks that join letters are in names that cameras, desktops and people give.
_UNUSABLE = ("Cc", "Cs", "Zl", "Zp")


def is_usable(name: str) -> bool:
    """Tells whether a file's name can name a record: it is text, on one line."""
    return name.isprintable() or not any(unicodedata.category(c) in _UNUSABLE for c in name)


def stem(path: str) -> str:
    """Returns the name of a file without its ending.

    A number behind a point is none: `frame_1.5` is not `frame_1`.
    """
    place = PurePosixPath(path)
    return place.name if place.suffix[1:].isdecimal() else place.stem


def of_file(path: str) -> str:
    """Returns the name of the record an image file becomes: its stem without data-set suffixes.

    `leftImg8bit/train/aachen/aachen_000000_000019_leftImg8bit.png` gives
    `aachen_000000_000019`; BDD100K and CamVid files give their plain stem.
    """
    return of_stem(stem(path))


def of_stem(stem: str) -> str:
    """Returns the name of the record that an image file of this stem becomes, see `of_file`."""
    # Archives from different systems spell the same accented name in two ways.
    stem = unicodedata.normalize("NFC", stem)
    for suffix in _IMAGE_SUFFIXES:
        stem = stem.removesuffix(suffix)
    return stem
