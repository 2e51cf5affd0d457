"""The files that are written for a predicted image.

Every format has a folder of its own below the output folder, in which the tree of the inputs is
repeated:

    train_ids      8-bit grey PNG, the class of every pixel as its position in the label map
    label_ids      8-bit grey PNG, the same as the data set's own ids (Cityscapes: labelIds)
    color          RGB PNG in the colours of the classes
    overlay        RGB PNG, the colours over the image
    probabilities  compressed NumPy archive: `probabilities` float16 (H, W, C), and `class_names`
    confidence     8-bit grey PNG, the largest probability of every pixel: 255 is 1
    uncertainty    RGB PNG, the entropy of the classes as heat over the image
    pseudo_labels  ids where the probability reaches its class's DCRS threshold, `IGNORE` elsewhere:
                   8-bit grey PNG of train ids or the data set's own, or LabelMe's polygons
"""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np

from c3tf.errors import UserError
from c3tf.inference import doubt, labelme
from c3tf.inference.image_files import Input
from c3tf.inference.options import (
    COLOR,
    CONFIDENCE,
    DEFAULT_FORMATS,
    FORMATS,
    LABEL_IDS,
    LABELME,
    OVERLAY,
    PROBABILITIES,
    PSEUDO_LABELS,
    TRAIN_IDS,
    UNCERTAINTY,
)
from c3tf.io import places
from c3tf.io.images import raw_id_table, write_arrays, write_class_map, write_png
from c3tf.labels import LabelMap
from c3tf.visualization import drawing, heat


@dataclasses.dataclass(frozen=True)
class Outputs:
    """Where and what to write.

    Attributes:
        folder: the output folder.
        label_map: the classes of the predictor.
        formats: some of `FORMATS`.
        opacity: share of colour in overlays.
        thresholds: `(C,)` DCRS thresholds, needed for pseudo-labels alone.
        pseudo_as: how these are written, one of `options.PSEUDO_AS`.
    """

    folder: Path
    label_map: LabelMap
    formats: Sequence[str] = DEFAULT_FORMATS
    opacity: float = 0.5
    thresholds: np.ndarray | None = dataclasses.field(default=None, compare=False)
    pseudo_as: str = TRAIN_IDS

    def __post_init__(self) -> None:
        flag = f"--format={LABEL_IDS}" if LABEL_IDS in self.formats else f"--pseudo_as={LABEL_IDS}"
        if LABEL_IDS in (*self.formats, self.pseudo_as):
            try:
                raw_id_table(self.label_map)
            except ValueError as error:
                raise UserError(f"{flag} cannot be written: {error}") from error
        if PSEUDO_LABELS in self.formats and self.thresholds is None:
            raise UserError(
                f"`--format={PSEUDO_LABELS}` needs a model with DCRS thresholds: a run with a "
                "teacher, or an export of one. This model has none; "
                f"--format={CONFIDENCE} says how sure it is of every pixel."
            )

    @property
    def with_probabilities(self) -> bool:
        """Whether a format is made from probabilities."""
        return not {PROBABILITIES, CONFIDENCE, UNCERTAINTY, PSEUDO_LABELS}.isdisjoint(self.formats)

    def folders(self) -> list[Path]:
        """Returns the folders of all formats, those that are not written now as well."""
        return [self.folder / name for name in FORMATS]

    def targets(self, name: str) -> Iterator[Path]:
        """Yields the files that an image of this name gets."""
        suffixes = {PROBABILITIES: "npz"}
        if self.pseudo_as == LABELME:
            suffixes[PSEUDO_LABELS] = "json"
        for kind in self.formats:
            yield Path(places.below(self.folder / kind, f"{name}.{suffixes.get(kind, 'png')}"))

    def complete(self, item: Input, since: int = 0) -> bool:
        """Whether all files of an image are there, and not from before the image changed.

        Args:
            item: the image.
            since: nanoseconds; files from before that were made with something else.
        """
        targets = list(self.targets(item.name))
        if not all(path.is_file() for path in targets):
            # Files are never there in part.
            return False
        changed = max(since, _changed(item.path))
        return all(_changed(path) >= changed for path in targets)

    def check_inputs_are_kept(self, inputs: Iterable[Input]) -> None:
        """Checks that no image would be replaced by what is predicted from one.

        Raises:
            UserError: names the first such image.
        """
        items = list(inputs)
        sources = {os.path.realpath(item.path) for item in items}
        for item in items:
            for target in self.targets(item.name):
                if os.path.realpath(target) in sources:
                    raise UserError(
                        f"{target} would replace an image that is to be predicted. Give another "
                        "--output."
                    )

    def write(
        self,
        name: str,
        image: np.ndarray,
        class_map: np.ndarray,
        probabilities: np.ndarray | None = None,
        source: Path | None = None,
    ) -> None:
        """Writes all files of one image.

        Args:
            name: of the image, see `Input`.
            image: `(H, W, 3)` uint8.
            class_map: `(H, W)` uint8 train ids.
            probabilities: `(H, W, C)`, needed where `with_probabilities` is set.
            source: the image's file, which LabelMe's files name.
        """
        for kind, path in zip(self.formats, self.targets(name), strict=True):
            if kind == TRAIN_IDS:
                write_class_map(path, class_map)
            elif kind == LABEL_IDS:
                write_class_map(path, class_map, self.label_map)
            elif kind == COLOR:
                write_png(path, drawing.colorize(class_map, self.label_map))
            elif kind == OVERLAY:
                blended = drawing.overlay(image, class_map, self.label_map, self.opacity)
                write_png(path, blended)
            elif kind == CONFIDENCE:
                write_png(path, doubt.confidence_bytes(probabilities))
            elif kind == UNCERTAINTY:
                write_png(path, heat.heat_over(image, doubt.entropy(probabilities), self.opacity))
            elif kind == PSEUDO_LABELS:
                kept = doubt.pseudo_labels(probabilities, class_map, self.thresholds)
                self._write_pseudo_labels(path, kept, source or Path(name))
            else:
                write_arrays(
                    path,
                    probabilities=probabilities.astype(np.float16),
                    class_names=np.array(self.label_map.class_names),
                )

    def _write_pseudo_labels(self, path: Path, kept: np.ndarray, source: Path) -> None:
        if self.pseudo_as == LABELME:
            labelme.write(path, kept, self.label_map, source)
        else:
            write_class_map(path, kept, self.label_map if self.pseudo_as == LABEL_IDS else None)


def _changed(path: Path) -> int:
    """Returns when a file got its contents or its place: a copy may keep an older file's time."""
    status = path.stat()
    return max(status.st_mtime_ns, status.st_ctime_ns)
