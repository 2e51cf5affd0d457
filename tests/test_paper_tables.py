"""The files of the paper's tables: cells as the flag files have them, numbers as the paper."""

import re

import numpy as np
import pytest

import flag_files
from c3tf.config import absl_flags
from c3tf.labels import CITYSCAPES
from c3tf.runs.tables import plan, table_file

pytestmark = pytest.mark.smoke

FOLDER = "configs/tables"
SETS = ("cityscapes", "bdd", "camvid")
# Row of a table, and the flag file of ablations/ that is the same on Cityscapes with 372 labels.
ABLATIONS = {
    "table3": {
        "Baseline": "table3_supervised",
        "w/o L_consist": "table3_without_consistency",
        "w/o L_contrast": "table3_without_contrast",
        "C3-SemiSeg": "table3_full",
    },
    "table4": {
        "none": "table4_without_contrast",
        "D_L, aware": "table4_labeled",
        "D_U, aware": "table4_unlabeled",
        "D_L + D_U, random": "table4_both_random",
        "D_L + D_U, aware": "table4_both",
    },
    "table5": {
        "Supervised": "table5_supervised",
        "S+R, S+R": "table5_strong_strong",
        "W, W": "table5_weak_weak",
        "W, S": "table5_weak_jitter",
        "W, S+R": "table5_weak_strong",
    },
    "table6": {
        "none": "table6_none",
        "intra-set": "table6_intra_set",
        "cross-set": "table6_cross_set",
    },
    "table7": {f"s = {s / 10}": f"table7_s{s:02}" for s in (4, 6, 8, 9, 10)},
}
# Experiment files of the columns.
EXPERIMENTS = {
    "cityscapes": ("cityscapes_1_30", "cityscapes_1_8", "cityscapes_1_4", "cityscapes_full"),
    "bdd": ("bdd_1_30", "bdd_1_8", "bdd_1_4"),
    "camvid": ("camvid_1_30", "camvid_1_8", "camvid_1_4", "camvid_full"),
}
# Cells in which the paper's own gain is not the difference of its own numbers.
MISPRINTS = {
    ("cityscapes_table1", "C3-SemiSeg", "1/30 (100)"),
    ("cityscapes_rivals", "C3-SemiSeg", "1/30 (100)"),
    ("cityscapes_table1", "C3-SemiSeg", "full (2975)"),
    ("cityscapes_table4", "D_U, aware", "1/4 (744)"),
    ("cityscapes_table4", "D_L + D_U, aware", "1/4 (744)"),
}


def read(name):
    return table_file.read(f"{FOLDER}/{name}.toml")


def config(name, **options):
    return absl_flags.from_files([f"configs/{name}.flags"], options)


def changes(one, other):
    found = flag_files.differences(one, other)
    return {name: value for name, value in found.items() if name != "output"}


@pytest.mark.parametrize("table", ABLATIONS)
def test_cells_of_the_ablations_are_those_of_their_flag_files(table):
    held = read(f"cityscapes_{table}")
    assert list(held.rows) == list(ABLATIONS[table])
    full = config("cityscapes_1_8")
    for row, file in ABLATIONS[table].items():
        own = config(f"ablations/{file}")
        assert changes(own, plan.config_of(held, row, "1/8 (372)")) == {}
        for column, labeled in {"1/30 (100)": "100", "1/4 (744)": "744"}.items():
            if column in held.columns:
                cell = plan.config_of(held, row, column)
                assert changes(own, cell) == {"labeled": labeled}
        # The same row on other data differs from the other data's method as it does here.
        for other, file_there in (("bdd", "bdd_1_8"), ("camvid", "camvid_1_8")):
            there = read(f"{other}_{table}")
            assert list(there.rows) == list(held.rows)
            (column,) = [name for name in there.columns if name.startswith("1/8")]
            changed = changes(config(file_there), plan.config_of(there, row, column))
            assert changed == changes(full, own)


def test_every_ablation_of_the_paper_is_in_a_table(repository):
    files = {path.stem for path in (repository / "configs" / "ablations").glob("*.flags")}
    beside = {"table4_labeled_random", "table4_unlabeled_random"}
    assert files - beside == {name for rows in ABLATIONS.values() for name in rows.values()}


@pytest.mark.parametrize(
    ("table", "data"),
    [("cityscapes_table1", "cityscapes"), ("bdd_table2", "bdd"), ("camvid_table1", "camvid")]
    + [(f"{data}_supplement_table2", data) for data in SETS],
)
def test_cells_of_labeled_shares_are_those_of_the_experiment_files(table, data):
    held = read(table)
    for column, file in zip(held.columns, EXPERIMENTS[data], strict=True):
        for row in held.rows:
            options = {"method": "supervised"} if row.startswith("Baseline") else {}
            options |= {"steps": 9000} if "3 x steps" in row else {}
            assert changes(config(file, **options), plan.config_of(held, row, column)) == {}
    seeds = [plan.config_of(held, list(held.rows)[-1], column, n) for n in range(len(held.seeds))]
    paper = [(12345, 0), (23456, 1), (34567, 2)]
    assert [(c.data.split_seed, c.training.seed) for c in seeds] == paper[: len(seeds)]
    # The supplement has one; CamVid's are evaluated alone, of runs that its Table 1 has trained.
    assert len(seeds) == (1 if "supplement" in table and data != "camvid" else 3)


def test_every_table_of_the_paper_is_there_for_every_data_set(repository):
    names = {path.stem for path in (repository / FOLDER).glob("*.toml")}
    numbers = [*range(3, 8)]
    expected = {f"{data}_table{n}" for data in SETS for n in numbers}
    expected |= {f"{data}_supplement_table2" for data in SETS}
    expected |= {"cityscapes_table1", "bdd_table2", "camvid_table1"}
    # Beside the paper's tables.
    assert names - expected == {
        "cityscapes_rivals",
        "camvid_rivals",
        "camvid_class_weights",
        "camvid_fidelity",
        "camvid_networks",
        "camvid_precision",
        "camvid_rates",
        "camvid_stride",
    }
    assert expected < names
    for name in names:
        first, *_ = (repository / FOLDER / f"{name}.toml").read_text().splitlines()
        words = f"# c3tf tables --table={FOLDER}/{name}.toml --output=runs/tables"
        assert first == words
        held = read(name)
        assert held.averaging == ("bdd100k" if name.startswith("bdd") else "cityscapes")
        # The paper has numbers where it has the table, and then all of them.
        has = name.startswith("cityscapes") or name == "bdd_table2"
        cells = {(row, column) for row, cells in held.paper.items() for column in cells}
        in_the_paper = [row for row in held.rows if row != "UniMatch"]
        assert cells == ({(r, c) for r in in_the_paper for c in held.columns} if has else set())


RIVALS = {
    "CutMix mean teacher": "cutmix_mean_teacher",
    "ClassMix": "classmix",
    "UniMatch": "unimatch",
}


@pytest.mark.parametrize("data", ["cityscapes", "camvid"])
def test_cells_of_the_rivals_are_those_of_their_flag_files(data):
    held = read(f"{data}_rivals")
    assert list(held.rows) == ["Baseline", *RIVALS, "C3-SemiSeg"]
    for column, file in zip(held.columns, EXPERIMENTS[data], strict=False):
        for row, method in RIVALS.items():
            own = config(f"rivals/{method}_{file}", export_weights="student")
            assert changes(own, plan.config_of(held, row, column)) == {}
        assert changes(config(file), plan.config_of(held, "C3-SemiSeg", column)) == {}


def test_the_rivals_stand_beside_the_paper_as_in_its_first_table():
    rivals, first = read("cityscapes_rivals").paper, read("cityscapes_table1").paper
    for row in ("Baseline", "C3-SemiSeg"):
        assert rivals[row] == {column: first[row][column] for column in rivals[row]}


def test_the_table_of_heads_differs_in_the_head_alone():
    held = read("camvid_networks")
    assert held.classes
    (column,) = held.columns
    runs = [plan.config_of(held, row, column) for row in held.rows]
    # The baselines of the two heads, then c3 with them.
    for one, other in (runs[:2], runs[2:]):
        assert changes(one, other) == {"head": "deeplab_v3plus"}
    assert changes(runs[2], runs[0]) == {"method": "supervised"}
    assert changes(config("camvid_1_8"), runs[2]) == {}
    assert changes(config("camvid_1_8_v3plus"), runs[3]) == {}
    assert len(held.seeds) == 3


def test_the_table_of_strides_differs_in_the_stride_alone():
    held = read("camvid_stride")
    (column,) = held.columns
    runs = [plan.config_of(held, row, column) for row in held.rows]
    for one, other in (runs[:2], runs[2:]):
        assert changes(one, other) == {"output_stride": 8}
    assert changes(runs[2], runs[0]) == {"method": "supervised"}
    assert changes(config("camvid_1_8"), runs[2]) == {}


def test_the_table_of_precision_differs_in_the_precision_alone():
    held = read("camvid_precision")
    (column,) = held.columns
    one, other = [plan.config_of(held, row, column) for row in held.rows]
    assert changes(one, other) == {"precision": "mixed_bfloat16"}
    assert changes(config("camvid_1_8"), one) == {}


def test_the_table_of_readings_has_the_authors_where_they_differ():
    held = read("camvid_fidelity")
    (column,) = held.columns
    experiment = config("camvid_1_8")
    files = ["configs/camvid_1_8.flags", "configs/presets/authors_code.flags"]
    theirs = changes(experiment, absl_flags.from_files(files, {}))
    seen = set()
    for row in held.rows:
        own = changes(experiment, plan.config_of(held, row, column))
        for name in own.keys() & theirs.keys() - {"loss_averaging"}:
            assert own[name] == theirs[name]
            seen.add(name)
    assert seen == {
        "contrast_exclude_self",
        "contrast_from_start",
        "contrast_skip_class_0",
        "ema_warmup",
        "labeled_keys",
    }


def test_the_table_of_rates_differs_in_rates_alone():
    held = read("camvid_rates")
    (column,) = held.columns
    experiment = config("camvid_1_8")
    for row in held.rows:
        changed = changes(experiment, plan.config_of(held, row, column))
        assert (changed.pop("method", None) == "supervised") == row.startswith("Baseline")
        assert changed.keys() <= {"learning_rate", "backbone_lr_multiplier"}


def test_gains_as_printed_are_differences_of_the_numbers_as_printed(repository):
    """Holds the numbers against each other: one that was copied wrongly breaks its gain."""
    seen = set()
    for path in sorted((repository / FOLDER).glob("*.toml")):
        held = table_file.read(str(path))
        # The gains of the rivals are over baselines of their own.
        rows = set(held.paper) - set(RIVALS)
        for row, cells in ((row, held.paper[row]) for row in rows):
            for column, cell in cells.items():
                gain = re.search(r"\(([+-].*)\)", cell)
                assert bool(gain) == (
                    bool(held.baseline) and row != held.baseline and "supplement" not in path.stem
                )
                if not gain:
                    continue
                base = table_file.printed(held.paper[held.baseline][column])
                found = table_file.printed(cell) - base
                if abs(found - float(gain[1])) > 0.011:
                    seen.add((held.name, row, column))
    assert seen == MISPRINTS


def test_numbers_that_the_paper_prints_twice_are_the_same():
    three, four, five, six = (read(f"cityscapes_table{n}").paper for n in (3, 4, 5, 6))
    mean = {
        "best": [three["C3-SemiSeg"], four["D_L + D_U, aware"]],
        "no contrast": [three["w/o L_contrast"], five["W, S+R"], six["cross-set"]],
        "baseline": [three["Baseline"], five["Supervised"]],
    }
    for cells in mean.values():
        rows = [[table_file.printed(cell) for cell in row.values()] for row in cells]
        assert all(row == rows[0] for row in rows)
    assert [table_file.printed(cell) for cell in four["none"].values()] == [54.4, 63.3, 65.7]
    seven = read("cityscapes_table7").paper
    assert {row: table_file.printed(*cells.values()) for row, cells in seven.items()} == {
        "s = 0.4": 61.9, "s = 0.6": 62.9, "s = 0.8": 63.3, "s = 0.9": 63.1, "s = 1.0": 62.8,
    }  # fmt: skip


def test_the_classes_of_the_supplement_have_its_means():
    held = read("cityscapes_supplement_table2")
    for row in held.rows:
        for column, cell in held.paper[row].items():
            values = held.paper_classes[row][column]
            assert len(values) == CITYSCAPES.num_classes
            assert np.mean(values) == pytest.approx(table_file.printed(cell), abs=0.06)


def test_the_readme_and_the_flag_files_have_the_numbers_of_the_tables(repository):
    text = (repository / "configs" / "README.md").read_text()
    listed = dict(re.findall(r"`(table\d_\w+)` \| (\d+\.\d)", text))
    for table, rows in ABLATIONS.items():
        paper = read(f"cityscapes_{table}").paper
        for row, file in rows.items():
            assert float(listed[file]) == table_file.printed(paper[row]["1/8 (372)"])


def test_the_example_of_the_documents_is_a_table(repository, tmp_path):
    text = (repository / "docs" / "results.md").read_text()
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.S)
    configs_folder = repository / "configs"
    path = tmp_path / "example.toml"
    path.write_text(example.replace('"../', f'"{configs_folder}/'))
    held = table_file.read(str(path))
    double = plan.config_of(held, "2 x lambda1", "12 labels", 1)
    own = config("camvid_1_30", split_seed=23456, seed=1)
    assert changes(own, double) == {"consistency_weight": 2 * own.method.consistency_weight}
    assert len(plan.make([held], "out").jobs) == 16
