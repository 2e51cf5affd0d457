"""The conversion command: the flags, the conversion and the summary all data sets share."""

import functools
from collections.abc import Callable, Sequence

from absl import flags

from c3tf.data.manifest import FILE_NAME, LeftOut, Manifest
from c3tf.data.record import IMAGE_FORMATS
from c3tf.errors import DataError
from c3tf.io import files, orientation, streams, writable
from c3tf.labels import LabelMap
from c3tf.progress import Progress
from data_tools import inspect, verify
from data_tools.conversion import convert
from data_tools.conversion.example import VAL_LABEL_SIZES, ConversionOptions
from data_tools.conversion.pairing import SourceListing
from data_tools.conversion.runners import LocalRunner, Runner

FLAGS = flags.FLAGS
_SHOWN = 5
# Fewer rows than one cell of a network's grid hold nothing to segment.
_MIN_HEIGHT, _MAX_HEIGHT = 16, 16384


def define_flags(default_height: int = 0, source: bool = True, palette_masks: bool = False) -> None:
    """Defines the flags of a conversion command, which calls this only when it is the program.

    Args:
        default_height: default of `--height`.
        source: define `--source`, one directory of raw data.
        palette_masks: default of `--palette_masks`, for data sets that publish such masks.
    """
    if source:
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
        upper_bound=_MAX_HEIGHT,
    )
    flags.register_validator(
        "height",
        lambda value: value == 0 or value >= _MIN_HEIGHT,
        f"must be 0, which keeps the size, or {_MIN_HEIGHT} to {_MAX_HEIGHT} rows.",
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
    flags.DEFINE_bool(
        "palette_masks",
        palette_masks,
        "Take the indices of palette masks (as in PASCAL VOC) for ids, instead of refusing them.",
    )
    flags.DEFINE_enum("exif", orientation.DEFAULT, orientation.RULES, orientation.HELP)
    flags.DEFINE_bool(
        "reencode",
        False,
        "Encode images anew that lack nothing but the end of their file (a JPEG without its end "
        "mark, a PNG without its last chunk), and say how many. Otherwise they are refused.",
    )
    flags.DEFINE_integer("num_workers", 0, "Processes; 0 uses all cores.", lower_bound=0)
    flags.DEFINE_integer("shard_mb", 128, "Approximate megabytes per shard.", lower_bound=1)
    flags.DEFINE_bool(
        "strict",
        False,
        "Stop if an image has no label, a label no image, or the two have different sizes, which "
        "are otherwise left out and listed; or if a published data set is not complete.",
    )
    flags.DEFINE_bool(
        "skip_bad", False, "Leave unusable files out and list them in dataset.json; else stop."
    )
    flags.DEFINE_bool("verify", False, "Read everything again when it is written, and compare.")
    flags.DEFINE_string(
        "beam_runner", "", "Convert as an Apache Beam pipeline: DirectRunner, DataflowRunner, ..."
    )
    flags.DEFINE_multi_string(
        "beam_option", [], "NAME=VALUE for Beam, e.g. direct_num_workers=2; may be repeated."
    )


def convert_source(
    discover: Callable[[], SourceListing],
    dataset: str,
    label_map: LabelMap,
    ignored_colors: tuple[tuple[int, int, int], ...] = (),
    converter: str | None = None,
    red_masks: bool = False,
) -> Manifest:
    """Converts what `discover` lists, as the flags say, and prints a summary.

    Args:
        discover: lists images and labels; called when the flags are known to fit.
        dataset: short name of the data set.
        label_map: its classes.
        ignored_colors: colours of painted masks that belong to no class.
        converter: the command's module; `data_tools.{dataset}` when absent.
        red_masks: masks hold the ids in their red channel.

    Returns:
        The manifest that was written.

    Raises:
        UserError: the data or the output are not acceptable.
    """
    runner = _runner()
    if not FLAGS.output:
        raise DataError("--output must name a directory. Received: --output=")
    if FLAGS.strict and FLAGS.skip_bad:
        raise DataError("--strict and --skip_bad exclude each other.")
    if not files.is_remote(FLAGS.output):
        writable.check_folder(FLAGS.output)
    listing = discover()
    if FLAGS.palette_masks and listing.label_ids == "colors":
        raise DataError("--palette_masks is for masks of ids; leave it out for painted masks.")
    _print_listing(listing)
    if FLAGS.strict and (missing := listing.missing()):
        raise DataError(f"{listing.root} is not the published data set (--strict): {missing[0]}")
    options = ConversionOptions(
        dataset=dataset,
        label_map=label_map,
        label_ids=listing.label_ids,
        palette_masks=FLAGS.palette_masks,
        ignored_colors=ignored_colors,
        height=FLAGS.height,
        image_format=FLAGS.image_format,
        jpeg_quality=FLAGS.jpeg_quality,
        val_label_size=FLAGS.val_label_size,
        exif=FLAGS.exif,
        reencode=FLAGS.reencode,
        red_masks=red_masks,
    )
    manifest = convert.convert(
        listing,
        FLAGS.output,
        options,
        converter=converter or f"data_tools.{dataset}",
        runner=runner,
        shard_mb=FLAGS.shard_mb,
        strict=FLAGS.strict,
        skip_bad=FLAGS.skip_bad,
        say=print,
    )
    for split, info in manifest.splits.items():
        known = set(listing.left_out.get(split, ()))
        _print_left_out(split, [entry for entry in info.left_out if entry not in known])
    print(inspect.summary(manifest))
    print(f"written to {manifest.data_dir}")
    if FLAGS.verify:
        verify.report(manifest.data_dir, FLAGS.num_workers)
    return manifest


def _runner() -> Runner:
    """Returns what the flags choose to convert with."""
    start_progress = functools.partial(Progress, unit="images")
    if not FLAGS.beam_runner:
        if FLAGS.beam_option:
            raise DataError("--beam_option needs --beam_runner.")
        return LocalRunner(FLAGS.num_workers, start_progress)
    if FLAGS.num_workers:
        raise DataError(
            "--num_workers does not reach Beam. Use the runner's own option, e.g. "
            "--beam_option=direct_num_workers=2."
        )
    # Imports Apache Beam, which only this needs.
    from data_tools.conversion import beam

    return beam.BeamRunner(FLAGS.beam_runner, FLAGS.beam_option)


def _print_listing(listing: SourceListing) -> None:
    """Prints what was recognised and what has no partner."""
    counts: dict[str, int] = {}
    for pair in listing.pairs:
        counts[pair.split] = counts.get(pair.split, 0) + 1
    print(f"{listing.layout}: " + ", ".join(f"{split} {n}" for split, n in counts.items()))
    for line in (*listing.missing(), *listing.notices):
        print(f"  {streams.shown(line)}")
    for split, entries in listing.left_out.items():
        _print_left_out(split, entries)


def _print_left_out(split: str, entries: Sequence[LeftOut]) -> None:
    """Prints the first few files that are left out."""
    for entry in entries[:_SHOWN]:
        print(f"  {split}, left out: {streams.shown(f'{entry.source}: {entry.reason}')}")
    if len(entries) > _SHOWN:
        print(f"  {split}, left out: {len(entries) - _SHOWN} more, listed in {FILE_NAME}")
