"""Predicts the images of a folder, and draws what was predicted.

python -m c3tf.predict --model=exported/camvid --images=photos --output=predicted

For an image `street/a.jpg` the output folder gets, under the same relative name:
  ids/street/a.png      class of every pixel, 8-bit grey (train ids, or raw ids with --ids=raw)
  color/street/a.png    the same in the colours of the classes
  overlay/street/a.png  the colours over the image

Images are read as they are stored: a rotation noted in a photograph's metadata is not applied.
An image that cannot be read is reported and skipped; the exit code is then 1.
"""

import dataclasses
import glob
import itertools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import tensorflow as tf
from absl import flags

from c3tf import cli, loading
from c3tf.data import records
from c3tf.errors import UserError
from c3tf.evaluation import drawing, writers
from c3tf.inference import Predictor
from c3tf.labels import LabelMap
from c3tf.progress import Progress

KINDS = ("ids", "color", "overlay")
IDS = ("train", "raw")
_SUFFIXES = (".jpg", ".jpeg", ".png")
EXIT_SOME_SKIPPED = 1


@dataclasses.dataclass(frozen=True)
class Input:
    """An image file and the name, without suffix, that its outputs get."""

    path: Path
    name: str


@dataclasses.dataclass(frozen=True)
class Style:
    """What is written for an image.

    Attributes:
        label_map: the classes of the predictor.
        kinds: some of `KINDS`.
        raw_ids: writes the label map's raw ids in place of train ids.
        opacity: share of colour in overlays.
    """

    label_map: LabelMap
    kinds: Sequence[str] = KINDS
    raw_ids: bool = False
    opacity: float = 0.5

    def __post_init__(self) -> None:
        if not 0 <= self.opacity <= 1:
            raise UserError(f"`--opacity` must be 0 to 1. Received: {self.opacity}")


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string(
        "model", None, "Folder of a run, a checkpoint, or a SavedModel.", required=True
    )
    flags.DEFINE_string(
        "images",
        None,
        "A folder (searched with its subfolders for JPEG and PNG files), one file, or a quoted "
        "pattern such as 'frames/**/*.jpg'.",
        required=True,
    )
    flags.DEFINE_string("output", None, "Folder to write to.", required=True)
    flags.DEFINE_enum("weights", None, loading.WEIGHTS, "Which network of a checkpoint [student].")
    flags.DEFINE_multi_enum("kinds", list(KINDS), KINDS, "What to write.")
    flags.DEFINE_enum("ids", "train", IDS, "Which ids the ids files hold.")
    flags.DEFINE_float("opacity", 0.5, "Share of colour in overlays.", 0.0, 1.0)
    flags.DEFINE_bool("overwrite", False, "Replace files of an earlier prediction.")


def find_images(pattern: str, output: str | os.PathLike) -> list[Input]:
    """Finds the images that `--images` names, sorted by name.

    Args:
        pattern: a folder, a file or a glob pattern.
        output: the folder to write to; files that an earlier prediction wrote there are not
            taken for images when it lies inside the searched folder.

    Raises:
        UserError: nothing is found, or two images would get the same output name.
    """
    if os.path.isdir(pattern):
        root, paths = Path(pattern), _in_folder(Path(pattern), Path(output))
    elif os.path.isfile(pattern):
        root, paths = Path(pattern).parent, [Path(pattern)]
    else:
        root = _fixed_part(pattern)
        paths = [Path(path) for path in glob.glob(pattern, recursive=True)]
    inputs = sorted(
        (
            Input(path, path.relative_to(root).with_suffix("").as_posix())
            for path in paths
            if path.is_file()
        ),
        key=lambda item: (item.name, item.path),
    )
    if not inputs:
        raise UserError(
            f"No image found. `--images` must name a folder with {', '.join(_SUFFIXES)} files, "
            f"a file or a pattern. Received: --images={pattern}"
        )
    for one, other in itertools.pairwise(inputs):
        if one.name == other.name:
            raise UserError(
                f"{one.path} and {other.path} would both be written as {one.name}.png. "
                "Predict them into different folders."
            )
    return inputs


def predict_files(
    predict: Predictor,
    inputs: Sequence[Input],
    output: str | os.PathLike,
    style: Style,
    *,
    overwrite: bool = False,
    progress: Callable[[int], None] | None = None,
) -> dict[Path, str]:
    """Predicts images one by one and writes their files.

    Args:
        predict: computes class maps.
        inputs: the images.
        output: the folder to write to.
        style: what to write.
        overwrite: replaces existing files.
        progress: called after every image with the number of images so far.

    Returns:
        The images that could not be read, each with the reason.

    Raises:
        UserError: an output exists and may not be replaced; nothing was written.
    """
    output = Path(output)
    if not overwrite:
        _check_absent(_target(output, kind, item.name) for item in inputs for kind in style.kinds)
    skipped = {}
    for done, item in enumerate(inputs, start=1):
        try:
            image = records.decode_image(item.path.read_bytes())
        except OSError as error:
            skipped[item.path] = str(error)
        except tf.errors.InvalidArgumentError:
            skipped[item.path] = "not a readable JPEG or PNG"
        else:
            class_map = predict(image[tf.newaxis], tf.shape(image)[:2])[0]
            _write(output, item.name, image.numpy(), class_map.numpy(), style)
        if progress:
            progress(done)
    return skipped


def main() -> int:
    """Runs the command from its flags."""
    values = flags.FLAGS
    inputs = find_images(values.images, values.output)
    opened = loading.open_model(values.model, values.weights)
    style = Style(opened.label_map, values.kinds, values.ids == "raw", values.opacity)
    skipped = predict_files(
        opened.predict,
        inputs,
        values.output,
        style,
        overwrite=values.overwrite,
        progress=Progress(len(inputs), "images"),
    )
    for path, reason in skipped.items():
        print(f"skipped {path}: {reason}", file=sys.stderr)
    print(f"{len(inputs) - len(skipped)} of {len(inputs)} images predicted to {values.output}")
    return EXIT_SOME_SKIPPED if skipped else 0


def _in_folder(folder: Path, output: Path) -> Iterator[Path]:
    """Yields the image files below a folder, hidden files and earlier outputs left out."""
    written = [(output / kind).resolve() for kind in KINDS]
    for path in folder.rglob("*"):
        if path.suffix.lower() not in _SUFFIXES or path.name.startswith("."):
            continue
        if not any(path.resolve().is_relative_to(part) for part in written):
            yield path


def _fixed_part(pattern: str) -> Path:
    """Returns the leading folders of a glob pattern that hold no wildcard."""
    parts = Path(pattern).parts
    fixed = next((i for i, part in enumerate(parts) if glob.has_magic(part)), len(parts) - 1)
    return Path(*parts[:fixed])


def _target(output: Path, kind: str, name: str) -> Path:
    return output / kind / f"{name}.png"


def _check_absent(targets: Iterator[Path]) -> None:
    existing = [path for path in targets if path.exists()]
    if existing:
        raise UserError(
            f"{len(existing)} of the files to write exist, e.g. {existing[0]}. Give another "
            "--output, or add --overwrite."
        )


def _write(output: Path, name: str, image: np.ndarray, class_map: np.ndarray, style: Style) -> None:
    if "ids" in style.kinds:
        raw_ids_of = style.label_map if style.raw_ids else None
        writers.write_class_map(_target(output, "ids", name), class_map, raw_ids_of)
    if "color" in style.kinds:
        color = drawing.colorize(class_map, style.label_map)
        writers.write_png(_target(output, "color", name), color)
    if "overlay" in style.kinds:
        blended = drawing.overlay(image, class_map, style.label_map, style.opacity)
        writers.write_png(_target(output, "overlay", name), blended)


if __name__ == "__main__":
    define_flags()
    cli.run(main)
