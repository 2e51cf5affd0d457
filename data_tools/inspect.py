"""Shows what a converted data set holds: counts, sizes, class frequencies, images with labels.

python -m data_tools.inspect --data=data/cityscapes --output=sheet.png
"""

import dataclasses
import io
from collections.abc import Sequence
from itertools import islice

import numpy as np
from absl import flags
from PIL import Image

from c3tf import cli
from c3tf.data import judgement
from c3tf.data import manifest as manifests
from c3tf.data.manifest import Manifest, SplitInfo
from c3tf.data.record import Record
from c3tf.errors import UserError
from c3tf.io import files, streams, writable
from c3tf.labels import LabelMap
from c3tf.reporting.html import Html, bar, document, element, join, swatch, table
from c3tf.reporting.images import data_url
from c3tf.reporting.style import CSS
from c3tf.visualization import drawing
from data_tools.conversion import images

FLAGS = flags.FLAGS
_KINDS = (".png", ".html")
# Of the summary in words: characters of the longest bar, and image sizes that are listed.
_BAR, _SHOWN_SIZES = 24, 3
# Pictures in a row of the sheet, and the longer side of those of the page, in pixels.
_PICTURES, _SHOWN_SIDE = 4, 256
_NOTE = "Labels are painted over their images. Small images are enlarged."


def summary(manifest: Manifest) -> str:
    """Describes a data set in lines: origin, counts, sizes, the share of each class as bars."""
    lines = [
        f"{manifest.data_dir}: {manifest.dataset}, contents {manifest.digest()}",
        f"made by {_made_by(manifest)}",
        "",
        f"{'split':<11}{'images':>9}{'labeled':>9}{'left out':>10}{'shards':>8}{'MB':>10}  sizes",
    ]
    for split, info in manifest.splits.items():
        lines.append(
            f"{split:<11}{info.count:>9}{info.labeled:>9}{len(info.left_out):>10}"
            f"{len(info.shards):>8}{_megabytes(info):>10.1f}  {_sizes(info)}"
        )
    labeled = {split: info for split, info in manifest.splits.items() if info.labeled}
    if not labeled:
        return "\n".join(map(streams.shown, lines))
    width = max(len(name) for name in (*manifest.label_map.class_names, "share of label pixels"))
    titles = "".join(f"  {split:<{_BAR + 9}}" for split in labeled)
    lines += ["", f"{'share of label pixels':<{width}}{titles}".rstrip()]
    shares = {split: _class_shares(info) for split, info in labeled.items()}
    for index, name in enumerate((*manifest.label_map.class_names, "(ignored)")):
        cells = "".join(f"  {_text_bar(values[index], max(values))}" for values in shares.values())
        lines.append(f"{name:<{width}}{cells}".rstrip())
    if warned := warnings(manifest):
        lines += ["", *warned]
    return "\n".join(map(streams.shown, lines))


def warnings(manifest: Manifest) -> list[str]:
    """Says, a line each, what is wrong or doubtful about the labels of a data set."""
    found = judgement.of_data_set(manifest)
    return [f"warning: {sentence}" for sentence in (*found.undefined, *found.doubtful)]


def _made_by(manifest: Manifest) -> str:
    """Names the converter, its version, the packages its bytes depend on, and the source."""
    versions = ", ".join(f"{name} {version}" for name, version in manifest.software.items())
    beside = f" ({versions})" if versions else ""
    return f"{manifest.converter} {manifest.converter_version}{beside} from {manifest.source}"


def _megabytes(info: SplitInfo) -> float:
    """Returns the length of a split's shards in megabytes."""
    return sum(shard.bytes for shard in info.shards) / 1e6


def _sizes(info: SplitInfo) -> str:
    """Lists the commonest image sizes of a split."""
    ordered = sorted(info.image_sizes.items(), key=lambda entry: -entry[1])
    shown = ", ".join(f"{size} ({count})" for size, count in ordered[:_SHOWN_SIZES])
    more = len(ordered) - _SHOWN_SIZES
    return (f"{shown} and {more} more sizes" if more > 0 else shown) or "not counted"


def _class_shares(info: SplitInfo) -> list[float]:
    """Returns the share of each class, and last of the ignored pixels, in all label pixels."""
    pixels = (*info.class_pixels, info.ignored_pixels)
    return [count / max(sum(pixels), 1) for count in pixels]


def _text_bar(share: float, largest: float) -> str:
    """Writes a share as a number and a bar; anything above nothing shows."""
    length = round(_BAR * share / largest) if largest else 0
    return f"{share:>8.3%} {'#' * max(length, share > 0):<{_BAR}}"


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

    shards = zip(manifest.shards(split), manifest.split(split).shards, strict=True)
    # What was left out may have been all of a shard.
    paths = [path for path, shard in shards if shard.count]
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
    """Lays out samples of each split, split below split, above a legend, as an RGB image."""
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
    named = titles * min(per_row, len(samples))
    named += [""] * (_PICTURES - len(named))
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
    return drawing.sheet(rows, named, captions)


def page(manifest: Manifest, picked: dict[str, Sequence[Sample]]) -> str:
    """Returns one HTML page, without any other file, that shows samples of each split."""
    origin = f"Made by {_made_by(manifest)}; contents {manifest.digest()}."
    parts = [element("p", {"class": "soft"}, origin)]
    parts += [element("p", {}, line) for line in warnings(manifest)]
    parts += [element("h2", {}, "Splits"), _split_table(manifest)]
    parts += [element("h2", {}, "Classes"), _class_table(manifest)]
    parts += [element("h2", {}, "Images"), element("p", {"class": "soft"}, _NOTE)]
    for split, samples in picked.items():
        figures = [_figure(sample, manifest) for sample in samples]
        parts += [element("h3", {}, split), element("div", {"class": "pairs"}, *figures)]
    return document(f"{manifest.dataset}: {manifest.data_dir}", CSS, *parts)


def _split_table(manifest: Manifest) -> Html:
    """Writes the table of the splits."""
    rows = []
    for split, info in manifest.splits.items():
        counts = (info.count, info.labeled, len(info.left_out), len(info.shards))
        megabytes = f"{_megabytes(info):.1f}"
        rows.append([split, *(f"{n:,}" for n in counts), megabytes, _sizes(info)])
    titles = ["split", "images", "labeled", "left out", "shards", "MB", "sizes"]
    return table(titles, rows, "described")


def _class_table(manifest: Manifest) -> Html:
    """Writes the table of the classes: colour, name, share of pixels per split."""
    labeled = {s: _class_shares(i) for s, i in manifest.splits.items() if i.labeled}
    rows = []
    for index, (name, color) in enumerate(
        drawing.legend_entries(manifest.label_map, overlaid=True)
    ):
        cells = [
            join([f"{shares[index]:.3%}", bar(shares[index] / (max(shares) or 1), "s0")])
            for shares in labeled.values()
        ]
        rows.append([join([swatch(color), name]), *cells])
    return table(["class", *(f"{split}, share of pixels" for split in labeled)], rows)


def _figure(sample: Sample, manifest: Manifest) -> Html:
    """Writes an image, its label over it, and its name."""
    pictures, caption = [sample.image], sample.name
    if sample.label is None:
        caption += f" ({drawing.NO_LABEL})"
    else:
        pictures.append(sample.overlay(manifest.label_map))
    caption = element("figcaption", {}, caption)
    return element("figure", {}, *map(_image, pictures), caption)


def _image(picture: np.ndarray) -> Html:
    """Writes a picture at the size at which all are shown."""
    height, width = picture.shape[:2]
    shown_width, shown_height = drawing.fitted(width, height, _SHOWN_SIDE)
    return element(
        "img",
        {
            "class": "grown" if shown_width > width else None,
            "alt": "",
            "width": shown_width,
            "height": shown_height,
            "src": data_url(picture, "jpeg"),
        },
    )


def main() -> None:
    """Describes the data set the flags name."""
    output = FLAGS.output
    if output and not output.endswith(_KINDS):
        raise UserError(f"--output must end in {' or '.join(_KINDS)}. Received: --output={output}")
    if output:
        writable.check_file(output, remote=True)
    manifest = manifests.verify(FLAGS.data)
    unknown = [split for split in FLAGS.split if split not in manifest.splits]
    if unknown:
        raise UserError(
            f"--split must name a split of {FLAGS.data}: {', '.join(manifest.splits)}. "
            f"Received: --split={unknown[0]}"
        )
    print(summary(manifest))
    if not output:
        return
    chosen = FLAGS.split or list(manifest.splits)
    picked = {split: pick(manifest, split, FLAGS.images) for split in chosen}
    if output.endswith(".html"):
        files.write_text(output, page(manifest, picked))
    else:
        buffer = io.BytesIO()
        sheet(manifest, picked).save(buffer, "PNG")
        files.write_bytes(output, buffer.getvalue())
    print(f"written to {output} ({files.size(output) / 1e6:.1f} MB)")


if __name__ == "__main__":
    flags.DEFINE_string("data", None, "Directory of the converted data set.", required=True)
    flags.DEFINE_string("output", "", "PNG or HTML file to draw images with their labels into.")
    flags.DEFINE_multi_string("split", [], "Split to draw; may be repeated. All when absent.")
    flags.DEFINE_integer("images", 8, "Images to draw per split.", lower_bound=1, upper_bound=500)
    cli.run(main)
