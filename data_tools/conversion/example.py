"""The conversion of one image: a pure function of its files and the options.

It runs in local workers and in any other runner alike: NumPy, OpenCV and Pillow only, no
shared state.
"""

import dataclasses

import cv2
import numpy as np

from c3tf.data.manifest import LeftOut
from c3tf.data.record import IMAGE_FORMATS, Record, encode_jpeg, encode_png
from c3tf.errors import DataError
from c3tf.io import files, orientation
from c3tf.labels import IGNORE, LabelMap
from data_tools.conversion import color_masks, images, palettes

LABEL_IDS = ("raw", "train", "colors")
VAL_LABEL_SIZES = ("record", "original")
# PNG images are large; level 3 takes a third of the time of level 6 for a few percent more bytes.
_PNG_IMAGE_LEVEL = 3
_SHOWN_IDS = 8
_EXACT_FLOAT32 = 2**24
# What may be odd about an image and is dealt with, in words for the user.
TURNED, IGNORED, MENDED = REMARKS = (
    "images were turned upright as their metadata (EXIF) say",
    "images note a rotation (EXIF) that is ignored",
    "images lacked the end of their file and were encoded anew",
)


@dataclasses.dataclass(frozen=True, slots=True)
class SourcePair:
    """One image to convert.

    Attributes:
        split: `train`, `val` or `unlabeled`.
        name: record name, unique in the split.
        image: path of the image.
        label: path of the mask, or None.
        source: path of the image below the data set's root, as stored in the record.
    """

    split: str
    name: str
    image: str
    label: str | None
    source: str


@dataclasses.dataclass(frozen=True)
class ConversionOptions:
    """What the bytes of a record depend on besides its files.

    Attributes:
        dataset: short name stored in every record.
        label_map: classes of the masks.
        label_ids: `"raw"` when masks hold the data set's own ids, `"train"` for train ids,
            `"colors"` when they are painted in the colours of the label map.
        palette_masks: take the indices of palette masks for ids, instead of refusing them.
        red_masks: take the red channel of masks for ids.
        ignored_colors: colours of painted masks that belong to no class.
        height: rows of stored images, width following the aspect ratio; 0 keeps the size.
        image_format: `"jpeg"` or `"png"`.
        jpeg_quality: of images that are encoded anew; a JPEG that already has the wanted size is
            kept byte for byte.
        val_label_size: `"record"` resizes validation labels with their image, `"original"` keeps
            their size, for scores at full resolution.
        exif: what becomes of rotations that metadata note, one of `orientation.RULES`.
        reencode: encode images anew that lack nothing but the end of their file; otherwise they are
            refused, because the decoder that trains cannot read them.
    """

    dataset: str
    label_map: LabelMap
    label_ids: str = "raw"
    palette_masks: bool = False
    ignored_colors: tuple[tuple[int, int, int], ...] = ()
    height: int = 0
    image_format: str = "jpeg"
    jpeg_quality: int = 95
    val_label_size: str = "record"
    exif: str = orientation.DEFAULT
    reencode: bool = False
    red_masks: bool = False

    def __post_init__(self) -> None:
        for field, allowed in (
            ("label_ids", LABEL_IDS),
            ("image_format", IMAGE_FORMATS),
            ("val_label_size", VAL_LABEL_SIZES),
            ("exif", orientation.RULES),
        ):
            value = getattr(self, field)
            if value not in allowed:
                raise ValueError(f"`{field}` must be one of {allowed}. Received: {field}={value!r}")
        if self.height < 0:
            raise ValueError(f"`height` must be 0 or more. Received: height={self.height}")
        if not 1 <= self.jpeg_quality <= 100:
            raise ValueError(
                f"`jpeg_quality` must be 1 to 100. Received: jpeg_quality={self.jpeg_quality}"
            )

    def reading(self) -> images.Reading:
        """Returns how odd files are read."""
        return images.Reading(self.exif, self.reencode)

    def id_table(self) -> dict[int, int]:
        """Returns which train id each id in the masks means."""
        if self.label_ids == "raw":
            return self.label_map.raw_to_train()
        return self.label_map.train_to_train()

    def color_table(self) -> dict[tuple[int, int, int], int]:
        """Returns which train id each colour in painted masks means."""
        table = dict.fromkeys(self.ignored_colors, IGNORE)
        table.update({color: train for train, color in enumerate(self.label_map.colors)})
        return table


@dataclasses.dataclass(frozen=True)
class Converted:
    """A converted image.

    Attributes:
        record: what is stored.
        label_histogram: its label pixels per stored value: `(256,)` int64, all 0 without a label.
        source_lengths: of its files, see `source_lengths`.
        remarks: what was odd about its image and dealt with, some of `REMARKS`.
        palette: what a palette mask holds.
    """

    record: Record
    label_histogram: np.ndarray
    source_lengths: tuple[int, ...]
    remarks: tuple[str, ...] = ()
    palette: palettes.MaskPalette | None = None


@dataclasses.dataclass(frozen=True)
class Refused:
    """An image that is left out.

    Attributes:
        left_out: its path and the reason.
        skipped: it is left out only because the user asked for it (`--skip_bad`).
        source_lengths: of its files, see `source_lengths`.
    """

    left_out: LeftOut
    skipped: bool
    source_lengths: tuple[int, ...]


# What becomes of an image.
Outcome = Converted | Refused


class SizeMismatchError(DataError):
    """A mask has another size than its image."""


def source_lengths(pair: SourcePair) -> tuple[int, ...]:
    """Returns the lengths in bytes of the local files of an image; -1 for one that is not there.

    They tell whether a file has changed. Remote files are left out: asking for many takes too long.
    """
    paths = (pair.image, pair.label)
    return tuple(_length(path) for path in paths if path is not None and not files.is_remote(path))


def _length(path: str) -> int:
    try:
        return files.size(path)
    except OSError:
        return -1


def convert_example(pair: SourcePair, options: ConversionOptions) -> Converted:
    """Converts one image and its label.

    Args:
        pair: the files.
        options: how to store them.

    Returns:
        The record and its label histogram.

    Raises:
        DataError: a file is missing, damaged or of an unsuitable kind, the label's size is not the
            image's, or the label holds an id the label map does not know.
    """
    image = images.read_image(pair.image, options.reading())
    size = images.target_size(pair.image, image.size, options.height)
    label, histogram = None, np.zeros(np.iinfo(np.uint8).max + 1, np.int64)
    palette = None
    if pair.label is not None:
        original = pair.split == "val" and options.val_label_size == "original"
        target = image.size if original else size
        ids, palette = _train_ids(pair, image, target, options)
        label, histogram = images.encode_ids(ids), _histogram(ids)
    record = Record(
        image=_encode(pair.image, image, size, options),
        image_format=options.image_format,
        label=label,
        name=pair.name,
        height=size[0],
        width=size[1],
        dataset=options.dataset,
        source=pair.source,
    )
    return Converted(record, histogram, source_lengths(pair), _remarks(image), palette)


def _remarks(image: images.SourceImage) -> tuple[str, ...]:
    """Says what was odd about an image."""
    is_ignored = orientation.is_turned(image.noted) and not image.is_turned
    odd = ((TURNED, image.is_turned), (IGNORED, is_ignored), (MENDED, image.is_mended))
    return tuple(remark for remark, is_so in odd if is_so)


def _encode(
    path: str, image: images.SourceImage, size: tuple[int, int], options: ConversionOptions
) -> bytes:
    """Encodes an image; a file that already is what is wanted is kept."""
    if size == image.size and image.storable_as == options.image_format:
        return image.encoded
    pixels = images.resize_image(image.pixels, size)
    if options.image_format == "png":
        return encode_png(pixels, compress_level=_PNG_IMAGE_LEVEL)
    try:
        return encode_jpeg(pixels, quality=options.jpeg_quality)
    except OSError as error:
        raise DataError(
            f"{path} would be {size[1]}x{size[0]} pixels large, which no JPEG can be ({error}). "
            "Use --image_format=png, or a smaller --height."
        ) from error


def _train_ids(
    pair: SourcePair,
    image: images.SourceImage,
    target: tuple[int, int],
    options: ConversionOptions,
) -> tuple[np.ndarray, palettes.MaskPalette | None]:
    """Reads a mask, checks it, maps its ids or colours and resizes it.

    Args:
        pair: the files.
        image: the image, whose size the mask must have.
        target: wanted height and width.
        options: what the mask holds.

    Returns:
        uint8 `(height, width)`; and what a palette mask holds.
    """
    reading = options.reading()
    if options.label_ids == "colors":
        colors, faint = images.read_colors(pair.label, reading)
        _check_size(pair, colors.shape[:2], image)
        painted = color_masks.train_ids(pair.label, colors, options.color_table())
        if faint is not None and (painted[faint] != IGNORE).any():
            raise DataError(
                f"{pair.label} is transparent in some places that have the colour of a class, "
                "which may be painted or erased. Save it without transparency, with an ignored "
                "colour where nothing is painted."
            )
        return images.resize_ids(painted, target), None
    mask = images.read_mask(pair.label, options.palette_masks, options.red_masks, reading)
    _check_size(pair, mask.ids.shape, image)
    # All ids are checked, but only those that stay are mapped.
    lookup = _lookup(pair, mask.ids, options)
    held = None if mask.palette is None else palettes.held(pair.label, mask.ids, mask.palette)
    return cv2.LUT(images.resize_ids(mask.ids, target), lookup), held


def _lookup(pair: SourcePair, ids: np.ndarray, options: ConversionOptions) -> np.ndarray:
    """Returns the train id of every id, uint8 `(256,)`, after refusing unknown ids."""
    table = options.id_table()
    size = np.iinfo(np.uint8).max + 1
    is_unknown = np.array([i not in table for i in range(size)], np.uint8)
    # Counted only where there is something to complain of: looking ids up takes half as long.
    if cv2.countNonZero(cv2.LUT(ids, is_unknown)):
        counts = _histogram(ids)
        unknown = [int(i) for i in np.flatnonzero(counts * is_unknown)]
        shown = ", ".join(f"{i} ({counts[i]} pixels)" for i in unknown[:_SHOWN_IDS])
        if len(unknown) > _SHOWN_IDS:
            shown += f" and {len(unknown) - _SHOWN_IDS} more"
        raise DataError(
            f"{pair.label} holds {len(unknown)} ids that label map {options.label_map.name!r} does "
            f"not know as {options.label_ids} ids: {shown}. The mask is of another kind or "
            "damaged, or the label map lacks these ids."
        )
    lookup = np.zeros(size, np.uint8)
    lookup[list(table)] = list(table.values())
    return lookup


def _check_size(pair: SourcePair, label_size: tuple[int, int], image: images.SourceImage) -> None:
    """Refuses a mask that is not as large as its image; sizes are heights and widths."""
    if label_size == image.size:
        return
    why = "they do not belong together, or one was resized."
    if label_size == image.size[::-1] and orientation.swaps_sides(image.noted):
        other = "ignore" if image.is_turned else "apply"
        why = (
            f"the image notes a rotation (EXIF orientation {image.noted}), and the mask fits the "
            f"picture of --exif={other}."
        )
    raise SizeMismatchError(
        f"{pair.label} is {label_size[1]}x{label_size[0]} pixels, but its image {pair.image} "
        f"is {image.size[1]}x{image.size[0]}: {why}"
    )


def _histogram(ids: np.ndarray) -> np.ndarray:
    """Counts the pixels of each byte value: `(256,)` int64."""
    size = np.iinfo(np.uint8).max + 1
    # Many times as fast as np.bincount, but it answers in float32: so few rows at a time that
    # every count is exact.
    rows = max(1, _EXACT_FLOAT32 // ids.shape[1])
    parts = (ids[top : top + rows] for top in range(0, len(ids), rows))
    counts = (cv2.calcHist([part], [0], None, [size], [0, size]) for part in parts)
    return sum(part.ravel().astype(np.int64) for part in counts)
