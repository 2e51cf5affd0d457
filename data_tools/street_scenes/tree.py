"""The BDD100K-shaped tree of scenes, written complete or not at all."""

import dataclasses
import functools
import json
import os
import pathlib
from typing import Any

from PIL import Image

from c3tf.errors import DataError
from c3tf.io import files, leftovers
from data_tools.conversion import workers
from data_tools.street_scenes.render import STREAMS, render

IMAGES = pathlib.PurePosixPath("images", "10k")
LABELS = pathlib.PurePosixPath("labels", "sem_seg", "masks")
LABELED_LIST = pathlib.PurePosixPath("splits", "labeled.txt")
DESCRIPTION = "scenes.json"
# Format of `DESCRIPTION`; also changes when the same seed gives other pictures.
VERSION = 1
_JPEG_QUALITY = 92
_SMALLEST_SIDE = 32


class TreeError(DataError):
    """The tree cannot be written as asked."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to generate.

    Attributes:
        num_labeled: training images that `LABELED_LIST` names; mild conditions.
        num_unlabeled: further training images; the full variety. Their labels are written, too.
        num_val: validation images; the full variety.
        width: pixels.
        height: pixels.
        seed: seed of the whole set, not negative.
    """

    num_labeled: int = 12
    num_unlabeled: int = 240
    num_val: int = 60
    width: int = 256
    height: int = 128
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("num_labeled", "num_unlabeled", "num_val", "seed"):
            if getattr(self, name) < 0:
                raise TreeError(
                    f"`{name}` must not be negative. Received: {name}={getattr(self, name)}"
                )
        if self.num_labeled < 1:
            raise TreeError(f"`num_labeled` must be 1 or more. Received: {self.num_labeled}")
        for name in ("width", "height"):
            if getattr(self, name) < _SMALLEST_SIDE:
                raise TreeError(
                    f"`{name}` must be {_SMALLEST_SIDE} or more. "
                    f"Received: {name}={getattr(self, name)}"
                )

    def scenes(self) -> list[tuple[str, int]]:
        """Returns (stream, index) of every scene."""
        counts = (self.num_labeled, self.num_unlabeled, self.num_val)
        return [(s, i) for s, n in zip(STREAMS, counts, strict=True) for i in range(n)]


def record_name(stream: str, index: int) -> str:
    """Returns the file stem of a scene."""
    return f"{stream}-{index:05d}"


def write_tree(output: str | os.PathLike, plan: Plan, num_workers: int = 1) -> pathlib.Path:
    """Generates a data set: `images/10k/`, `labels/sem_seg/masks/`, `splits/labeled.txt`.

    The bytes depend on `plan` alone, not on the number of workers. The tree is written beside
    `output` and renamed when it is whole.

    Args:
        output: directory that does not exist, or is empty.
        plan: what to generate.
        num_workers: processes that draw; 0 uses all cores.

    Returns:
        The path of the tree.

    Raises:
        TreeError: `output` exists and is not an empty directory, or cannot be written.
    """
    output = pathlib.Path(output)
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise TreeError(
            f"`output` must not exist or be an empty directory; nothing is overwritten. Choose "
            f"another one or remove it. Received: output={str(output)!r}"
        )
    if not leftovers.clear(output):
        raise TreeError(f"Another process is making `output` {str(output)!r}. Wait for it.")
    try:
        with files.new_folder(output) as beside:
            _write(pathlib.Path(beside), plan, num_workers)
    except OSError as error:
        raise TreeError(f"Cannot write `output` {str(output)!r}: {error}") from error
    return output


def _write(root: pathlib.Path, plan: Plan, num_workers: int) -> None:
    """Writes all files of the tree below `root`."""
    for split in ("train", "val"):
        for part in (IMAGES, LABELS):
            (root / part / split).mkdir(parents=True)
    work = functools.partial(_write_scene, root, plan)
    with workers.pool(num_workers) as mapper:
        rows = list(mapper.map(work, plan.scenes()))
    labeled = sorted(row["name"] for row in rows if row["stream"] == "labeled")
    path = root / LABELED_LIST
    path.parent.mkdir(parents=True)
    path.write_text("".join(f"{name}\n" for name in labeled), encoding="utf-8")
    description = {"version": VERSION, **dataclasses.asdict(plan), "scenes": rows}
    (root / DESCRIPTION).write_text(json.dumps(description, indent=1) + "\n", encoding="utf-8")


def _write_scene(root: pathlib.Path, plan: Plan, scene: tuple[str, int]) -> dict[str, Any]:
    """Renders one scene into the tree and returns what `DESCRIPTION` says of it."""
    stream, index = scene
    split = "val" if stream == "val" else "train"
    name = record_name(stream, index)
    rendering = render(plan.seed, stream, index, plan.width, plan.height)
    image = root / IMAGES / split / f"{name}.jpg"
    Image.fromarray(rendering.image).save(image, quality=_JPEG_QUALITY)
    Image.fromarray(rendering.label).save(root / LABELS / split / f"{name}.png")
    return {
        "name": name,
        "split": split,
        "stream": stream,
        "condition": rendering.condition.kind,
        "strength": round(rendering.condition.strength, 3),
    }
