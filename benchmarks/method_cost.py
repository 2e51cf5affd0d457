"""Measures what the method costs beside the network, part by part.

python benchmarks/method_cost.py [--quick] [--json=PATH]

Each part runs as the train step calls it (compiled, forward and backward where there is one), in
turns with a bare operation that it cannot do without, and with the executable paper
(`c3tf.method.plain`). The ratio to the bare operation in the same run is the result; seconds are
magnitudes. Peak memory and the growth with the number of images and with the block size follow.

The program restarts itself with malloc settings that keep freed memory (see `side_by_side.MALLOC`).
It needs no data and no GPU; where there is one, TensorFlow uses it.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any, NamedTuple

from absl import app, flags

import side_by_side

REPOSITORY = Path(__file__).resolve().parents[1]


class Sizes(NamedTuple):
    """How large the parts are; the full sizes are those of a Cityscapes step at 256 x 512.

    Attributes:
        height: image height, pixels.
        width: image width, pixels.
        num_classes: C.
        grid: rows and columns of the feature maps.
        channels: channels of the embedding.
        present: classes per image.
        few: images in a step on one device.
        many: images in the paper's step.
        images: numbers of images over which growth is measured.
        blocks: sizes of a block over which growth is measured, in pairs.
        repeats: turns.
    """

    height: int = 256
    width: int = 512
    num_classes: int = 19
    grid: tuple[int, int] = (33, 65)
    channels: int = 256
    present: int = 11
    few: int = 8
    many: int = 32
    images: tuple[int, ...] = (4, 8, 16, 32)
    blocks: tuple[int, ...] = (2**18, 2**20, 2**22, 2**24)
    repeats: int = 15


QUICK = Sizes(32, 64, 5, (5, 9), 16, 3, 4, 8, (2,), (2**8,), 2)

# A part may cost this many times its bare operation.
LIMITS = {
    "dcrs": 3.0,
    "contrast": 2.0,
    "contrast, many images": 2.0,
    "cutmix": 2.0,
    "cutmix, forward and backward": 2.0,
}


def define_flags() -> None:
    """Defines the benchmark's flags."""
    flags.DEFINE_bool("quick", False, "Tiny sizes: shows that it runs, measures nothing.")
    flags.DEFINE_string("json", None, "File to write the results to.")
    flags.DEFINE_string(
        "memory_of", None, "Only print the peak memory of one way (for the benchmark itself)."
    )


def measure_parts(sizes: Sizes) -> dict[str, dict[str, Any]]:
    """Times every part against its bare operation and the plain version."""
    import method_cases as cases

    image = (sizes.height, sizes.width, sizes.num_classes)
    parts = {}
    print("part | size | ours | work anyway | bare | ratio | at most | plain, ratio")

    def add(name: str, size: str, case: cases.Case, repeats: int = sizes.repeats) -> None:
        seconds = side_by_side.race(case, repeats)
        anyway = seconds.get("anyway", 0.0)
        parts[name] = {
            "size": size,
            "seconds": seconds,
            "ratio": (seconds["ours"] - anyway) / seconds["bare"],
            "plain_ratio": (seconds["plain"] - anyway) / seconds["bare"],
            "limit": LIMITS[name],
        }
        show_part(name, parts[name])

    half = sizes.few // 2
    add("dcrs", f"{half} x {image[0]} x {image[1]} x {image[2]}", cases.dcrs(half, *image))
    for name, number in (("contrast", sizes.few), ("contrast, many images", sizes.many)):
        contrast = contrast_case(sizes, number)
        size = f"{number} x {sizes.grid[0]} x {sizes.grid[1]} x {sizes.channels}"
        repeats = sizes.repeats if number == sizes.few else max(sizes.repeats // 3, 2)
        add(name, f"{size}, {contrast.anchors()} anchors", contrast.case(), repeats)
    for name, backward in (("cutmix", False), ("cutmix, forward and backward", True)):
        size = f"{sizes.few} x {image[0]} x {image[1]}"
        add(name, size, cases.mixing(sizes.few, *image, backward=backward))
    return parts


def contrast_case(sizes: Sizes, images: int) -> Any:
    """Creates the contrast of a number of images."""
    import method_cases as cases

    return cases.ContrastCase(images, *sizes.grid, sizes.channels, sizes.num_classes, sizes.present)


def measure_growth(sizes: Sizes) -> dict[str, dict[int, float]]:
    """Times the parts at several numbers of images; seconds per image.

    Of the contrast, that is what it takes beyond the product of anchors and keys, which grows with
    the square of the images.
    """
    import method_cases as cases

    image = (sizes.height, sizes.width, sizes.num_classes)
    growth = {"dcrs": {}, "contrast beyond its products": {}, "cutmix": {}}
    repeats = max(sizes.repeats // 3, 2)
    for number in sizes.images:
        contrast = contrast_case(sizes, number).case()
        seconds = side_by_side.race({key: contrast[key] for key in ("ours", "bare")}, repeats)
        beyond = seconds["ours"] - seconds["bare"]
        growth["contrast beyond its products"][number] = beyond / number
        for name, case in (
            ("dcrs", cases.dcrs(number // 2, *image)),
            ("cutmix", cases.mixing(number, *image, backward=True)),
        ):
            ways = {key: case[key] for key in ("ours", "anyway") if key in case}
            seconds = side_by_side.race(ways, repeats)
            growth[name][number] = (seconds["ours"] - seconds.get("anyway", 0.0)) / number
    print("\nmilliseconds per image, by the number of images")
    for name, values in growth.items():
        cells = (f"{number}: {1000 * value:.2f}" for number, value in values.items())
        print(" | ".join([name, *cells]), flush=True)
    return growth


def measure_memory(sizes: Sizes) -> dict[str, dict[str, float]]:
    """Measures the contrast of many images, each way in a process of its own."""
    quick = ["--quick"] if sizes is QUICK else []
    ways = [*map(str, sizes.blocks), *([] if quick else ["plain"])]
    print("\ncontrast of many images, by pairs in a block | seconds | added | peak of the process")
    memory = {}
    for way in ways:
        memory[way] = used = side_by_side.in_new_process([*quick, f"--memory_of={way}"])
        cells = (
            f"{used['seconds']:.2f} s",
            *(f"{used[k] / 1e9:.2f} GB" for k in ("added", "peak")),
        )
        print(" | ".join([way, *cells]), flush=True)
    return memory


def memory_of(way: str, sizes: Sizes) -> dict[str, float]:
    """Runs the contrast of many images and returns what it took.

    Args:
        way: pairs in a block, or `plain`.
        sizes: the sizes.

    Returns:
        Peak bytes of the process, those that the contrast added to its inputs, and seconds.
    """
    contrast = contrast_case(sizes, sizes.many)
    run = contrast.plain_way() if way == "plain" else contrast.ours_in_blocks(int(way))
    before = side_by_side.peak_memory()
    seconds = side_by_side.race({way: run}, max(sizes.repeats // 5, 1))[way]
    peak = side_by_side.peak_memory()
    return {"peak": peak, "added": peak - before, "seconds": seconds}


def show_part(name: str, part: dict[str, Any]) -> None:
    """Prints one row of the table of parts."""
    cells = [
        part["size"],
        *(f"{part['seconds'].get(way, 0):.4f} s" for way in ("ours", "anyway", "bare")),
        f"{part['ratio']:.2f}",
        f"{part['limit']:g}",
        f"{part['plain_ratio']:.1f}",
    ]
    print(" | ".join([name, *cells]), flush=True)


def main(_: list[str]) -> None:
    """Runs the benchmark."""
    options = flags.FLAGS
    sizes = QUICK if options.quick else Sizes()
    if options.memory_of:
        print(json.dumps(memory_of(options.memory_of, sizes)))
        return
    results = {
        "settings": {
            "cores": os.cpu_count(),
            "malloc": side_by_side.MALLOC,
            "quick": options.quick,
        },
        "parts": measure_parts(sizes),
        "growth": measure_growth(sizes),
        "memory": measure_memory(sizes),
    }
    if options.json:
        Path(options.json).write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    # Before TensorFlow is imported, and malloc has made up its mind.
    side_by_side.restart_with_malloc()
    sys.path.insert(0, str(REPOSITORY))
    define_flags()
    app.run(main)
