"""The image files to predict, and the names that their outputs get."""

import dataclasses
import functools
import glob
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from c3tf.data import list_lines
from c3tf.errors import UserError
from c3tf.io import names as file_names
from c3tf.io import predicted

SUFFIXES = file_names.IMAGE_EXTENSIONS
# The longest ending of a file that is written of an image, in place of its own.
_LONGEST_ENDING = 5
# What a user may take for an image and this program does not read.
_OTHER_IMAGES = (".avif", ".bmp", ".gif", ".heic", ".ppm", ".tif", ".tiff", ".webp")
_LIST = ".txt"
_ONLY = f"only JPEG and PNG files ({', '.join(SUFFIXES)}) are read"


@dataclasses.dataclass(frozen=True)
class Input:
    """An image file and the name, without suffix, that its outputs get."""

    path: Path
    name: str


@dataclasses.dataclass(frozen=True)
class FoundImages:
    """The images that a search has found.

    Attributes:
        inputs: the images, sorted by name.
        left_out: files that cannot be predicted, with the reason.
    """

    inputs: list[Input]
    left_out: dict[Path, str]


def find_images(pattern: str, exclude: Iterable[str | os.PathLike] = ()) -> FoundImages:
    """Finds the images that `--images` names.

    Args:
        pattern: a folder, which is searched with its subfolders, a file, a glob pattern, or a
            list: a text file (`.txt`) with the path of an image on each line, from its own folder.
            Outputs of a list are named by the paths below that folder or, where not all lie there,
            below the folder that they share.
        exclude: folders that a search does not enter; nor does it enter what was predicted.

    Raises:
        UserError: there is no image, or two images would get the same output name.
    """
    if os.path.isdir(pattern):
        root = Path(pattern)
        paths = _in_folder(root, {os.path.realpath(folder) for folder in exclude})
    elif pattern.lower().endswith(_LIST) and os.path.isfile(pattern):
        paths = _listed(pattern)
        root = _shared_folder(paths, Path(os.path.abspath(pattern)).parent)
    elif os.path.isfile(pattern):
        return FoundImages([Input(Path(pattern), Path(pattern).stem)], {})
    else:
        root = _fixed_part(pattern)
        paths = _matching(pattern, root)
    inputs, left_out = [], {}
    # A recursive pattern names a file once for every way to it.
    for path in sorted(set(paths)):
        if reason := _reason_against(path):
            left_out[path] = reason
        else:
            inputs.append(Input(path, _name(path.relative_to(root))))
    inputs.sort(key=lambda item: (item.name, item.path))
    if not inputs:
        others = f" ({len(left_out)} other files were found)" if left_out else ""
        raise UserError(
            f"No image found{others}. `--images` must name a folder with "
            f"{', '.join(SUFFIXES)} files, a file, a pattern or a list ({_LIST}). "
            f"Received: --images={pattern}"
        )
    _check_names(inputs)
    return FoundImages(inputs, left_out)


def _reason_against(path: Path) -> str | None:
    if not file_names.may_be_image(str(path)):
        return _ONLY
    if not os.path.exists(path):
        is_link = os.path.islink(path)
        return "a link to a file that does not exist" if is_link else "there is no such file"
    if len(os.fsencode(Path(_name(path)).name)) > file_names.LONGEST - _LONGEST_ENDING:
        return "its name is too long for those of its results"
    return None if path.is_file() else "no regular file"


def _name(path: Path) -> str:
    """Returns a path without the ending that says an image."""
    known = path.suffix.lower() in SUFFIXES
    return (path.with_suffix("") if known else path).as_posix()


def _in_folder(folder: Path, exclude: set[str]) -> Iterator[Path]:
    """Yields the files below a folder that look like images, but hidden and predicted ones."""
    # Folders that are links are searched as the converters search them.
    for parent, folders, names in os.walk(folder, followlinks=True):
        above = Path(os.path.realpath(parent))
        results = predicted.folders(parent) if predicted.RECORD_FILE in names else frozenset()
        inner = {name: Path(os.path.realpath(above / name)) for name in folders}
        folders[:] = [
            name
            for name, path in inner.items()
            if not file_names.is_systems(name)
            and name not in results
            and str(path) not in exclude
            and not above.is_relative_to(path)
        ]
        for name in names:
            if file_names.is_systems(name):
                continue
            path = Path(parent, name)
            if name.lower().endswith(_OTHER_IMAGES) or file_names.may_be_image(str(path)):
                yield path


def _matching(pattern: str, root: Path) -> Iterator[Path]:
    """Yields the files that fit a pattern, but those that a wildcard finds among predictions."""
    results = functools.cache(predicted.folders)
    for match in glob.iglob(pattern, recursive=True):
        path = Path(match)
        above = [root / folder for folder in path.relative_to(root).parents[:-1]]
        if not path.is_dir() and all(folder.name not in results(folder.parent) for folder in above):
            yield path


def _listed(path: str) -> list[Path]:
    """Reads the absolute paths that a list names."""
    folder = os.path.abspath(os.path.dirname(path))
    lines = filter(None, list_lines.read(path))
    return [Path(os.path.normpath(os.path.join(folder, line))) for line in lines]


def _shared_folder(paths: list[Path], folder: Path) -> Path:
    """Returns a folder if all absolute paths lie below it, else the deepest that they share."""
    if all(path.is_relative_to(folder) for path in paths):
        return folder
    return Path(os.path.commonpath([path.parent for path in paths]))


def _fixed_part(pattern: str) -> Path:
    """Returns the leading folders of a glob pattern that hold no wildcard."""
    parts = Path(pattern).parts
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return Path(*parts[:fixed])


def _check_names(inputs: list[Input]) -> None:
    for one, other in itertools.pairwise(inputs):
        if one.name == other.name:
            raise UserError(
                f"{one.path} and {other.path} would both be written as {one.name}.png. "
                "Predict them into different folders."
            )
