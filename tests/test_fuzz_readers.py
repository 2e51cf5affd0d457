"""Damaged files through the readers that all commands share: read, or refused in one line.

`tests/test_fuzz.py` (slow) puts them through the commands themselves.
"""

import contextlib
import json
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import damage
import image_files
import tiny_data
import tiny_network
from c3tf.config import Config
from c3tf.data import list_lines, manifest
from c3tf.errors import UserError
from c3tf.evaluation.result import EvaluationResult
from c3tf.io import decoding, json_files, orientation
from c3tf.io.image_bytes import ImageBytesError
from c3tf.labels import LabelMap
from c3tf.reporting import page, runs
from c3tf.runs import run_dir
from c3tf.serving import model_card

SEEDS = settings(max_examples=25, deadline=None, derandomize=True)
COUNTS = np.arange(16).reshape(4, 4)
CONFIG = Config().with_options(steps=40, supervised_steps=10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run and a data set, with every file that readers know."""
    folder = tmp_path_factory.mktemp("damaged")
    run = folder / "run"
    run_dir.claim(str(run), CONFIG, "5b117", "da7a")
    (run / "checkpoints").mkdir()
    result = EvaluationResult(COUNTS, tiny_network.LABEL_MAP, 3, {"step": 40})
    json_files.write(run / "evaluations/step-00000040-student.json", result.to_json())
    json_files.write(run / "results.json", {"student": result.to_json()})
    lines = [json.dumps({"step": step, "loss": 1.5, "seconds_per_step": 0.1}) for step in (20, 40)]
    (run / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    event = {"event": "start", "step": 0, "time": "t"}
    (run / "events.jsonl").write_text(json.dumps(event) + "\n")
    (folder / "data").mkdir()
    tiny_data.write(folder / "data", {name: tiny_data.pair(1, (8, 8)) for name in "ab"})
    (folder / "model").mkdir()
    card = model_card.build(tiny_network.LABEL_MAP, {}, {"data": "d", "config": {}}, {})
    json_files.write(folder / "model/label_map.json", tiny_network.LABEL_MAP.to_json())
    model_card.write(folder / "model", card)
    return folder


def read_run(folder):
    page.render([runs.load(str(folder / "run"), "run")], "Title")
    run_dir.below(str(folder))
    run_dir.check(str(folder / "run"), CONFIG, split="5b117", data="da7a")


def read_journals(folder):
    runs.load(str(folder / "run"), "run")


def read_data(folder):
    described = manifest.verify(str(folder / "data"))
    for split in described.splits:
        described.names(split)
        described.shards(split)
    described.digest()


def read_model(folder):
    model_card.digest(model_card.read(folder / "model"))
    LabelMap.from_json(json_files.read(folder / "model/label_map.json"))


def read_result(folder):
    held = json_files.read(folder / "run/results.json")
    for one in held.values():
        # What `results.read` and the tables take for "damaged".
        with contextlib.suppress(ValueError, AttributeError):
            EvaluationResult.from_json(one).table()


READERS = {
    "run/config.json": read_run,
    "run/metrics.jsonl": read_journals,
    "run/events.jsonl": read_journals,
    "run/evaluations/step-00000040-student.json": read_run,
    "run/results.json": read_result,
    "data/dataset.json": read_data,
    "data/val.names.txt": read_data,
    "model/model_card.json": read_model,
    "model/label_map.json": read_model,
}


@pytest.mark.parametrize("name", READERS)
@SEEDS
@given(seed=st.integers(0, 2**32))
def test_edited_files_are_read_or_refused(folder, name, seed):
    path, draw = folder / name, random.Random(seed)
    whole = path.read_bytes()
    path.write_bytes(damage.edited_json(whole, draw))
    try:
        with contextlib.suppress(UserError):
            READERS[name](folder)
    finally:
        path.write_bytes(whole)


@SEEDS
@given(seed=st.integers(0, 2**32))
def test_lists_are_read_or_refused(folder, seed):
    draw = random.Random(seed)
    text = "train/a.png masks/a.png\n'b c.jpg'\n# note\n\nd\n" * draw.randint(1, 3)
    content = text.encode(draw.choice(("utf-8", "utf-16", "utf-8-sig")))
    (folder / "list.txt").write_bytes(damage.flipped(content, draw))
    lines, parser = [], list_lines.Parser(["a", "d"])
    with contextlib.suppress(UserError):
        lines = list_lines.read(str(folder / "list.txt"))
    for line in filter(str.strip, lines):
        # A second image on a line, which callers refuse by the list's name.
        with contextlib.suppress(ValueError):
            assert parser.name(line) in ("a", "d", None)


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
@SEEDS
@given(seed=st.integers(0, 2**32))
def test_images_are_decoded_or_refused(kind, seed):
    draw = random.Random(seed)
    encoded = damage.flipped(image_files.turned(image_files.noise(24, 32), kind, 6), draw)
    with contextlib.suppress(ImageBytesError):
        image, header = decoding.decode(encoded)
        assert 1 <= orientation.of(image, header) <= 8
        assert image.size == (header.width, header.height)
