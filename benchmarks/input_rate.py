"""Measures the input pipeline beside the usual PyTorch-style input: images per second per core.

    PYTHONPATH=. python benchmarks/input_rate.py

Both sides run in one process on one and the same core, with one thread, in turns. A rate is images
per second of processor time, so that other programs on the machine disturb it little; the best of
several rounds counts. Both start from the same pixels, as TFRecords here and as files in memory
there. `same bytes` compares equal encoded images, `original` the records as converted with the
original PNG of 2048x1024, which the other side has to resize every time. Images are drawn street
scenes, or the pictures in --images. OpenCV is left out where it is not installed
(benchmarks/requirements.txt).
"""

import hashlib
import io
import itertools
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import tensorflow as tf
from absl import flags
from PIL import Image

from c3tf import cli
from c3tf.config import Config
from c3tf.data import manifest as manifests
from c3tf.data import pipeline, samples, splits, tfrecord
from c3tf.data.sources import Positions
from c3tf.data.training_data import TrainingData, open_training_data
from c3tf.errors import UserError
from c3tf.labels import CITYSCAPES
from data_tools.street_scenes.render import render
from input_reference import Reference

FLAGS = flags.FLAGS
_PAIRS = 4
KINDS = ("unlabeled sample", "labeled sample", "paired batch")
# Images that one call of a side's function gives, whatever the kind.
_IMAGES = 2 * _PAIRS


class Setting(NamedTuple):
    """One of the two data sets of the paper: sizes are height and width."""

    name: str
    original: tuple[int, int]
    stored: tuple[int, int]
    crop: tuple[int, int]
    scales: tuple[float, ...]


SETTINGS = (
    Setting("256x512 from 1024x512", (1024, 2048), (512, 1024), (256, 512), ()),
    Setting("512x512 from 1280x720", (720, 1280), (720, 1280), (512, 512), (0.75, 1.0, 1.25)),
)
QUICK = (Setting("quick", (128, 256), (64, 128), (32, 64), ()),)


class Pictures(NamedTuple):
    """Encoded images and labels, one each per picture."""

    original: list[bytes]
    original_labels: list[bytes]
    jpeg: list[bytes]
    png: list[bytes]
    labels: list[bytes]


def main() -> None:
    """Measures and prints what the flags ask for."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    cv2 = _opencv()
    rows = []
    print(f"{'images per second of one core':58}{'c3tf':>8}{'Pillow':>8}{'OpenCV':>8}  ratios")
    for setting in QUICK if FLAGS.quick else SETTINGS:
        pictures = make_pictures(setting, FLAGS.images, 2 if FLAGS.quick else 4)
        sizes = (1, 1) if FLAGS.quick else (FLAGS.rounds, 4)
        for row in measure(setting, pictures, cv2, *sizes):
            print(_line(row), flush=True)
            rows.append(row)
    if FLAGS.json:
        Path(FLAGS.json).write_text(json.dumps({"rows": rows}, indent=1) + "\n")


def _line(row: dict) -> str:
    name = f"{row['setting']}, {row['bytes']}, {row['kind']}"
    rates = (row["rates"].get(side, float("nan")) for side in ("c3tf", "Pillow", "OpenCV"))
    ratios = ", ".join(f"{ratio:.2f}" for ratio in row["ratios"].values())
    return f"{name:58}" + "".join(f"{rate:8.1f}" for rate in rates) + f"  {ratios}"


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("images", None, "Directory of pictures to use instead of drawn scenes.")
    flags.DEFINE_integer("rounds", 5, "Rounds; the best one counts.", lower_bound=1)
    flags.DEFINE_bool("quick", False, "Check that everything runs, on tiny images.")
    flags.DEFINE_string("json", None, "Also write the figures to this file.")


def measure(
    setting: Setting, pictures: Pictures, cv2: ModuleType | None, rounds: int, calls: int
) -> Iterator[dict]:
    """Measures all kinds of work from all kinds of bytes.

    Args:
        setting: sizes.
        pictures: images and labels.
        cv2: the OpenCV module, if there.
        rounds: times that everything is measured; the best counts.
        calls: calls per round, of eight images each.

    Yields:
        One row per pair of bytes and kind: rates in images per second per core, and ratios.
    """
    sides = {"Pillow": None} | ({"OpenCV": cv2} if cv2 else {})
    with tempfile.TemporaryDirectory() as folder:
        for kind, (bytes_name, ours, theirs, labels, resize) in itertools.product(
            KINDS, _comparisons(setting, pictures)
        ):
            data, config = _open(Path(folder) / bytes_name, ours, pictures.labels, setting)
            functions = {"c3tf": _our_function(kind, data, config)}
            for name, module in sides.items():
                rng = np.random.default_rng(0)
                reference = Reference(setting.crop, resize, setting.scales, module, rng)
                functions[name] = _their_function(kind, reference, theirs, labels)
            rates = _rates(functions, rounds, calls)
            ratios = {name: rates["c3tf"] / rates[name] for name in sides}
            row = {"setting": setting.name, "bytes": bytes_name, "kind": kind}
            yield row | {"rates": rates, "ratios": ratios}


def _comparisons(setting: Setting, pictures: Pictures) -> Iterator[tuple]:
    """Yields a name, our bytes, their bytes, their labels, and the size they resize to."""
    yield "same JPEG", pictures.jpeg, pictures.jpeg, pictures.labels, None
    yield "same PNG", pictures.png, pictures.png, pictures.labels, None
    if setting.original != setting.stored:
        original = pictures.original, pictures.original_labels, setting.stored
        yield "JPEG against original PNG", pictures.jpeg, *original


def _rates(functions: dict[str, Callable[[], object]], rounds: int, calls: int) -> dict[str, float]:
    """Returns images per second of processor time, sides taking turns."""
    best = dict.fromkeys(functions, float("inf"))
    for function in functions.values():
        for _ in range(2):
            function()
        _settle()
    for _ in range(rounds):
        for name, function in functions.items():
            start = time.process_time()
            for _ in range(calls):
                function()
            _settle()
            best[name] = min(best[name], (time.process_time() - start) / (calls * _IMAGES))
    return {name: 1 / seconds for name, seconds in best.items()}


def _settle() -> None:
    """Waits until no thread works: what tf.data prepares ahead is paid for in its own turn."""
    before, now = -1.0, time.process_time()
    while now - before > 0.001:
        time.sleep(0.1)
        before, now = now, time.process_time()


def _our_function(kind: str, data: TrainingData, config: Config) -> Callable[[], object]:
    """Returns a function that gives the next images of c3tf's pipeline."""
    if kind == "paired batch":
        dataset = pipeline.semi_supervised_batches(data, config, 0, ahead=0)
    else:
        labeled = kind == "labeled sample"
        images = data.labeled if labeled else data.unlabeled
        view = (
            samples.labeled_view(config, images.opener, data.num_classes)
            if labeled
            else samples.unlabeled_view(config, images.opener)
        )
        positions = Positions(0)
        dataset = tf.data.Dataset.zip(images.source(positions), positions.dataset()).map(view)
        dataset = dataset.batch(_IMAGES)
    options = tf.data.Options()
    options.threading.private_threadpool_size = 1
    iterator = iter(dataset.with_options(options))
    return lambda: next(iterator)


def _their_function(
    kind: str, reference: Reference, images: list[bytes], labels: list[bytes]
) -> Callable[[], object]:
    """Returns a function that gives the next images of the reference."""
    turns = itertools.cycle(zip(images, labels, strict=True))
    if kind == "unlabeled sample":
        return lambda: [reference.unlabeled(next(turns)[0]) for _ in range(_IMAGES)]
    if kind == "labeled sample":
        return lambda: [reference.labeled(*next(turns)) for _ in range(_IMAGES)]

    def batch() -> list[np.ndarray]:
        pairs = [next(turns) for _ in range(_PAIRS)]
        return reference.batch(*map(list, zip(*pairs, strict=True)), [image for image, _ in pairs])

    return batch


def _open(
    folder: Path, images: list[bytes], labels: list[bytes], setting: Setting
) -> tuple[TrainingData, Config]:
    """Writes records, all labeled and all unlabeled, and opens them as training does."""
    config = Config().with_options(
        crop_height=setting.crop[0],
        crop_width=setting.crop[1],
        scales=setting.scales,
        global_batch_size=2 * _PAIRS,
        mix_group=_PAIRS,
        supervised_steps=0,
        input_threads=1,
    )
    folder.mkdir(exist_ok=True)
    names = [f"{index:03d}" for index in range(len(images))]
    path = folder / "train.tfrecord"
    with tf.io.TFRecordWriter(str(path)) as writer:
        for name, image, label in zip(names, images, labels, strict=True):
            kind = "jpeg" if tf.io.is_jpeg(image) else "png"
            writer.write(
                tfrecord.serialize(
                    tfrecord.Record(image, kind, label, name, *setting.stored, "benchmark", name)
                )
            )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    shard = manifests.Shard(path.name, len(names), path.stat().st_size, digest)
    pixels = (0,) * CITYSCAPES.num_classes
    info = manifests.SplitInfo(len(names), len(names), "train.names.txt", (shard,), pixels, 0)
    manifest = manifests.Manifest(
        "benchmark", "input_rate", "1", "", {}, CITYSCAPES, {"train": info}, str(folder)
    )
    return open_training_data(manifest, splits.draw(names, len(names), 0), config), config


def make_pictures(setting: Setting, folder: str | None, count: int) -> Pictures:
    """Makes pictures of the original size, and encodes them as both sides need them.

    Args:
        setting: sizes.
        folder: pictures to bring to the original size; None draws street scenes.
        count: number of pictures.

    Raises:
        UserError: there are no pictures in the folder.
    """
    height, width = setting.original
    if folder:
        paths = sorted(p for p in Path(folder).iterdir() if p.suffix in (".png", ".jpg"))[:count]
        if not paths:
            raise UserError(f"There is no .png or .jpg in --images={folder}.")
        bicubic = Image.Resampling.BICUBIC
        drawn = [Image.open(p).convert("RGB").resize((width, height), bicubic) for p in paths]
        labels = [_blocks(image) for image in drawn]
    else:
        scenes = [render(7, "unlabeled", index, width, height) for index in range(count)]
        drawn = [Image.fromarray(scene.image) for scene in scenes]
        labels = [Image.fromarray(scene.label) for scene in scenes]
    size = setting.stored[::-1]
    stored = [image.resize(size, Image.Resampling.BILINEAR) for image in drawn]
    stored_labels = [label.resize(size, Image.Resampling.NEAREST) for label in labels]
    return Pictures(
        [_png(image) for image in drawn],
        [_png(label) for label in labels],
        [tfrecord.encode_jpeg(np.asarray(image)) for image in stored],
        [_png(image) for image in stored],
        [_png(label) for label in stored_labels],
    )


def _blocks(image: Image.Image) -> Image.Image:
    """Makes a label of large regions from a picture that has none."""
    small = np.asarray(image.convert("L").resize((image.width // 32, image.height // 32)))
    classes = (small.astype(int) * CITYSCAPES.num_classes // 256).astype(np.uint8)
    return Image.fromarray(classes).resize(image.size, Image.Resampling.NEAREST)


def _png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


def _opencv() -> ModuleType | None:
    try:
        import cv2
    except ImportError:
        print("OpenCV is not installed: compared with Pillow alone.", file=sys.stderr)
        return None
    cv2.setNumThreads(1)
    return cv2


if __name__ == "__main__":
    define_flags()
    cli.run(main)
