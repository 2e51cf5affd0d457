"""The photos that annotations are of: found by name, with the size that they are drawn at."""

import collections
import unicodedata
from collections.abc import Sequence
from pathlib import PurePosixPath

from c3tf.data import names as record_names
from c3tf.errors import DataError
from c3tf.io import decoding, files, image_bytes, orientation
from c3tf.io.image_bytes import ImageBytesError
from c3tf.io.names import IMAGE_EXTENSIONS
from data_tools.annotations.shapes import AnnotationError, Drawing
from data_tools.conversion import listing
from data_tools.conversion.images import TurnedError
from data_tools.conversion.listing import Naming


class Photos:
    """A folder of photos, searched once."""

    def __init__(self, folder: str, exif: str) -> None:
        """Lists the photos.

        Args:
            folder: subfolders are searched too.
            exif: what becomes of rotations that a camera notes, one of `orientation.RULES`.

        Raises:
            DataError: there are none.
        """
        root, _, last = files.absolute(folder).rstrip("/").rpartition("/")
        found = listing.find_images(root or "/", last, naming=Naming(with_folders=True))
        self._folder, self._exif = folder, exif
        self.paths = sorted(path.removeprefix(f"{last}/") for path in found.named.values())
        self._ends: dict[tuple[str, ...], list[str]] = collections.defaultdict(list)
        self._whole: dict[tuple[str, ...], str] = {}
        for path in self.paths:
            for end in _ends(path):
                self._ends[end].append(path)
            self._whole[end] = path

    def of(self, drawing: Drawing) -> str | None:
        """Finds the photo of a drawing by the first of its names that there is one of.

        Raises:
            AnnotationError: several photos have that name, and none lies where it should.
        """
        try:
            names = (drawing.image, *drawing.other_names)
            return next((path for name in names if (path := self.find(name)) is not None), None)
        except AnnotationError:
            if drawing.beside and (path := self._at(drawing.beside)) is not None:
                return path
            raise

    def find(self, name: str) -> str | None:
        """Finds the photo that an annotation names: one of both paths ends in the other.

        Args:
            name: a path or a file name; how it ends (.jpg), or whether, does not matter.

        Returns:
            The path below the folder; None where there is none.

        Raises:
            AnnotationError: several photos have that name.
        """
        place = name.replace("\\", "/")
        # `v1.front` is the photo of that name, or one of `v1`.
        spelled = [place] if place.lower().endswith(IMAGE_EXTENSIONS) else [f"{place}.jpg", place]
        return next((path for one in spelled if (path := self._named(one)) is not None), None)

    def _named(self, name: str) -> str | None:
        """Finds a photo, see `find`, by a path whose ending is left out."""
        *shorter, whole = _ends(name)
        matching = self._ends.get(whole, [])
        if len(matching) > 1:
            raise AnnotationError(
                f"{self._folder}: {' and '.join(matching[:2])} may both be {name!a}."
            )
        if matching:
            return matching[0]
        # The annotation may name folders above the photos'.
        return next((self._whole[end] for end in reversed(shorter) if end in self._whole), None)

    def _at(self, place: str) -> str | None:
        """Finds the photo at an absolute path, or one that shares folders with it."""
        root = f"{files.absolute(self._folder).rstrip('/')}/"
        if place.startswith(root):
            return self._whole.get(_ends(place.removeprefix(root))[-1])
        # By its name alone it would be another one.
        shared = (self._whole[end] for end in reversed(_ends(place)[1:]) if end in self._whole)
        return next(shared, None)

    def size(self, path: str, drawing: Drawing) -> tuple[int, int]:
        """Returns height and width of a mask for a photo.

        Raises:
            DataError: the photo cannot be read, notes a rotation that is refused, or is of another
                size than the one that was drawn on.
        """
        whole = files.join(self._folder, path)
        try:
            encoded = decoding.read(whole)
            header = image_bytes.check(encoded)
            turned = orientation.of(decoding.opened(encoded), header)
        except (OSError, ImageBytesError) as error:
            raise DataError(f"{whole} {error}.") from error
        if orientation.is_turned(turned) and self._exif == "refuse":
            raise TurnedError(f"{whole} {orientation.refusal(turned)}.")
        size = header.height, header.width
        if self._exif == "apply" and orientation.swaps_sides(turned):
            size = size[::-1]
        if drawing.size not in (None, size):
            raise AnnotationError(
                f"{drawing.source}: {drawing.image!a} was drawn on as {drawing.size[1]} x "
                f"{drawing.size[0]} pixels, and {whole} has {size[1]} x {size[0]}."
            )
        return size


def _ends(path: str) -> Sequence[tuple[str, ...]]:
    """Returns the last part of a path without its ending, the last two, and so on."""
    normal = PurePosixPath(unicodedata.normalize("NFC", path))
    parts = (*normal.parts[:-1], record_names.stem(normal.name))
    return [parts[-count:] for count in range(1, len(parts) + 1)]
