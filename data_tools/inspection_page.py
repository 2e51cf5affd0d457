"""One HTML page, without any other file, that shows what a converted data set holds."""

import base64
import html
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from c3tf.data.manifest import Manifest
from data_tools import inspection
from data_tools.inspection import Sample

_PICTURE_WIDTH = 480
_STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 2em auto; max-width: 1100px; color: #191919 }
table { border-collapse: collapse; margin: 1em 0 }
th, td { padding: .2em .8em .2em 0; text-align: left }
td.number { text-align: right; font-variant-numeric: tabular-nums }
.bar { display: inline-block; height: .8em; background: #4a6fa5 }
.key { display: inline-block; width: .9em; height: .9em; border: 1px solid #191919 }
figure { display: inline-block; margin: 0 1em 1em 0; width: 520px }
figure img { width: 256px }
figcaption { overflow-wrap: anywhere }
"""


def page(manifest: Manifest, picked: dict[str, Sequence[Sample]]) -> str:
    """Writes the page.

    Args:
        manifest: of the data set.
        picked: samples per split.

    Returns:
        HTML.
    """
    title = html.escape(f"{manifest.dataset}: {manifest.data_dir}")
    origin = html.escape(
        f"Made by {manifest.converter} {manifest.converter_version} from {manifest.source}; "
        f"contents {manifest.digest()}."
    )
    parts = [
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title>',
        f"<style>{_STYLE}</style></head><body><h1>{title}</h1><p>{origin}</p>",
        _counts(manifest),
        _classes(manifest),
    ]
    for split, samples in picked.items():
        parts.append(f"<h2>{html.escape(split)}</h2>")
        parts += [_figure(sample, manifest) for sample in samples]
    return "\n".join([*parts, "</body></html>\n"])


def _counts(manifest: Manifest) -> str:
    """Writes the table of the splits."""
    rows = [
        _row(
            [html.escape(split)],
            [f"{v}" for v in (info.count, info.labeled, len(info.left_out), len(info.shards))]
            + [f"{inspection.megabytes(info):.1f}"],
            [html.escape(inspection.sizes(info))],
        )
        for split, info in manifest.splits.items()
    ]
    titles = ("Split", "Images", "Labeled", "Left out", "Shards", "MB", "Sizes")
    return _table(titles, rows)


def _classes(manifest: Manifest) -> str:
    """Writes the table of the classes: colour, name, share of pixels per split."""
    labeled = {s: inspection.class_shares(i) for s, i in manifest.splits.items() if i.labeled}
    colors = ["#{:02x}{:02x}{:02x}".format(*color) for color in manifest.label_map.colors]
    named = [
        *zip(manifest.label_map.class_names, colors, strict=True),
        ("(ignored)", "transparent"),
    ]
    rows = []
    for index, (name, color) in enumerate(named):
        key = f'<span class="key" style="background:{color}"></span> {html.escape(name)}'
        bars = [_bar(shares[index], max(shares)) for shares in labeled.values()]
        rows.append(_row([key], [], bars))
    return _table(("Class", *(f"{html.escape(split)}, share of pixels" for split in labeled)), rows)


def _bar(share: float, largest: float) -> str:
    """Draws a share as a number and a bar."""
    width = 12 * share / largest if largest else 0
    return f'<span class="bar" style="width:{width:.2f}em"></span> {share:.3%}'


def _row(first: list[str], numbers: list[str], last: list[str]) -> str:
    """Writes a row of cells; numbers stand right."""
    cells = [f"<td>{cell}</td>" for cell in first]
    cells += [f'<td class="number">{cell}</td>' for cell in numbers]
    cells += [f"<td>{cell}</td>" for cell in last]
    return f"<tr>{''.join(cells)}</tr>"


def _table(titles: Sequence[str], rows: Sequence[str]) -> str:
    """Writes a table."""
    head = "".join(f"<th>{title}</th>" for title in titles)
    return f"<table><tr>{head}</tr>{''.join(rows)}</table>"


def _figure(sample: Sample, manifest: Manifest) -> str:
    """Writes an image, its label over it, and its name."""
    pictures = [sample.image]
    if sample.label is not None:
        pictures.append(sample.overlay(manifest.label_map))
    tags = " ".join(f'<img alt="" src="{_data_url(picture)}">' for picture in pictures)
    note = "" if sample.label is not None else " (no label)"
    return f"<figure>{tags}<figcaption>{html.escape(sample.name)}{note}</figcaption></figure>"


def _data_url(picture: np.ndarray) -> str:
    """Encodes a picture into a URL."""
    image = Image.fromarray(picture)
    if image.width > _PICTURE_WIDTH:
        height = max(1, round(image.height * _PICTURE_WIDTH / image.width))
        image = image.resize((_PICTURE_WIDTH, height), Image.Resampling.BILINEAR)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=85)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
