"""What the conversion commands share: flags, progress, the summary."""

import sys
import time

from absl import flags

from c3tf.data.errors import DataError
from c3tf.data.example import IMAGE_FORMATS
from c3tf.data.manifest import Manifest, SplitInfo
from c3tf.labels import LabelMap
from data_tools import convert
from data_tools.discovery.common import Found
from data_tools.example import VAL_LABEL_SIZES, Options

FLAGS = flags.FLAGS
_SECONDS_BETWEEN = 1.0
_SHOWN = 5


def define_flags(default_height: int = 0) -> None:
    """Defines the flags of a conversion command, which calls this only when it is the program.

    Args:
        default_height: default of `--height`.
    """
    flags.DEFINE_string("source", None, "Directory of the raw data.", required=True)
    flags.DEFINE_string(
        "output",
        None,
        "Directory to make. It must be absent or empty; a stopped conversion continues.",
        required=True,
    )
    flags.DEFINE_integer(
        "height",
        default_height,
        "Rows of the stored images; the width follows. Images are area-averaged, labels take the "
        "nearest pixel. 0 keeps the size.",
        lower_bound=0,
    )
    flags.DEFINE_enum("image_format", "jpeg", IMAGE_FORMATS, "How images are stored.")
    flags.DEFINE_integer(
        "jpeg_quality",
        95,
        "Quality of images that are encoded anew. A JPEG of the wanted size is kept as it is.",
        lower_bound=1,
        upper_bound=100,
    )
    flags.DEFINE_enum(
        "val_label_size",
        "record",
        VAL_LABEL_SIZES,
        "Size of validation labels: as the stored image, or as in the source.",
    )
    flags.DEFINE_integer("num_workers", 0, "Processes; 0 uses all cores.", lower_bound=0)
    flags.DEFINE_integer("shard_mb", 128, "Approximate megabytes per shard.", lower_bound=1)
    flags.DEFINE_bool("strict", False, "Stop if an image has no label or a label has no image.")
    flags.DEFINE_bool(
        "skip_bad", False, "Leave unusable files out and list them in dataset.json; else stop."
    )


def convert_found(found: Found, dataset: str, label_map: LabelMap) -> Manifest:
    """Converts what a discovery found, as the flags say, and prints a summary.

    Args:
        found: images and labels.
        dataset: short name of the data set.
        label_map: its classes.

    Returns:
        The manifest that was written.

    Raises:
        DataError: the data or the output are not acceptable.
    """
    if FLAGS.strict and FLAGS.skip_bad:
        raise DataError("--strict and --skip_bad exclude each other.")
    _print_found(found)
    options = Options(
        dataset=dataset,
        label_map=label_map,
        label_ids=found.label_ids,
        height=FLAGS.height,
        image_format=FLAGS.image_format,
        jpeg_quality=FLAGS.jpeg_quality,
        val_label_size=FLAGS.val_label_size,
    )
    manifest = convert.convert(
        found,
        FLAGS.output,
        options,
        converter=f"data_tools.{dataset}",
        num_workers=FLAGS.num_workers,
        shard_mb=FLAGS.shard_mb,
        strict=FLAGS.strict,
        skip_bad=FLAGS.skip_bad,
        progress=ProgressLine(),
    )
    print(summary(manifest))
    return manifest


def _print_found(found: Found) -> None:
    """Prints what was recognised and what has no partner."""
    counts: dict[str, int] = {}
    for item in found.items:
        counts[item.split] = counts.get(item.split, 0) + 1
    print(f"{found.layout}: " + ", ".join(f"{split} {n}" for split, n in counts.items()))
    for split, entries in found.left_out.items():
        for entry in entries[:_SHOWN]:
            print(f"  {split}, left out: {entry.source}: {entry.reason}")
        if len(entries) > _SHOWN:
            print(f"  {split}, left out: {len(entries) - _SHOWN} more")


class ProgressLine:
    """A line on stderr with the count, the rate and the remaining time, at most once a second."""

    def __init__(self) -> None:
        self._started: float | None = None
        self._shown = 0.0

    def __call__(self, done: int, total: int) -> None:
        """Shows that `done` of `total` images are converted."""
        now = time.monotonic()
        if self._started is None:
            # The first image also waits for the workers to start; it says nothing of the rate.
            self._started = self._shown = now
            return
        if done < total and now - self._shown < _SECONDS_BETWEEN:
            return
        self._shown = now
        rate = (done - 1) / max(now - self._started, 1e-9)
        line = f"{done}/{total} images, {rate:.1f} images/s, {(total - done) / rate:.0f} s left"
        end = "\n" if done == total or not sys.stderr.isatty() else "\r"
        print(f"{line:<60}", end=end, file=sys.stderr, flush=True)


def summary(manifest: Manifest) -> str:
    """Describes a data set: images and megabytes per split, share of pixels per class.

    Args:
        manifest: of the data set.

    Returns:
        Lines of text.
    """
    lines = []
    for split, info in manifest.splits.items():
        megabytes = sum(shard.bytes for shard in info.shards) / 1e6
        lines.append(
            f"{split}: {info.count} images ({info.labeled} labeled) in {len(info.shards)} shards, "
            f"{megabytes:.1f} MB, {len(info.left_out)} files left out"
        )
    labeled = {split: info for split, info in manifest.splits.items() if info.labeled}
    lines.append(f"{'share of label pixels':<24}" + "".join(f"{split:>10}" for split in labeled))
    rows = [*enumerate(manifest.label_map.class_names), (None, "(ignored)")]
    for index, name in rows:
        shares = [_share(info, index) for info in labeled.values()]
        lines.append(f"  {name:<22}" + "".join(f"{share:>10.3%}" for share in shares))
    return "\n".join([*lines, f"written to {manifest.data_dir}"])


def _share(info: SplitInfo, index: int | None) -> float:
    """Returns the share of one class, or of the ignored pixels, in all label pixels."""
    value = info.ignored_pixels if index is None else info.class_pixels[index]
    return value / max(sum(info.class_pixels) + info.ignored_pixels, 1)
