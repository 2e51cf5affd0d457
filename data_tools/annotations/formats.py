"""The annotation formats by the names of `--format`, and the files of each."""

import dataclasses
import os
from collections.abc import Callable, Iterator

from c3tf.errors import DataError
from c3tf.io import files
from data_tools.annotations import (
    cityscapes,
    coco,
    cvat,
    label_studio,
    labelme,
    supervisely,
)
from data_tools.annotations.shapes import Drawing


@dataclasses.dataclass(frozen=True)
class Format:
    """How an annotation tool stores what was drawn.

    Attributes:
        read: gives the drawings of a file.
        ending: of the names of its files.
        title: what people call it.
        others: names of files beside them that are none.
        ignored: labels by which the tool means that a pixel belongs to no class.
    """

    read: Callable[[str], Iterator[Drawing]]
    ending: str
    title: str
    others: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


FORMATS = {
    "cityscapes": Format(cityscapes.read, "_polygons.json", "Cityscapes' *_polygons.json"),
    "coco": Format(coco.read, ".json", "COCO instances or stuff"),
    "cvat": Format(cvat.read, ".xml", "CVAT for images 1.1"),
    "label_studio": Format(label_studio.read, ".json", "Label Studio JSON"),
    "labelme": Format(labelme.read, ".json", "labelme", ignored=("__ignore__",)),
    "supervisely": Format(supervisely.read, ".json", "Supervisely", supervisely.PROJECT_FILES),
}


def read(kind: str, path: str) -> Iterator[Drawing]:
    """Reads all drawings of a file, or of the files below a folder in the order of their names.

    Args:
        kind: one of `FORMATS`.
        path: the file or folder.

    Raises:
        DataError: there is nothing of that kind, or a file is something else.
    """
    chosen = FORMATS[kind]
    if not files.is_dir(path):
        yield from chosen.read(path)
        return
    found = [
        name
        for name in _below(path)
        if name.endswith(chosen.ending) and os.path.basename(name) not in chosen.others
    ]
    if not found:
        raise DataError(f"{path} holds no {chosen.title} file (*{chosen.ending}).")
    for name in found:
        yield from chosen.read(name)


def _below(folder: str) -> Iterator[str]:
    for name in files.list_dir(folder):
        path = files.join(folder, name)
        if files.is_dir(path):
            yield from _below(path)
        else:
            yield path
