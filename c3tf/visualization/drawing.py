"""Class maps drawn for people: colours, overlays, error maps, legends and sheets of them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from c3tf.labels import IGNORE, LabelMap
from c3tf.visualization import lettering

# What people read where a pixel is `IGNORE`.
NO_LABEL = "no label"
_BACKGROUND = (250, 250, 250)
_INK = (25, 25, 25)
_RIGHT = (205, 205, 205)
_WRONG = (215, 25, 28)
_GAP = 8
_FONT_SIZE = lettering.FONT_SIZE
_LINE = _FONT_SIZE + 8


def colorize(class_map: np.ndarray, label_map: LabelMap) -> np.ndarray:
    """Paints every pixel in the colour of its class; `IGNORE` is black.

    Args:
        class_map: `(..., H, W)` uint8 train ids.
        label_map: whose colours.

    Returns:
        `(..., H, W, 3)` uint8 RGB.
    """
    return label_map.palette()[_ids(class_map, "class_map")]


def overlay(
    image: np.ndarray, class_map: np.ndarray, label_map: LabelMap, opacity: float = 0.5
) -> np.ndarray:
    """Blends the colours of a class map over its image; ignored pixels show the image alone.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        class_map: `(H, W)` uint8 train ids.
        label_map: whose colours.
        opacity: share of the colour, 0 (only the image) to 1 (only the colour).

    Returns:
        `(H, W, 3)` uint8 RGB.
    """
    if not 0 <= opacity <= 1:
        raise ValueError(f"`opacity` must be within [0, 1]. Received: opacity={opacity}")
    color = colorize(class_map, label_map)
    if image.shape != color.shape:
        raise ValueError(
            "`image` and `class_map` must have one size. "
            f"Received: image {image.shape}, class_map {class_map.shape}"
        )
    share = np.where(np.asarray(class_map) == IGNORE, 0.0, opacity)[..., None]
    return np.rint(image * (1 - share) + color * share).astype(np.uint8)


def error_map(prediction: np.ndarray, label: np.ndarray) -> np.ndarray:
    """Marks wrong pixels red, right ones light grey and ignored ones black.

    Args:
        prediction: `(..., H, W)` uint8 train ids.
        label: `(..., H, W)` uint8 train ids or `IGNORE`.

    Returns:
        `(..., H, W, 3)` uint8 RGB.
    """
    prediction, label = _ids(prediction, "prediction"), _ids(label, "label")
    if prediction.shape != label.shape:
        raise ValueError(
            "`prediction` and `label` must have one size. "
            f"Received: prediction {prediction.shape}, label {label.shape}"
        )
    result = np.zeros((*label.shape, 3), np.uint8)
    result[prediction == label] = _RIGHT
    result[prediction != label] = _WRONG
    result[label == IGNORE] = 0
    return result


def sheet(
    rows: Sequence[Sequence[np.ndarray | None]],
    column_titles: Sequence[str],
    captions: Sequence[Sequence[str]] | None = None,
    label_map: LabelMap | None = None,
    cell_width: int = 320,
) -> Image.Image:
    """Lays out pictures in a grid under column titles, with captions and a legend.

    Args:
        rows: one list of `(H, W, 3)` uint8 pictures per row, as many as there are titles; None
            leaves a place free. Pictures keep their shape and fill a square, across or upright.
        column_titles: one text per column.
        captions: one text per picture, written above it; none when absent. A text may reach over
            the pictures to its right as far as their own texts are empty.
        label_map: whose classes the legend below the grid explains; no legend when absent.
        cell_width: side of that square in pixels.

    Returns:
        An RGB Pillow image.

    Raises:
        ValueError: there is no picture, or the numbers of pictures, titles and captions differ.
    """
    _check_sheet(rows, column_titles, captions, cell_width)
    grid = [[None if p is None else _scaled(p, cell_width) for p in row] for row in rows]
    heights = [max((p.height for p in row if p is not None), default=0) for row in grid]
    caption_line = _LINE if captions else 0
    width = _GAP + len(column_titles) * (cell_width + _GAP)
    key = legend(label_map, width) if label_map else None
    height = _GAP + _LINE + sum(h + caption_line + _GAP for h in heights)
    canvas = Image.new("RGB", (width, height + (key.height if key else 0)), _BACKGROUND)
    draw = ImageDraw.Draw(canvas)
    for column, title in enumerate(column_titles):
        lettering.write(draw, (_GAP + column * (cell_width + _GAP), _GAP), title, cell_width, _INK)
    top = _GAP + _LINE
    for index, (row, row_height) in enumerate(zip(grid, heights, strict=True)):
        texts = captions[index] if captions else ()
        for column, text in enumerate(texts):
            free = next((c for c in range(column + 1, len(texts)) if texts[c]), len(texts))
            room = (free - column) * (cell_width + _GAP) - _GAP
            lettering.write(draw, (_GAP + column * (cell_width + _GAP), top), text, room, _INK)
        for column, picture in enumerate(row):
            if picture is None:
                continue
            canvas.paste(picture, (_GAP + column * (cell_width + _GAP), top + caption_line))
        top += row_height + caption_line + _GAP
    if key:
        canvas.paste(key, (0, top))
    return canvas


def legend(label_map: LabelMap, width: int, overlaid: bool = False) -> Image.Image:
    """Draws one coloured square and name per class, in as many lines as the width asks for.

    The last square stands for `IGNORE`.

    Args:
        label_map: whose classes.
        width: width of the result in pixels; at least one entry stands in every line.
        overlaid: whether it explains overlays, see `legend_entries`.

    Returns:
        An RGB Pillow image of that width.
    """
    side = _FONT_SIZE
    named = legend_entries(label_map, overlaid)
    name_width = max(lettering.width(name) for name, _ in named)
    name_width = min(name_width, width - 2 * _GAP - side - 6)
    entry = side + 6 + name_width
    columns = max(1, (width - _GAP) // (entry + 2 * _GAP))
    lines = -(-len(named) // columns)
    image = Image.new("RGB", (width, lines * _LINE + _GAP), _BACKGROUND)
    draw = ImageDraw.Draw(image)
    for index, (name, color) in enumerate(named):
        line, column = divmod(index, columns)
        left, top = _GAP + column * (entry + 2 * _GAP), line * _LINE
        draw.rectangle((left, top, left + side, top + side), fill=color, outline=_INK)
        lettering.write(draw, (left + side + 6, top), name, name_width, _INK)
    return image


def legend_entries(
    label_map: LabelMap, overlaid: bool = False
) -> list[tuple[str, tuple[int, int, int] | None]]:
    """Returns the name and RGB colour of every class, and last those of `IGNORE`.

    Args:
        label_map: whose classes.
        overlaid: whether they explain overlays, in which `IGNORE` has no colour.
    """
    black = tuple(label_map.palette()[IGNORE].tolist())
    ignored = (f"{NO_LABEL} (image alone)", None) if overlaid else (NO_LABEL, black)
    return [*zip(label_map.class_names, label_map.colors, strict=True), ignored]


def fitted(width: int, height: int, side: int) -> tuple[int, int]:
    """Returns the width and height, of this shape, of the largest picture within a square."""
    longest = max(width, height)
    return tuple(max(1, round(length * side / longest)) for length in (width, height))


def _check_sheet(
    rows: Sequence, titles: Sequence, captions: Sequence | None, cell_width: int
) -> None:
    if not rows or not titles:
        raise ValueError("`rows` and `column_titles` must not be empty.")
    if cell_width < 1:
        raise ValueError(f"`cell_width` must be positive. Received: cell_width={cell_width}")
    if captions is not None and len(captions) != len(rows):
        raise ValueError(f"{len(rows)} rows need as many captions. Received: {len(captions)}")
    for what, lines in (("pictures", rows), ("captions", captions or ())):
        for line in lines:
            if len(line) != len(titles):
                raise ValueError(
                    f"Every row must hold {len(titles)} {what}, as there are titles. "
                    f"Received: a row of {len(line)}"
                )


def _scaled(picture: np.ndarray, side: int) -> Image.Image:
    image = Image.fromarray(picture)
    size = fitted(*image.size, side)
    # Averaging keeps thin objects in sight when a picture shrinks; growing invents no colours.
    resample = Image.Resampling.BOX if side < max(image.size) else Image.Resampling.NEAREST
    return image.resize(size, resample)


def _ids(values: np.ndarray, name: str) -> np.ndarray:
    values = np.asarray(values)
    if values.ndim < 2 or values.dtype != np.uint8:
        raise ValueError(
            f"`{name}` must be (..., H, W) uint8. Received: shape {values.shape}, {values.dtype}"
        )
    return values
