"""Which photos of a folder have labels already: those of a run's split, or those of a list."""

import collections
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from c3tf.config import Config, with_present_names
from c3tf.data import list_lines, manifest, names
from c3tf.errors import UserError
from c3tf.inference.image_files import Input
from c3tf.runs import setup

# Of `--labeled_list`: no photo is labeled yet.
NONE = "none"


class LabeledPhotos:
    """Images that have labels, as far as they are among photos.

    Attributes:
        lines: what lists name them by, all of them.
        found: those of the photos that are among them.
    """

    def __init__(self, lines: Sequence[str], found: set[Input]) -> None:
        """Stores both."""
        self.lines, self.found = tuple(lines), frozenset(found)


def of_run(config: dict[str, Any], split: str, photos: Sequence[Input]) -> LabeledPhotos:
    """Finds the photos that a run has learned from with their labels.

    Args:
        config: the run's configuration, as a checkpoint holds it.
        split: hash of its labeled split, as that holds it; empty where it does not.
        photos: where to look for them.

    Raises:
        UserError: the run's data set is not there any more, or is another one.
    """
    settings = Config.from_dict(with_present_names(config))
    try:
        described = manifest.load(settings.data.data)
        found = setup.open_split(described, settings)
        if split and found.hash != split:
            raise UserError(
                f"{settings.data.data} or the list of its split has changed since: its labeled "
                f"images have hash {found.hash}, the run's {split}"
            )
    except (UserError, OSError) as error:
        raise UserError(
            f"Which photos the run has labels of cannot be told: {str(error).rstrip('.')}. "
            f"`--labeled_list=FILE` names them, `--labeled_list={NONE}` says that there are none."
        ) from error
    suffix = str(described.options.get("image_suffix", ""))
    parser = list_lines.Parser(found.labeled, suffix)
    return LabeledPhotos(
        found.labeled, {one for one in photos if parser.of_path(one.path.as_posix())}
    )


def validating(config: dict[str, Any], photos: Sequence[Input]) -> frozenset[Input]:
    """Finds the photos that a run's data set keeps for validation: they have labels, too.

    Args:
        config: the run's configuration, as a checkpoint holds it.
        photos: where to look for them.

    Returns:
        Those that only the validation split names.

    Raises:
        UserError: the data set is not there any more, or cannot be read.
        OSError: it cannot be read.
    """
    described = manifest.load(Config.from_dict(with_present_names(config)).data.data)
    held = described.splits.get("val")
    if held is None or not held.count:
        return frozenset()
    own = set(described.names("val")) - set(described.names("train"))
    parser = list_lines.Parser(own, str(described.options.get("image_suffix", "")))
    return frozenset(one for one in photos if parser.of_path(one.path.as_posix()))


def of_list(path: str, photos: Sequence[Input]) -> LabeledPhotos:
    """Finds the photos that a list names: by name, path, or path and label in a line.

    Args:
        path: the list, or `NONE`.
        photos: where to look for them.

    Raises:
        UserError: the list is missing or no text, or a line names two photos.
    """
    if path == NONE:
        return LabeledPhotos((), set())
    lines = [line for line in list_lines.read(path) if line and not line.startswith("#")]
    by_name = {_record_name(photo): photo for photo in photos}
    # A bare name will do where only one folder has it.
    stems = collections.Counter(names.of_file(photo.name) for photo in photos)
    by_stem = {stem: photo for photo in photos if stems[stem := names.of_file(photo.name)] == 1}
    found = set()
    for known in (by_name, by_stem):
        parser = list_lines.Parser(known)
        try:
            found |= {known[name] for line in lines if (name := parser.name(line))}
        except ValueError as error:
            raise UserError(f"{path} has a line with several images: {error}.") from error
    return LabeledPhotos(lines, found)


def _record_name(photo: Input) -> str:
    parts = PurePosixPath(photo.name).parts
    return names.SEPARATOR.join([*parts[:-1], names.of_file(parts[-1])])
