"""The rows of the paper's tables: every one has a flag file that changes what the row says."""

import json
import re

import numpy as np
import pytest

import flag_files
import short_run
from c3tf.config import Config
from c3tf.labels import CITYSCAPES
from c3tf.runs.run import Run
from data_tools import bdd100k
from data_tools.conversion import convert
from data_tools.conversion.example import ConversionOptions
from data_tools.conversion.runners import LocalRunner
from data_tools.street_scenes.tree import Plan, write_tree

FULL = "configs/cityscapes_1_8.flags"
SUPERVISED = {"method": "supervised"}
NO_CONTRAST = {"contrast_weight": 0.0}
# What each row changes of the full method; in Tables 5 to 7 nothing is contrasted.
ROWS = {
    "table3_supervised": SUPERVISED,
    "table3_without_consistency": {"consistency_weight": 0.0},
    "table3_without_contrast": NO_CONTRAST,
    "table3_full": {},
    "table4_without_contrast": NO_CONTRAST,
    "table4_labeled": {"contrast_sources": "labeled"},
    "table4_unlabeled": {"contrast_sources": "unlabeled"},
    "table4_both_random": {"contrast_sampling": "random"},
    "table4_both": {},
    "table4_labeled_random": {"contrast_sources": "labeled", "contrast_sampling": "random"},
    "table4_unlabeled_random": {"contrast_sources": "unlabeled", "contrast_sampling": "random"},
    "table5_supervised": SUPERVISED,
    "table5_strong_strong": {**NO_CONTRAST, "teacher_view": "strong"},
    "table5_weak_weak": {**NO_CONTRAST, "student_view": "weak"},
    "table5_weak_jitter": {**NO_CONTRAST, "randaugment": False},
    "table5_weak_strong": NO_CONTRAST,
    "table6_none": {**NO_CONTRAST, "mixing": "none"},
    "table6_intra_set": {**NO_CONTRAST, "mixing": "intra_set"},
    "table6_cross_set": NO_CONTRAST,
    "table7_s04": {**NO_CONTRAST, "dcrs_ratio": 0.4},
    "table7_s06": {**NO_CONTRAST, "dcrs_ratio": 0.6},
    "table7_s08": NO_CONTRAST,
    "table7_s09": {**NO_CONTRAST, "dcrs_ratio": 0.9},
    "table7_s10": {**NO_CONTRAST, "dcrs_ratio": 1.0},
}
# Tables 1 and 2: labeled images.
EXPERIMENTS = {
    "cityscapes_1_30": "100",
    "cityscapes_1_8": "372",
    "cityscapes_1_4": "744",
    "cityscapes_full": "all",
    "bdd_1_30": "233",
    "bdd_1_8": "875",
    "bdd_1_4": "1750",
}


def path(row):
    return f"configs/ablations/{row}.flags"


def test_every_row_has_a_file_and_every_file_a_row(repository):
    files = {file.stem for file in (repository / "configs" / "ablations").glob("*")}
    assert files == ROWS.keys()


def test_a_row_differs_from_the_full_method_in_what_it_says(repository):
    full, *rows = flag_files.read(
        repository, [f"--flagfile={FULL}"], *([f"--flagfile={path(row)}"] for row in ROWS)
    )
    for (row, changed), config in zip(ROWS.items(), rows, strict=True):
        assert isinstance(config, Config), (row, config)
        expected = {**changed, "output": f"runs/ablations/{row}"}
        assert flag_files.differences(full, config) == expected, row


def test_the_first_lines_say_how_to_run_it_and_which_row_it_is(repository):
    for row in ROWS:
        command, text, *_ = (repository / path(row)).read_text().splitlines()
        assert command == f"# python -m c3tf.train --flagfile={path(row)}"
        assert re.match(rf"# (Beside )?Table {row[5]}\b", text)
        assert ("Without contrast, as in the paper." in text) == (
            row[5] in "567" and ROWS[row] != SUPERVISED
        )


def test_the_other_columns_and_seeds_are_flags(repository):
    words = [f"--flagfile={path('table4_unlabeled')}"]
    plain, other = flag_files.read(
        repository, words, [*words, "--labeled=100", "--split_seed=23456"]
    )
    assert flag_files.differences(plain, other) == {"labeled": "100", "split_seed": 23456}
    assert plain.data.split_seed == 12345


def test_tables_1_and_2_have_their_files(repository):
    answers = flag_files.read(
        repository, *([f"--flagfile=configs/{name}.flags"] for name in EXPERIMENTS)
    )
    for (name, labeled), config in zip(EXPERIMENTS.items(), answers, strict=True):
        bdd = name.startswith("bdd")
        assert config.data.labeled == labeled
        assert config.training.steps == (20000 if bdd else 25000)
        assert config.training.global_batch_size == (16 if bdd else 32)
        assert config.augment.crop_height == (512 if bdd else 256)
        assert config.augment.scales == ((0.75, 1.0, 1.25) if bdd else ())


def test_the_readme_lists_every_file(repository):
    text = (repository / "configs" / "README.md").read_text()
    for name in [*ROWS, *EXPERIMENTS]:
        assert f"`{name}`" in text, name
    assert "--ignore_low_confidence" in text


SMALL = [
    "--backbone=efficientnet_lite0",
    "--backbone_weights=random",
    "--output_stride=16",
    "--crop_height=48",
    "--crop_width=64",
    "--global_batch_size=8",
    "--mix_group=2",
    "--steps=3",
    "--supervised_steps=1",
    "--consistency_ramp_steps=2",
    "--learning_rate=0.001",
    # Fewer than a class has of the twelve features, so that it matters which are drawn.
    "--contrast_samples=2",
    "--log_every=1",
    "--checkpoint_every=3",
    "--evaluate_every=3",
]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """A converted set of 4 labeled, 4 unlabeled and 2 validation scenes."""
    root = tmp_path_factory.mktemp("scenes")
    raw = write_tree(root / "raw", Plan(4, 4, 2, width=96, height=64))
    options = ConversionOptions(
        dataset="bdd100k", label_map=CITYSCAPES, label_ids="train", height=0
    )
    convert.convert(
        bdd100k.discover(str(raw)), str(root / "data"), options, "tests", runner=LocalRunner(1)
    )
    return root / "data"


def run(config):
    """Trains a configuration and returns the last line of its metrics."""
    Run(config, config.method.name).train()
    with open(f"{config.training.output}/metrics.jsonl", encoding="utf-8") as file:
        return json.loads(file.readlines()[-1])


@pytest.mark.parametrize("row", ["table4_both_random", "table6_intra_set"])
def test_a_row_takes_a_few_steps(repository, tmp_path, row):
    (config,) = flag_files.read(repository, [f"--flagfile={path(row)}", *short_run.FLAGS])
    *_, last = short_run.train(config, short_run.write(tmp_path))
    assert np.isfinite(last["loss"])
    assert ("contrast" in last) == ("contrast_weight" not in ROWS[row])


@pytest.mark.slow
def test_every_row_trains(repository, scenes, tmp_path):
    """As the command does it; rows that are one method under two names are trained once."""
    rows = {json.dumps(changed): row for row, changed in ROWS.items()}
    last = {}
    for row in rows.values():
        # A threshold that is the batch's own tells the ratios apart from the first step on.
        own = [] if ROWS[row].get("dcrs_ratio") == 1.0 else ["--dcrs_decay=0"]
        place = [f"--data={scenes}", f"--output={tmp_path / row}", "--labeled=4"]
        words = [f"--flagfile={path(row)}", *place, *SMALL, *own]
        (config,) = flag_files.read(repository, words)
        last[row] = run(config)
    for row, log in last.items():
        changed = ROWS[row]
        baseline = changed == SUPERVISED
        assert log["step"] == 3
        assert ("consistency" in log) == (not baseline)
        assert ("contrast" in log) == (not baseline and "contrast_weight" not in changed)
        if changed.get("contrast_sampling") == "random":
            assert log["hard_anchors"] == 0
        if not baseline:
            assert log["confident"] == pytest.approx(changed.get("dcrs_ratio", 0.8), abs=0.05)
    # No two methods end alike: every switch reaches the training.
    assert len({log["loss"] for log in last.values()}) == len(rows)
