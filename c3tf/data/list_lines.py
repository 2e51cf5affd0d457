"""The lines of text lists of images: the one parser of names, paths, and `image label` pairs."""

import codecs
import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

from c3tf.data import names
from c3tf.errors import DataError
from c3tf.io import files, schema

_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_QUOTED = re.compile(r"(?:^|(?<=\s))(?:\"([^\"]*)\"|'([^']*)')(?=\s|$)")
# How paths of images and masks end, in lists of any project.
_ENDS_PATH = re.compile(
    r"\.(jpe?g|jfif|jpe|png|bmp|gif|tiff?|webp|npy|mat|pgm|ppm)$", re.IGNORECASE
)
# What tables put between paths, and names may hold.
_BETWEEN = re.compile(r"[,;:|]")


def read(path: str) -> list[str]:
    """Reads the lines of a list, without spaces at their ends: UTF-8, or the UTF-16 of Windows.

    Raises:
        DataError: the file cannot be read, or is no text.
    """
    try:
        data = files.read_bytes(path)
    except OSError as error:
        raise DataError(f"The list {path} cannot be read: {error.strerror or error}.") from error
    encoding = "utf-16" if data.startswith(_WIDE) else "utf-8-sig"
    if encoding == "utf-8-sig" and b"\0" in data[:64]:
        encoding = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no text list: {error}. Save it as UTF-8 text.") from error
    return [line.strip() for line in text.splitlines()]


def is_line(name: str) -> bool:
    """Tells whether a list can name an image so: on one line that is read as it was written."""
    is_kept = name.splitlines() == [name.strip()] and "\t" not in name
    return is_kept and not name.startswith("#") and schema.is_text(name)


class Parser:
    """Finds the image that a line means, among those of a data set."""

    def __init__(self, known: Iterable[str], image_suffix: str = "") -> None:
        """Stores the names of all images, and what stems of their files have behind them."""
        self.known, self._suffix = frozenset(known), image_suffix
        self._in_folders = {
            name.rpartition(names.SEPARATOR)[2] for name in self.known if names.SEPARATOR in name
        }

    def name(self, line: str) -> str | None:
        """Returns the image that a line means, None if the data set does not hold it.

        A line is a name, a path, or a path and that of its label. Names may hold spaces; what has
        some may stand between quotes or tabs.

        Raises:
            ValueError: it names a second image; the message is that line with both names.
        """
        line = unicodedata.normalize("NFC", line)
        if line in self.known:
            return line
        fields = _fields(line)
        used: list[str] = []
        if len(fields) > 1:
            found, rest = self.of_path(fields[0]), fields[1:]
        else:
            found, used, rest = self._first(fields[0].split(" "))
        if found is None:
            return None
        # What stands before a path may be an image, or the begin of a folder with a space.
        words = set(_slashes(" ".join(used)).rpartition("/")[0].split()[:-1])
        joined = " ".join(rest)
        if any(map(_ENDS_PATH.search, rest[:-1])) or not self._is_of(joined, found):
            foreign = [text for text in rest if not self._is_of(text, found)]
            words |= {word for text in foreign for word in (text, *text.split())}
        words |= set(_separated(line))
        words |= {word.strip("\"'") for word in words}
        folder = PurePosixPath(_slashes(fields[0])).parent
        if PurePosixPath(_slashes(joined)).parent == folder:
            words.add(joined)
        named = (self.of_path(word) for word in words)
        if others := {name for name in named if name not in (None, found)}:
            raise ValueError(f"{line!r} names {found!r} and {min(map(str, others))!r}")
        return found

    def _first(self, words: list[str]) -> tuple[str | None, list[str], list[str]]:
        """Divides words into the path of the image, with its spaces, and what follows it."""
        ends = [place for place, word in enumerate(words, start=1) if _ENDS_PATH.search(word)]
        # What ends as an image does ends the path. Without such an end, the longest that is known.
        longest = ends[0] if ends else len(words)
        for end in range(longest, 0, -1):
            found = self.of_path(" ".join(words[:end]))
            if found is not None and (end == longest or _is_label(words[end:longest], found)):
                return found, words[:end], words[end:]
        return None, [], []

    def _is_of(self, path: str, name: str) -> bool:
        """Tells whether a path is of an image or, by what is behind its name, of its label."""
        stem, last = names.of_file(_slashes(path)), name.rpartition(names.SEPARATOR)[2]
        behind = stem.removeprefix(last)
        return self.of_path(path) == name or (behind != stem and behind[:1] not in ("", " "))

    def of_path(self, path: str) -> str | None:
        """Returns the image that a path means, by its name with as many folders as are known."""
        if path in self.known:
            return path
        place = PurePosixPath(_slashes(path))
        parts = place.parts
        if not parts:
            return None
        stem = names.of_stem(names.of_file(str(place)).removesuffix(self._suffix))
        for first in range(len(parts)):
            name = names.SEPARATOR.join([*parts[first:-1], stem])
            is_whole = first < len(parts) - 1 or len(parts) == 1 or stem not in self._in_folders
            if name in self.known and is_whole:
                return name
        return None


def _fields(line: str) -> list[str]:
    """Divides a line at its tabs and quotes; what is left may be divided at spaces."""
    if "\t" in line:
        return [field for part in line.split("\t") if (field := part.strip().strip("\"'"))] or [
            line
        ]
    quoted = [first or second for first, second in _QUOTED.findall(line)]
    if not quoted:
        return [line]
    rest = _QUOTED.sub(" ", line).split()
    return [line] if _QUOTED.match(line) is None else [*quoted, *rest]


def _is_label(words: list[str], name: str) -> bool:
    """Tells whether words behind a name may be its label, not the rest of another name.

    `a masks/0.png` and `a a_mask.png` are an image and its label, `a (1).jpg` is another image.
    """
    path = _slashes(" ".join(words))
    is_end = _ENDS_PATH.search(path) is not None
    return not is_end or "/" in path or name.rpartition(names.SEPARATOR)[2] in path


def _separated(line: str) -> list[str]:
    """Divides a line of several paths, such as one of a CSV file; nothing where it is of one."""
    parts = [part.strip(" \"'") for part in _BETWEEN.split(line)]
    return parts if any(map(_ENDS_PATH.search, parts[:-1])) else []


def _slashes(path: str) -> str:
    """Turns the backslashes of Windows."""
    return path.replace("\\", "/")
