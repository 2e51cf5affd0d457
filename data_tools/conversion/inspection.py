"""Images of a converted data set with their labels, as pictures."""

import dataclasses
import io
from collections.abc import Sequence
from itertools import islice

import numpy as np
from PIL import Image

from c3tf.data.manifest import Manifest
from c3tf.data.record import Record
from c3tf.labels import LabelMap
from c3tf.visualization import drawing
from data_tools.conversion import images

_PICTURES = 4


@dataclasses.dataclass(frozen=True)
class Sample:
    """A stored image with its label.

    Attributes:
        name: of the record.
        image: `(H, W, 3)` uint8.
        label: `(H, W)` uint8 train ids, or None.
    """

    name: str
    image: np.ndarray
    label: np.ndarray | None

    def overlay(self, label_map: LabelMap) -> np.ndarray:
        """Returns the image with its label, which it must have, painted over it."""
        return drawing.overlay(self.image, self.label, label_map)


def pick(manifest: Manifest, split: str, count: int) -> list[Sample]:
    """Reads a few images spread over the shards of a split.

    Records lie in shuffled order, so the first ones of each shard are a fair sample and no shard
    is read to its end.

    Args:
        manifest: of the data set.
        split: which split.
        count: images wanted.

    Returns:
        At most `count` samples, always the same ones.

    Raises:
        DataError: the split is empty, or a shard is damaged.
    """
    # Imports TensorFlow, which describing a data set in words needs not.
    from c3tf.data import tfrecord

    paths = manifest.shards(split)
    steps = min(count, len(paths))
    chosen = [paths[index * len(paths) // steps] for index in range(steps)]
    picked = []
    for index, path in enumerate(chosen):
        wanted = count * (index + 1) // steps - count * index // steps
        picked += [_sample(record) for record in islice(tfrecord.read_shard(path), wanted)]
    return picked


def _sample(record: Record) -> Sample:
    image = np.asarray(Image.open(io.BytesIO(record.image)).convert("RGB"))
    label = None
    if record.label is not None:
        ids = np.asarray(Image.open(io.BytesIO(record.label)))
        label = images.resize_ids(ids, image.shape[:2])
    return Sample(record.name, image, label)


def sheet(manifest: Manifest, picked: dict[str, Sequence[Sample]]) -> Image.Image:
    """Lays out images beside their labels, split below split, above a legend.

    Args:
        manifest: of the data set.
        picked: samples per split.

    Returns:
        An RGB Pillow image.
    """
    parts = [_split_sheet(split, samples, manifest.label_map) for split, samples in picked.items()]
    width = parts[0].width
    parts.append(drawing.legend(manifest.label_map, width, overlaid=True))
    canvas = Image.new("RGB", (width, sum(part.height for part in parts)))
    top = 0
    for part in parts:
        canvas.paste(part, (0, top))
        top += part.height
    return canvas


def _split_sheet(split: str, samples: Sequence[Sample], label_map: LabelMap) -> Image.Image:
    """Lays out the samples of one split, with their labels beside them where there are any."""
    titles = [f"{split}: image"]
    if any(sample.label is not None for sample in samples):
        titles.append("its label over it")
    per_row = _PICTURES // len(titles)
    rows, captions = [], []
    for low in range(0, len(samples), per_row):
        pictures, texts = [], []
        for sample in samples[low : low + per_row]:
            labeled = sample.label is not None
            pictures += [sample.image, sample.overlay(label_map) if labeled else None][
                : len(titles)
            ]
            texts += [sample.name, "" if labeled else drawing.NO_LABEL][: len(titles)]
        free = _PICTURES - len(pictures)
        rows.append(pictures + [None] * free)
        captions.append(texts + [""] * free)
    return drawing.sheet(rows, titles * per_row, captions)
