"""What a converted data set holds, as text and as pictures."""

import dataclasses
import io
from collections.abc import Sequence
from itertools import islice

import numpy as np
from PIL import Image

from c3tf.data.example import Record
from c3tf.data.manifest import Manifest, SplitInfo
from c3tf.evaluation import drawing
from c3tf.labels import LabelMap
from data_tools import images

_BAR = 24
_SHOWN_SIZES = 3
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
    # Imports TensorFlow, which the text needs not.
    from c3tf.data import records

    paths = manifest.shards(split)
    steps = min(count, len(paths))
    chosen = [paths[index * len(paths) // steps] for index in range(steps)]
    picked = []
    for index, path in enumerate(chosen):
        wanted = count * (index + 1) // steps - count * index // steps
        picked += [_sample(record) for record in islice(records.read_shard(path), wanted)]
    return picked


def _sample(record: Record) -> Sample:
    image = np.asarray(Image.open(io.BytesIO(record.image)).convert("RGB"))
    label = None
    if record.label is not None:
        ids = np.asarray(Image.open(io.BytesIO(record.label)))
        label = images.resize_ids(ids, image.shape[:2])
    return Sample(record.name, image, label)


def text(manifest: Manifest) -> str:
    """Describes a data set: origin, counts, sizes, and the share of each class as bars.

    Args:
        manifest: of the data set.

    Returns:
        Lines of text.
    """
    lines = [
        f"{manifest.data_dir}: {manifest.dataset}, contents {manifest.digest()}",
        f"made by {manifest.converter} {manifest.converter_version} from {manifest.source}",
        "",
        f"{'split':<11}{'images':>9}{'labeled':>9}{'left out':>10}{'shards':>8}{'MB':>10}  sizes",
    ]
    for split, info in manifest.splits.items():
        lines.append(
            f"{split:<11}{info.count:>9}{info.labeled:>9}{len(info.left_out):>10}"
            f"{len(info.shards):>8}{megabytes(info):>10.1f}  {sizes(info)}"
        )
    labeled = {split: info for split, info in manifest.splits.items() if info.labeled}
    if not labeled:
        return "\n".join(lines)
    width = max(len(name) for name in (*manifest.label_map.class_names, "share of label pixels"))
    titles = "".join(f"  {split:<{_BAR + 9}}" for split in labeled)
    lines += ["", f"{'share of label pixels':<{width}}{titles}".rstrip()]
    shares = {split: class_shares(info) for split, info in labeled.items()}
    for index, name in enumerate((*manifest.label_map.class_names, "(ignored)")):
        cells = "".join(f"  {_bar(values[index], max(values))}" for values in shares.values())
        lines.append(f"{name:<{width}}{cells}".rstrip())
    return "\n".join(lines)


def megabytes(info: SplitInfo) -> float:
    """Returns the length of a split's shards in megabytes."""
    return sum(shard.bytes for shard in info.shards) / 1e6


def sizes(info: SplitInfo) -> str:
    """Lists the commonest image sizes of a split."""
    ordered = sorted(info.image_sizes.items(), key=lambda entry: -entry[1])
    shown = ", ".join(f"{size} ({count})" for size, count in ordered[:_SHOWN_SIZES])
    more = len(ordered) - _SHOWN_SIZES
    return (f"{shown} and {more} more sizes" if more > 0 else shown) or "not counted"


def class_shares(info: SplitInfo) -> list[float]:
    """Returns the share of each class, and last of the ignored pixels, in all label pixels."""
    pixels = (*info.class_pixels, info.ignored_pixels)
    return [count / max(sum(pixels), 1) for count in pixels]


def _bar(share: float, largest: float) -> str:
    """Draws a share as a number and a bar; anything above nothing shows."""
    length = round(_BAR * share / largest) if largest else 0
    return f"{share:>8.3%} {'#' * max(length, share > 0):<{_BAR}}"


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
