"""What a converted data set holds, in words: from its manifest alone."""

from c3tf.data.manifest import Manifest, SplitInfo

_BAR = 24
_SHOWN_SIZES = 3


def text(manifest: Manifest) -> str:
    """Describes a data set: origin, counts, sizes, and the share of each class as bars.

    Args:
        manifest: of the data set.

    Returns:
        Lines of text.
    """
    lines = [
        f"{manifest.data_dir}: {manifest.dataset}, contents {manifest.digest()}",
        f"made by {made_by(manifest)}",
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


def made_by(manifest: Manifest) -> str:
    """Names the converter, its version, the packages its bytes depend on, and the source."""
    versions = ", ".join(f"{name} {version}" for name, version in manifest.software.items())
    beside = f" ({versions})" if versions else ""
    return f"{manifest.converter} {manifest.converter_version}{beside} from {manifest.source}"


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
