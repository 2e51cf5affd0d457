r"""Draws masks from the files of annotation tools, for data_tools.folder to convert.

python -m data_tools.polygons --format=labelme --annotations=photos --images=photos \
    --label_map=classes.json --output=drawn
python -m data_tools.folder --images=photos --masks=drawn/masks --label_map=drawn/label_map.json \
    --val_fraction=0.1 --output=data/own

The output holds masks/, a PNG of ids under the name of each photo that was drawn on, and
label_map.json, which is --label_map with an id for pixels that belong to no class. docs/data.md
describes the label-map file and the formats.
"""

import collections
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from absl import flags

from c3tf import cli
from c3tf.errors import DataError
from c3tf.io import files, json_files, orientation, streams, writable
from c3tf.io.images import write_png
from c3tf.labels import LABEL_MAPS
from c3tf.progress import Progress
from data_tools.annotations import formats, shapes
from data_tools.annotations.images import Photos
from data_tools.annotations.shapes import AnnotationError, Drawing
from data_tools.conversion import label_map_file
from data_tools.conversion.label_map_file import LabelMapFile

FLAGS = flags.FLAGS
MASKS, LABEL_MAP = "masks", "label_map.json"
_IDS = 256
# Of Cityscapes' labels, those that are drawn and belong to no evaluated class.
_CITYSCAPES_OTHERS = (
    "unlabeled", "ego vehicle", "rectification border", "out of roi", "static", "dynamic",
    "ground", "parking", "rail track", "guard rail", "bridge", "tunnel", "polegroup", "caravan",
    "trailer",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Pen:
    """What is drawn for each label.

    Attributes:
        classes: the label map.
        ignored: labels that are drawn as belonging to no class.
        background: class of what nobody drew; empty for no class.
        skip_open: passes over shapes without an area, which are refused otherwise.
    """

    classes: LabelMapFile
    ignored: Sequence[str] = ()
    background: str = ""
    skip_open: bool = False

    def __post_init__(self) -> None:
        names = self.classes.label_map.class_names
        if self.background and self.background not in names:
            raise DataError(
                f"`--background` must be a class of the label map ({', '.join(names)}). "
                f"Received: --background={self.background}"
            )
        if both := sorted(set(self.ignored) & set(names)):
            raise DataError(f"`--ignored_labels` names {both[0]!r}, which is a class.")

    @property
    def no_class(self) -> int:
        """The id of pixels that belong to no class."""
        held = self.classes.label_map
        if held.ignored_raw_ids:
            return held.ignored_raw_ids[-1]
        return next(value for value in reversed(range(_IDS)) if value not in held.raw_ids)

    @property
    def values(self) -> dict[str, int]:
        """What is drawn, by label."""
        held = self.classes.label_map
        classes = dict(zip(held.class_names, held.raw_ids, strict=True))
        return {**dict.fromkeys(self.ignored, self.no_class), **classes}

    def draw(self, drawing: Drawing, size: tuple[int, int]) -> np.ndarray:
        """Draws the mask of a photo, `(H, W)` uint8 ids.

        Raises:
            AnnotationError: a label is no class, or a shape has no area.
        """
        values = self.values
        for shape in drawing.shapes:
            if shape.label not in values:
                raise AnnotationError(
                    f"{drawing.source}: {drawing.image!a} has a shape of {shape.label!a}, which is "
                    f"no class of the label map ({', '.join(self.classes.label_map.class_names)}). "
                    "Add it there, or to --ignored_labels."
                )
        if drawing.open_shapes and not self.skip_open:
            raise AnnotationError(
                f"{drawing.source}: {drawing.image!a} has {_listed(drawing.open_shapes)}, which "
                "cover no area. Say --skip_open to pass over such shapes."
            )
        background = values[self.background] if self.background else self.no_class
        return shapes.draw(drawing, size, values, background)


@dataclasses.dataclass(frozen=True)
class Drawn:
    """What came out.

    Attributes:
        masks: number of masks.
        pixels: `(256,)` number of pixels by id.
        shapes: number of shapes by label.
        open_shapes: number of shapes passed over, by kind.
        empty: photos that nothing was drawn on, though a file speaks of them.
        missing: names of photos that are not in the folder.
        without: number of photos that no file speaks of.
        beyond: the shapes that reach beyond their photos.
    """

    masks: int
    pixels: np.ndarray
    shapes: collections.Counter[str]
    open_shapes: collections.Counter[str]
    empty: Sequence[str]
    missing: Sequence[str]
    without: int
    beyond: Sequence[str]


def draw(kind: str, annotations: str, photos: Photos, pen: Pen, output: str) -> Drawn:
    """Draws the masks of all photos that annotations speak of, into a folder: whole, or none.

    Args:
        kind: one of `formats.FORMATS`.
        annotations: a file of that format, or a folder of such files.
        photos: what the annotations are of.
        pen: what is drawn for each label.
        output: folder to make.

    Raises:
        DataError: an annotation cannot be used, two are of one photo, or none is of any; the
            message names it.
        FileExistsError: `output` holds something.
    """
    drawings: dict[str, Drawing] = {}
    missing, empty, beyond = [], [], []
    for drawing in formats.read(kind, annotations):
        path = photos.of(drawing)
        if path is None:
            missing.append(drawing.image)
        elif path in drawings:
            raise AnnotationError(
                f"{drawing.source}: {path} was drawn on in {drawings[path].source} as well."
            )
        else:
            drawings[path] = drawing
    if not drawings:
        shown = f" The first that is missing is {missing[0]!a}." if missing else ""
        raise DataError(f"{annotations} speaks of no photo in the folder.{shown}")
    pixels, seen = np.zeros(_IDS, np.int64), collections.Counter()
    opened: collections.Counter[str] = collections.Counter()
    progress = Progress(len(drawings), "masks")
    with files.new_folder(output) as beside:
        for done, (path, drawing) in enumerate(drawings.items()):
            progress(done)
            size = photos.size(path, drawing)
            mask = pen.draw(drawing, size)
            outside = (shape.label for shape in drawing.shapes if shape.reaches_beyond(size))
            beyond += [f"{label} on {path}" for label in outside]
            opened += drawing.open_shapes
            if not drawing.shapes and not pen.background:
                empty.append(path)
                continue
            write_png(Path(beside, MASKS, PurePosixPath(path).with_suffix(".png")), mask)
            pixels += np.bincount(mask.ravel(), minlength=_IDS)
            seen.update(shape.label for shape in drawing.shapes)
        if len(empty) == len(drawings):
            raise DataError(f"{annotations}: nothing was drawn on any photo.")
        json_files.write(Path(beside, LABEL_MAP), _label_map(pen))
        progress(len(drawings))
    return Drawn(
        masks=len(drawings) - len(empty),
        pixels=pixels,
        shapes=seen,
        open_shapes=opened,
        empty=empty,
        missing=missing,
        without=len(photos.paths) - len(drawings),
        beyond=beyond,
    )


def _label_map(pen: Pen) -> dict:
    """Returns the label-map file of the masks."""
    held = pen.classes.label_map
    rows = zip(held.class_names, held.raw_ids, held.colors, strict=True)
    return {
        "name": held.name,
        "classes": [{"name": n, "id": i, "color": list(c)} for n, i, c in rows],
        "ignore": {"ids": sorted({*held.ignored_raw_ids, pen.no_class})},
    }


def _listed(counts: collections.Counter[str]) -> str:
    return ", ".join(f"{count} x {name}" for name, count in sorted(counts.items()))


def _describe(drawn: Drawn, pen: Pen, output: str) -> list[str]:
    lines = [f"{drawn.masks} masks in {os.path.join(output, MASKS)}"]
    total = drawn.pixels.sum()
    for label, value in pen.values.items():
        if label in pen.classes.label_map.class_names:
            share = 100 * drawn.pixels[value] / total
            lines.append(f"  {label}: {share:.2f}% of the pixels, {drawn.shapes[label]} shapes")
    lines.append(f"  no class: {100 * drawn.pixels[pen.no_class] / total:.2f}%")
    if drawn.open_shapes:
        lines.append(f"passed over: {_listed(drawn.open_shapes)}")
    for names, what in (
        (drawn.empty, "photos have no shape and get no mask"),
        (drawn.missing, "annotated photos are not in the folder"),
        (drawn.beyond, "shapes reach beyond their photos: were those of another size drawn on?"),
    ):
        if names:
            lines.append(f"{len(names)} {what} (such as {names[0]})")
    if drawn.without:
        lines.append(f"{drawn.without} photos have no annotation and stay unlabeled")
    return lines


def _classes(name: str) -> LabelMapFile:
    """Reads the label map, a file or one that c3tf knows by name."""
    if name in LABEL_MAPS:
        return LabelMapFile(LABEL_MAPS[name], ())
    return label_map_file.read(name)


def with_own(kind: str, ignored: Sequence[str], classes: LabelMapFile) -> list[str]:
    """Adds the labels that mean no class to a format, unless they are classes."""
    names = classes.label_map.class_names
    return [*ignored, *(name for name in formats.FORMATS[kind].ignored if name not in names)]


def main() -> None:
    """Draws what the flags name."""
    writable.check_folder(FLAGS.output, whole=True)
    if os.path.isdir(FLAGS.output) and os.listdir(FLAGS.output):
        raise DataError(
            f"{FLAGS.output} is not empty. Choose another --output, or delete the directory."
        )
    ignored = FLAGS.ignored_labels
    if not ignored and FLAGS.format == "cityscapes" and FLAGS.label_map == "cityscapes":
        ignored = _CITYSCAPES_OTHERS
    classes = _classes(FLAGS.label_map)
    ignored = with_own(FLAGS.format, ignored, classes)
    pen = Pen(classes, ignored, FLAGS.background, FLAGS.skip_open)
    photos = Photos(FLAGS.images, FLAGS.exif)
    drawn = draw(FLAGS.format, FLAGS.annotations, photos, pen, FLAGS.output)
    print("\n".join(map(streams.shown, _describe(drawn, pen, FLAGS.output))))


if __name__ == "__main__":
    flags.DEFINE_enum(
        "format", None, list(formats.FORMATS), "The annotation tool's format.", required=True
    )
    flags.DEFINE_string("annotations", None, "A file, or a folder of files.", required=True)
    flags.DEFINE_string("images", None, "Folder of the photos.", required=True)
    flags.DEFINE_string(
        "label_map",
        None,
        f"JSON file of the classes, or one of {', '.join(LABEL_MAPS)}.",
        required=True,
    )
    flags.DEFINE_string("output", None, "Folder to make.", required=True)
    flags.DEFINE_string("background", "", "Class of the pixels that nobody drew [none].")
    flags.DEFINE_list("ignored_labels", [], "Labels that belong to no class.")
    flags.DEFINE_bool("skip_open", False, "Pass over shapes without an area: points, lines, boxes.")
    flags.DEFINE_enum("exif", orientation.DEFAULT, orientation.RULES, orientation.HELP)
    cli.run(main)
