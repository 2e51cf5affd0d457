"""Facts about label sets: class names, colours, raw ids and the ignore value.

This is the only module in which a class count or an ignore value is written down. Everything
else receives a `LabelMap`, which travels with the data: converters write it into the data
set's manifest, and training, evaluation, drawing and export read it from there.
"""

import dataclasses
import json
from typing import Any

import numpy as np

from c3tf.errors import UserError

# The value of a label pixel that takes part in nothing: no loss, no metric, no sample. It is the
# value that Cityscapes and BDD100K use in their train-id masks, and it is what converters write
# for every raw id that no class claims.
IGNORE = 255


class LabelMapError(UserError):
    """A label map, or a label image measured against one, is not acceptable."""


@dataclasses.dataclass(frozen=True)
class LabelMap:
    """The classes of a data set, in the order of their train ids.

    Attributes:
        name: short name of the label set, e.g. `"cityscapes"`.
        class_names: one name per train id.
        colors: one RGB triple (0 to 255) per train id, used for drawing.
        raw_ids: per train id the id this class has in the data set's raw masks (Cityscapes:
            `labelIds`), used when predictions are handed to an official server.
        ignored_raw_ids: raw ids that are known and belong to no class.
    """

    name: str
    class_names: tuple[str, ...]
    colors: tuple[tuple[int, int, int], ...]
    raw_ids: tuple[int, ...]
    ignored_raw_ids: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.class_names)
        if not 1 <= n < IGNORE:
            raise LabelMapError(
                f"`class_names` must hold 1 to {IGNORE - 1} names. Received: {n} names."
            )
        for name in self.class_names:
            if not name or not name.isprintable():
                raise LabelMapError(f"`class_names` must be printable. Received: {name!a}")
        if len(set(self.class_names)) != n:
            raise LabelMapError(f"`class_names` must differ. Received: {self.class_names}")
        for field, values in (("colors", self.colors), ("raw_ids", self.raw_ids)):
            if len(values) != n:
                raise LabelMapError(
                    f"`{field}` must hold one entry per class ({n}). Received: {len(values)}."
                )
        for color in self.colors:
            if len(color) != 3 or not all(0 <= v <= np.iinfo(np.uint8).max for v in color):
                raise LabelMapError(f"`colors` must be RGB triples of bytes. Received: {color}")
        ids = [*self.raw_ids, *self.ignored_raw_ids]
        if len(set(ids)) != len(ids):
            raise LabelMapError(f"A raw id is named twice in label map {self.name!r}: {ids}")

    @property
    def num_classes(self) -> int:
        """Number of classes, the ignore value not counted."""
        return len(self.class_names)

    def raw_to_train(self) -> dict[int, int]:
        """Maps every known raw id to its train id, or to `IGNORE`."""
        table = {raw: train for train, raw in enumerate(self.raw_ids)}
        table.update(dict.fromkeys(self.ignored_raw_ids, IGNORE))
        return table

    def train_to_train(self) -> dict[int, int]:
        """Maps train ids and `IGNORE` to themselves: the table of masks that hold train ids."""
        return {**{i: i for i in range(self.num_classes)}, IGNORE: IGNORE}

    def palette(self) -> np.ndarray:
        """Returns the colours as `(256, 3)` uint8; ids without a class are black."""
        table = np.zeros((np.iinfo(np.uint8).max + 1, 3), np.uint8)
        table[: self.num_classes] = np.asarray(self.colors, np.uint8)
        return table

    def to_json(self) -> dict[str, Any]:
        """Returns plain data that `from_json` turns back into an equal label map."""
        return json.loads(json.dumps(dataclasses.asdict(self)))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "LabelMap":
        """Builds a label map from what `to_json` returned.

        Raises:
            LabelMapError: a field is missing, unknown or of the wrong kind.
        """
        try:
            return cls(
                name=_text(data["name"]),
                class_names=tuple(map(_text, data["class_names"])),
                colors=tuple(tuple(map(_whole, color)) for color in data["colors"]),
                raw_ids=tuple(map(_whole, data["raw_ids"])),
                ignored_raw_ids=tuple(map(_whole, data.get("ignored_raw_ids", ()))),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, LabelMapError):
                raise
            raise LabelMapError(f"Not a label map: {error!r}") from error


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!a:.40} is no text")
    return value


def _whole(value: Any) -> int:
    # Of 64 bits, as the arrays that ids are put into.
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) >= 2**63:
        raise TypeError(f"{value!a:.40} is no id or colour")
    return value


def _map_from_rows(name: str, rows: tuple, ignored: tuple[int, ...]) -> LabelMap:
    """Builds a label map from rows of (raw id, class name, colour) in train-id order."""
    return LabelMap(
        name=name,
        class_names=tuple(row[1] for row in rows),
        colors=tuple(row[2] for row in rows),
        raw_ids=tuple(row[0] for row in rows),
        ignored_raw_ids=ignored,
    )


# The 19 evaluated classes of Cityscapes, with the ids and colours its labels are published with.
# BDD100K's semantic masks hold the same train ids. The licence plate's raw id is -1; masks are
# stored as bytes, so it can only ever be seen as 255, which is `IGNORE` already.
CITYSCAPES = _map_from_rows(
    "cityscapes",
    (
        (7, "road", (128, 64, 128)),
        (8, "sidewalk", (244, 35, 232)),
        (11, "building", (70, 70, 70)),
        (12, "wall", (102, 102, 156)),
        (13, "fence", (190, 153, 153)),
        (17, "pole", (153, 153, 153)),
        (19, "traffic light", (250, 170, 30)),
        (20, "traffic sign", (220, 220, 0)),
        (21, "vegetation", (107, 142, 35)),
        (22, "terrain", (152, 251, 152)),
        (23, "sky", (70, 130, 180)),
        (24, "person", (220, 20, 60)),
        (25, "rider", (255, 0, 0)),
        (26, "car", (0, 0, 142)),
        (27, "truck", (0, 0, 70)),
        (28, "bus", (0, 60, 100)),
        (31, "train", (0, 80, 100)),
        (32, "motorcycle", (0, 0, 230)),
        (33, "bicycle", (119, 11, 32)),
    ),
    ignored=(0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30, IGNORE),
)

# The 11 classes of the SegNet edition of CamVid; 11 is void.
CAMVID = _map_from_rows(
    "camvid",
    (
        (0, "sky", (128, 128, 128)),
        (1, "building", (128, 0, 0)),
        (2, "pole", (192, 192, 128)),
        (3, "road", (128, 64, 128)),
        (4, "pavement", (60, 40, 222)),
        (5, "tree", (128, 128, 0)),
        (6, "sign symbol", (192, 128, 128)),
        (7, "fence", (64, 64, 128)),
        (8, "car", (64, 0, 128)),
        (9, "pedestrian", (64, 64, 0)),
        (10, "bicyclist", (0, 128, 192)),
    ),
    ignored=(11, IGNORE),
)

LABEL_MAPS = {label_map.name: label_map for label_map in (CITYSCAPES, CAMVID)}
