"""Measures converters against plain decoding, resizing and encoding of the same files.

    python benchmarks/convert_rate.py [--quick] [--workers=2] [--json=PATH]

Plain means: as many processes read each image and mask with Pillow, resize the image with OpenCV's
exact area average and the mask by nearest pixel, and encode them as JPEG (quality 95) and PNG in
memory, and nothing else. The converter also checks every file and id, counts pixels, writes
shards, checksums and the manifest. The plain loop runs twice: as anybody would write it, and in
processes that keep the memory of large arrays as the converter's do (`workers.keep_memory`), which
takes much of its time away. All run in turn several times, starting their processes each time; the
rates come from the fastest run of each, and the ratios are medians over the rounds.

Peak memory is that of a whole conversion of 2048x1024 images as a command, sampled every 50 ms
over all its processes: the proportional set size (PSS: shared pages counted once), and for
comparison the sum of resident set sizes (RSS).
"""

import argparse
import dataclasses
import io
import json
import multiprocessing
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from c3tf.labels import CITYSCAPES
from data_tools import bdd100k, cityscapes
from data_tools.conversion import convert, workers
from data_tools.conversion.example import ConversionOptions, SourcePair
from data_tools.conversion.runners import LocalRunner

ROOT = Path(__file__).resolve().parent.parent
_HEIGHT = 512
_QUALITY = 95
# Files that differ; the others are links to them. One JPEG in eight is decoded twice, to see
# whether it is cut.
_DISTINCT = 24
_KILOBYTE = 1024


@dataclasses.dataclass(frozen=True)
class Case:
    """A data set to convert: its shape, its size, and how it is found."""

    name: str
    size: tuple[int, int]
    image_suffix: str


CASES = (
    Case("BDD100K 1280x720 JPEG", (720, 1280), ".jpg"),
    Case("Cityscapes 2048x1024 PNG", (1024, 2048), ".png"),
)


def main() -> None:
    """Runs the cases the arguments ask for and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="few images and rounds")
    parser.add_argument("--workers", type=int, default=2, help="processes of both sides")
    parser.add_argument("--images", type=int, help="images per case")
    parser.add_argument("--rounds", type=int, help="runs of each side")
    parser.add_argument("--json", help="file to write the results to")
    arguments = parser.parse_args()
    images = arguments.images or (40 if arguments.quick else 300)
    rounds = arguments.rounds or (2 if arguments.quick else 5)
    # Imported before any clock starts, as in a conversion of many images.
    import data_tools.conversion.shards  # noqa: F401

    results = []
    with tempfile.TemporaryDirectory() as folder:
        for case in CASES:
            source = _write(Path(folder) / case.image_suffix[1:], case, images)
            results.append(_compare(case, source, Path(folder), arguments.workers, rounds))
        memory = _peak_memory(Path(folder), CASES[1], arguments.workers)
    report = {
        "images": images,
        "rounds": rounds,
        "workers": arguments.workers,
        "cores": os.cpu_count(),
        "machine": platform.machine(),
        "rates": results,
        "peak_memory_2048x1024": memory,
    }
    _print(report)
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(report, indent=1) + "\n")


def _write(root: Path, case: Case, count: int) -> Path:
    """Writes a raw data set of textured images; most files are links."""
    rng = np.random.default_rng(0)
    height, width = case.size
    for index in range(count):
        image, mask = (
            root / path
            for path in (
                f"images/10k/train/{index:05d}.jpg",
                f"labels/sem_seg/masks/train/{index:05d}.png",
            )
        )
        if case.image_suffix == ".png":
            name = f"a_{index:06d}_000019"
            image = root / f"leftImg8bit/train/a/{name}_leftImg8bit.png"
            mask = root / f"gtFine/train/a/{name}_gtFine_labelIds.png"
        for path in (image, mask):
            path.parent.mkdir(parents=True, exist_ok=True)
        if index >= _DISTINCT:
            for path in (image, mask):
                first = path.name.replace(f"{index:05d}", f"{index % _DISTINCT:05d}", 1)
                os.link(path.with_name(first), path)
            continue
        coarse = rng.integers(0, 256, (height // 16, width // 16, 3), np.uint8)
        smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.BICUBIC))
        noisy = smooth + rng.normal(0, 3, smooth.shape)
        Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8)).save(image, quality=_QUALITY)
        ids = rng.choice([7, 8, 11], (height // 16, width // 16)).astype(np.uint8)
        ids = ids if case.image_suffix == ".png" else ids - 7
        Image.fromarray(np.kron(ids, np.ones((16, 16), np.uint8))).save(mask)
    _link_val(root)
    return root


def _link_val(root: Path) -> None:
    """Gives the data set one validation image, which the layouts must have."""
    for train in sorted(root.rglob("train")):
        first = min(path for path in train.rglob("*") if path.is_file())
        name = first.name.replace("00000", "99999", 1)
        val = train.parent / "val" / first.relative_to(train).with_name(name)
        val.parent.mkdir(parents=True, exist_ok=True)
        os.link(first, val)


def _discover(source: Path, case: Case):
    module = cityscapes if case.image_suffix == ".png" else bdd100k
    return module.discover(str(source))


def _compare(case: Case, source: Path, folder: Path, num_workers: int, rounds: int) -> dict:
    """Times both sides in turn."""
    found = _discover(source, case)
    options = ConversionOptions("benchmark", CITYSCAPES, label_ids=found.label_ids, height=_HEIGHT)
    plain, kept, ours = [], [], []
    for index in range(rounds):
        plain.append(_seconds(lambda: _plain_all(found.pairs, num_workers, _one_thread)))
        kept.append(_seconds(lambda: _plain_all(found.pairs, num_workers, _keep_memory)))
        output = folder / f"out-{case.image_suffix[1:]}-{index}"
        ours.append(
            _seconds(
                lambda output=output: convert.convert(
                    found, str(output), options, "benchmark", runner=LocalRunner(num_workers)
                )
            )
        )
    count = len(found.pairs)
    report = {"case": case.name, "converter_per_second": count / min(ours)}
    for name, seconds in (("plain", plain), ("plain_kept_memory", kept)):
        ratios = [p / o for p, o in zip(seconds, ours, strict=True)]
        report[name] = {
            "per_second": count / min(seconds),
            "ratio_median": statistics.median(ratios),
            "ratios": ratios,
        }
    return report


def _seconds(call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _plain_all(items: tuple[SourcePair, ...], num_workers: int, start: Callable[[], None]) -> None:
    """Applies the plain steps to all images in processes that begin with `start`."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(num_workers, mp_context=context, initializer=start) as executor:
        for _ in executor.map(_plain, items, chunksize=4):
            pass


def _one_thread() -> None:
    cv2.setNumThreads(1)


def _keep_memory() -> None:
    _one_thread()
    workers.keep_memory()


def _plain(item: SourcePair) -> int:
    """Decodes, resizes and encodes an image and its mask."""
    image = Image.open(item.image).convert("RGB")
    width = round(image.width * _HEIGHT / image.height)
    small = cv2.resize(np.asarray(image), (width, _HEIGHT), interpolation=cv2.INTER_AREA)
    encoded = io.BytesIO()
    Image.fromarray(small).save(encoded, "JPEG", quality=_QUALITY)
    mask = Image.open(item.label).resize((width, _HEIGHT), Image.Resampling.NEAREST)
    encoded_mask = io.BytesIO()
    mask.save(encoded_mask, "PNG")
    return encoded.tell() + encoded_mask.tell()


def _peak_memory(folder: Path, case: Case, num_workers: int) -> dict:
    """Runs the command and samples the memory of all its processes."""
    command = [
        *(sys.executable, "-m", "data_tools.cityscapes", f"--num_workers={num_workers}"),
        *(f"--source={folder / case.image_suffix[1:]}", f"--output={folder / 'memory'}"),
    ]
    peak = {"pss_megabytes": 0.0, "rss_megabytes": 0.0, "processes": 0}
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while process.poll() is None:
            now = np.asarray([_memory(pid) for pid in _tree(process.pid)]) / _KILOBYTE
            peak["processes"] = max(peak["processes"], len(now))
            for key, total in zip(("pss_megabytes", "rss_megabytes"), now.sum(0), strict=True):
                peak[key] = max(peak[key], float(total))
            time.sleep(0.05)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with {process.returncode}")
    return peak


def _tree(pid: int) -> list[int]:
    """Returns a process and all its descendants."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [int(c) for t in tasks for c in (t / "children").read_text().split()]
    except (FileNotFoundError, ProcessLookupError):
        return [pid]
    return [pid, *(inner for child in children for inner in _tree(child))]


def _memory(pid: int) -> tuple[int, int]:
    """Returns PSS and RSS of a process in kilobytes; 0 once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    except (FileNotFoundError, ProcessLookupError):
        return 0, 0
    fields = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return fields.get("Pss", 0), fields.get("Rss", 0)


def _print(report: dict) -> None:
    """Prints the results as a table."""
    print(f"{report['images']} images, {report['workers']} processes, {report['cores']} cores")
    heads = ("plain/s", "kept/s", "converter/s", "of plain", "of kept")
    print(f"{'case':<26}" + "".join(f"{head:>12}" for head in heads))
    for row in report["rates"]:
        plain, kept = row["plain"], row["plain_kept_memory"]
        rates = (plain["per_second"], kept["per_second"], row["converter_per_second"])
        print(
            f"{row['case']:<26}"
            + "".join(f"{rate:>12.1f}" for rate in rates)
            + "".join(f"{side['ratio_median']:>12.1%}" for side in (plain, kept))
        )
    memory = report["peak_memory_2048x1024"]
    print(
        f"peak memory at 2048x1024, {memory['processes']} processes: "
        f"{memory['pss_megabytes']:.0f} MB PSS, {memory['rss_megabytes']:.0f} MB RSS"
    )


if __name__ == "__main__":
    main()
