"""What the statistics of labels say of a data set: no problem to learn, or a doubtful one.

A problem is undefined with fewer than two classes, or without a pixel that belongs to one. It is
doubtful where the counts look like masks of another kind than was said; that is for the user to
know, who is told in a line each.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from c3tf.data.manifest import Manifest
from c3tf.errors import DataError
from c3tf.labels import LabelMap

# Shares of the label pixels from which on a split is doubtful.
_IGNORED, _ONE_CLASS = 0.5, 0.99
_SHOWN = 5
_ADVICE = "Are the masks of the kind that was said, and do they go with the label map?"
_JUDGED = ("train", "val")


@dataclasses.dataclass(frozen=True)
class Findings:
    """What statistics say, a sentence each.

    Attributes:
        undefined: why there is nothing to learn or to measure.
        doubtful: what is odd.
    """

    undefined: tuple[str, ...] = ()
    doubtful: tuple[str, ...] = ()


def of_data_set(manifest: Manifest) -> Findings:
    """Judges the labels of a data set by the counts of its manifest."""
    undefined: list[str] = []
    doubtful: list[str] = []
    label_map = manifest.label_map
    if label_map.num_classes < 2:
        undefined.append(
            f"Label map {label_map.name!r} has one class, {label_map.class_names[0]!r}: at least "
            "two are needed, such as it and what is around it."
        )
    for split in _JUDGED:
        info = manifest.splits.get(split)
        counts = (*info.class_pixels, info.ignored_pixels) if info is not None else ()
        # None are counted in data sets that another program wrote.
        if any(counts):
            what = f"the labels of split {split!r}"
            found = of_counts(counts[:-1], counts[-1], label_map, what, split == "train")
            undefined += found.undefined
            doubtful += found.doubtful
    return Findings(tuple(undefined), tuple(doubtful))


def of_counts(
    class_pixels: Sequence[int], ignored: int, label_map: LabelMap, what: str, trains: bool
) -> Findings:
    """Judges labels by their pixels.

    Args:
        class_pixels: pixels per class.
        ignored: pixels of no class.
        label_map: the classes.
        what: which labels, for the sentences.
        trains: they are trained on, which needs two classes.
    """
    counts = np.asarray(class_pixels, np.int64)
    labeled = int(counts.sum())
    named = dict(zip(label_map.class_names, counts.tolist(), strict=True))
    present = [name for name, count in named.items() if count]
    absent = [name for name, count in named.items() if not count]
    if not labeled:
        return Findings((f"No pixel of {what} belongs to a class; all are ignored. {_ADVICE}",))
    if trains and len(present) < 2:
        return Findings(
            (f"All pixels of {what} are {present[0]!r} or ignored: nothing to learn. {_ADVICE}",)
        )
    doubtful = []
    share = ignored / (labeled + ignored)
    if share >= _IGNORED:
        doubtful.append(f"{share:.0%} of the pixels of {what} are ignored. {_ADVICE}")
    if absent:
        more = f" and {len(absent) - _SHOWN} more" if len(absent) > _SHOWN else ""
        doubtful.append(
            f"No pixel of {what} is of {len(absent)} of {len(counts)} classes: "
            f"{', '.join(absent[:_SHOWN])}{more}."
        )
    largest = int(counts.argmax())
    if counts[largest] / labeled >= _ONE_CLASS:
        doubtful.append(
            f"{counts[largest] / labeled:.1%} of the labeled pixels of {what} are "
            f"{label_map.class_names[largest]!r}."
        )
    return Findings(doubtful=tuple(doubtful))


def refuse_undefined(manifest: Manifest) -> Findings:
    """Returns what is doubtful about a data set.

    Raises:
        DataError: what it asks for is undefined.
    """
    found = of_data_set(manifest)
    if found.undefined:
        raise DataError(f"{manifest.data_dir}: {' '.join(found.undefined)}")
    return found
