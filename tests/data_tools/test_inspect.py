"""Inspection: what is printed and drawn, from a small data set."""

import base64
import dataclasses
import io
import re
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from c3tf.data import manifest as manifests
from c3tf.data import tfrecord
from data_tools import folder, inspect
from data_tools.conversion import convert, label_map_file, planning
from data_tools.conversion.example import ConversionOptions
from data_tools.conversion.runners import LocalRunner
from raw_trees import write_folder


@pytest.fixture
def manifest(tmp_path, monkeypatch):
    """Own data in three shards per split, with larger validation labels and odd names."""
    monkeypatch.setattr(planning, "count_shards", lambda count, *_: min(count, 3))
    root = write_folder(tmp_path / "raw")
    for place in ("photos", "masks"):
        for path in (root / place).iterdir():
            path.rename(path.with_name(f"<b> & {path.name}"))
    described = label_map_file.read(str(root / "classes.json"))
    found = folder.discover(
        str(root / "photos"),
        str(root / "masks"),
        folder.Validation(fraction=0.3),
        [str(root / "more")],
    )
    options = ConversionOptions(
        "yard", described.label_map, height=12, image_format="png", val_label_size="original"
    )
    return convert.convert(found, str(tmp_path / "out"), options, "tests", runner=LocalRunner(1))


def _stored(manifest, split):
    return {
        record.name: record
        for path in manifest.shards(split)
        for record in tfrecord.read_shard(path)
    }


def test_samples_are_spread_over_the_shards_and_whole(manifest):
    stored = _stored(manifest, "train")
    picked = inspect.pick(manifest, "train", 3)
    firsts = [next(tfrecord.read_shard(path)).name for path in manifest.shards("train")]
    assert [sample.name for sample in picked] == firsts
    for sample in picked:
        expected = np.asarray(Image.open(io.BytesIO(stored[sample.name].image)))
        np.testing.assert_array_equal(sample.image, expected)
        label = np.asarray(Image.open(io.BytesIO(stored[sample.name].label)))
        np.testing.assert_array_equal(sample.label, label)
    assert len(inspect.pick(manifest, "train", 100)) == len(stored)
    assert len(inspect.pick(manifest, "train", 1)) == 1
    # Validation labels are larger than their images; an overlay needs one size.
    assert all(s.label.shape == (12, 16) for s in inspect.pick(manifest, "val", 3))
    assert all(s.label is None for s in inspect.pick(manifest, "unlabeled", 2))


def test_shards_of_which_all_was_left_out_give_no_sample(manifest):
    train = manifest.split("train")
    empty = dataclasses.replace(train.shards[0], count=0)
    shards = (empty, *train.shards[1:])
    splits = {**manifest.splits, "train": dataclasses.replace(train, shards=shards)}
    (sample,) = inspect.pick(dataclasses.replace(manifest, splits=splits), "train", 1)
    assert sample.name in {r.name for r in tfrecord.read_shard(manifest.shards("train")[1])}


def test_text_states_counts_sizes_and_shares(manifest):
    lines = inspect.summary(manifest).splitlines()
    (train,) = [line.split() for line in lines if line.startswith("train ")]
    info = manifest.splits["train"]
    assert train[1:5] == [str(info.count), str(info.count), "0", "3"]
    assert train[-2:] == ["16x12", f"({info.count})"]
    total = sum(info.class_pixels) + info.ignored_pixels
    most = max((*info.class_pixels, info.ignored_pixels))
    for name, count in zip(("lawn", "path", "shed"), info.class_pixels, strict=True):
        (line,) = [line for line in lines if line.startswith(name)]
        assert f"{count / total:.3%}" in line
        assert ("#" * 24 in line.split("%")[1]) == (count == most)


def test_the_sheet_holds_overlays_and_the_legend(manifest):
    picked = {split: inspect.pick(manifest, split, 3) for split in manifest.splits}
    sheet = np.asarray(inspect.sheet(manifest, picked)).reshape(-1, 3)
    held = {tuple(color) for color in np.unique(sheet, axis=0).tolist()}
    assert set(manifest.label_map.colors) <= held, "the legend shows the pure colours"
    overlay = picked["train"][0].overlay(manifest.label_map)
    # Cells are enlarged pixel by pixel, so that every colour of an overlay is somewhere.
    assert {tuple(color) for color in overlay.reshape(-1, 3).tolist()} <= held


def test_images_without_labels_stand_alone_on_the_sheet(manifest, monkeypatch):
    drawn = []
    monkeypatch.setattr(
        inspect.drawing, "sheet", lambda *parts: drawn.append(parts) or Image.new("RGB", (9, 9))
    )
    labeled = inspect.pick(manifest, "train", 2)
    plain = inspect.pick(manifest, "unlabeled", 2)
    mixture = [labeled[0], plain[0], *labeled]
    inspect.sheet(manifest, {"unlabeled": plain * 3, "mixed": mixture, "one": labeled[:1]})
    (rows, titles, captions), (mixed, two_titles, two_captions), (_, one_title, _) = drawn
    assert titles == ["unlabeled: image"] * 4
    assert [[picture is None for picture in row] for row in rows] == [
        [False] * 4,
        [False, False, True, True],
    ]
    assert captions[1] == [plain[0].name, plain[1].name, "", ""]
    assert two_titles == ["mixed: image", "its label over it"] * 2
    assert [picture is None for picture in mixed[0]] == [False, False, False, True]
    assert two_captions[0] == [labeled[0].name, "", plain[0].name, "no label"]
    # Nothing is said above places that stay free.
    assert one_title == ["one: image", "its label over it", "", ""]


def test_the_page_stands_alone(manifest):
    picked = {split: inspect.pick(manifest, split, 2) for split in manifest.splits}
    page = inspect.page(manifest, picked)
    assert not re.findall(r'(?:src|href)="(?!data:)', page)
    assert "<b>" not in page
    assert "&lt;b&gt; &amp; " in page
    pictures = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    # Two of each split; unlabeled images have no overlay, nor do pixels have without a label.
    assert len(pictures) == 2 * 2 + 2 * 2 + 2
    assert all(Image.open(io.BytesIO(base64.b64decode(text))).size == (16, 12) for text in pictures)
    assert page.count("(no label)") == 2
    assert re.search(r'<span class="swatch"></span>no label \(image alone\)</th><td>\d', page)
    assert page.count('class="grown" alt="" width="256" height="192"') == len(pictures)


@pytest.mark.parametrize("size", [(60, 900), (900, 60), (7, 5)])
def test_the_page_shows_pictures_of_any_shape_within_a_square(manifest, size):
    width, height = size
    tall = inspect.Sample("tall", np.zeros((height, width, 3), np.uint8), None)
    page = inspect.page(manifest, {"train": [tall]})
    (shown,) = re.findall(r'width="(\d+)" height="(\d+)"', page)
    assert max(map(int, shown)) == 256
    assert int(shown[0]) == round(width * 256 / max(size))
    (stored,) = re.findall(r"data:image/jpeg;base64,([^\"]+)", page)
    assert max(Image.open(io.BytesIO(base64.b64decode(stored))).size) <= 480


def test_the_command_draws(repository, manifest, tmp_path):
    output = tmp_path / "new" / "sheet.png"
    done = _run(repository, manifest, f"--output={output}", "--images=2", "--split=val")
    assert done.returncode == 0, done.stderr
    assert "lawn" in done.stdout
    assert f"written to {output} (0.0 MB)" in done.stdout
    assert Image.open(output).format == "PNG"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--output=x.pdf",), "--output must end in .png or .html. Received: --output=x.pdf"),
        (
            ("--output=/dev/null/x.png",),
            "because /dev/null is no folder",
        ),
        (("--split=test",), "train, val, unlabeled. Received: --split=test"),
    ],
)
def test_mistakes_end_in_one_line(repository, manifest, flags, message):
    done = _run(repository, manifest, *flags)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def _run(repository, manifest, *flags):
    command = [sys.executable, "-m", "data_tools.inspect", f"--data={manifest.data_dir}", *flags]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)


def test_a_set_without_sizes_is_described(manifest):
    info = manifest.splits["val"]
    assert manifests.SplitInfo(**{**vars(info), "image_sizes": {}}).image_sizes == {}
    uncounted = {"val": dataclasses.replace(info, image_sizes={})}
    assert "not counted" in inspect.summary(dataclasses.replace(manifest, splits=uncounted))
