"""One HTML page, without any other file, that shows what a converted data set holds."""

from collections.abc import Sequence

import numpy as np

from c3tf.data.manifest import Manifest
from c3tf.reporting import images
from c3tf.reporting.html import Html, bar, document, element, join, swatch, table
from c3tf.reporting.style import CSS
from c3tf.visualization import drawing
from data_tools.conversion import description
from data_tools.conversion.inspection import Sample

_SHOWN_SIDE = 256
_NOTE = "Labels are painted over their images. Small images are enlarged."


def page(manifest: Manifest, picked: dict[str, Sequence[Sample]]) -> str:
    """Writes the page.

    Args:
        manifest: of the data set.
        picked: samples per split.

    Returns:
        HTML.
    """
    origin = f"Made by {description.made_by(manifest)}; contents {manifest.digest()}."
    parts = [element("p", {"class": "soft"}, origin)]
    parts += [element("h2", {}, "Splits"), _counts(manifest)]
    parts += [element("h2", {}, "Classes"), _classes(manifest)]
    parts += [element("h2", {}, "Images"), element("p", {"class": "soft"}, _NOTE)]
    for split, samples in picked.items():
        figures = [_figure(sample, manifest) for sample in samples]
        parts += [element("h3", {}, split), element("div", {"class": "pairs"}, *figures)]
    return document(f"{manifest.dataset}: {manifest.data_dir}", CSS, *parts)


def _counts(manifest: Manifest) -> Html:
    """Writes the table of the splits."""
    rows = []
    for split, info in manifest.splits.items():
        counts = (info.count, info.labeled, len(info.left_out), len(info.shards))
        megabytes = f"{description.megabytes(info):.1f}"
        rows.append([split, *(f"{n:,}" for n in counts), megabytes, description.sizes(info)])
    titles = ["split", "images", "labeled", "left out", "shards", "MB", "sizes"]
    return table(titles, rows, "described")


def _classes(manifest: Manifest) -> Html:
    """Writes the table of the classes: colour, name, share of pixels per split."""
    labeled = {s: description.class_shares(i) for s, i in manifest.splits.items() if i.labeled}
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
            "src": images.data_url(picture, "jpeg"),
        },
    )
