"""The runs that tables need: as their flags say, each once."""

import pytest

import tiny_tables
from c3tf.config import ConfigError
from c3tf.runs.tables import plan
from c3tf.runs.tables.table_file import TableError

pytestmark = pytest.mark.smoke


def test_every_cell_has_a_run_per_seed_seed_by_seed(tmp_path):
    table = tiny_tables.read(tmp_path)
    made = plan.make([table], "out")
    jobs = list(made.jobs.values())
    assert len(jobs) == 8
    assert made.of(table) == jobs
    assert [job.config.training.seed for job in jobs] == [0] * 4 + [1] * 4
    assert [job.config.data.labeled for job in jobs] == ["2", "2", "8", "8"] * 2
    assert made.cells["tiny", "Ours", "few"] == [jobs[1].name, jobs[5].name]
    assert jobs[5].cell == "tiny: Ours, few, seed 2 of 2"
    assert jobs[1].folder == f"out/runs/{jobs[1].name}/c3"
    assert jobs[0].folder == f"out/runs/{jobs[0].name}/supervised"
    assert jobs[0].name.startswith("tiny_2_supervised_")
    assert jobs[0].config.training.steps == 40
    assert jobs[1].config.method.supervised_steps == 4


def test_equal_runs_of_tables_are_one(tmp_path):
    """The baseline is one whatever its row says of the method."""
    one = tiny_tables.read(tmp_path)
    text = tiny_tables.TEXT.replace("Ours = {}", "All = {}\nNone = { contrast_weight = 0 }")
    text = text.replace('"supervised" }', '"supervised", contrast_weight = 0 }')
    text = text.partition("[paper")[0].replace(
        'title = "Tiny"', 'title = "T"\nmeasures=["confident"]'
    )
    other = tiny_tables.read(tmp_path, text, "other")
    made = plan.make([one, other], "out")
    assert len(made.jobs) == 12
    assert made.cells["tiny", "Ours", "few"] == made.cells["other", "All", "few"]
    assert made.cells["tiny", "Baseline", "few"] == made.cells["other", "Baseline", "few"]
    confident = {name for name, job in made.jobs.items() if job.confident}
    assert confident == {name for name in made.jobs if "_c3_" in name}
    assert not any(job.confident for job in plan.make([one], "out").jobs.values())
    with pytest.raises(TableError, match=r"a name of its own\. Received twice: tiny"):
        plan.make([one, one], "out")


def test_a_runs_name_is_what_decides_its_weights(tmp_path):
    """Not where the data lie, or how often something is written; and not what is the default."""

    def names(**changed):
        return set(plan.make([tiny_tables.read(tmp_path)], "out", changed).jobs)

    same = names()
    assert names(data="else/where/tiny", log_every=7, strategy="one") == same
    assert names(learning_rate=0.00012) == same
    assert names(learning_rate=0.001) & same == set()
    # Written down, so that a change of the rule does not orphan the runs that people have.
    assert min(same) == "tiny_2_c3_1403ffd1"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            ("{ labeled = 8 }", '{ labeled = 2, data = "else/where/tiny" }'),
            r"Baseline, few, .*Baseline, many, .*--data alone .*else/where/tiny.*different names",
        ),
        (("Ours = {}", "Ours = {}\nXLA = { jit = true }"), r"Ours, few.*XLA, few.*--jit alone"),
    ],
)
def test_cells_that_would_be_one_run_by_its_name_are_refused(tmp_path, change, said):
    table = tiny_tables.read(tmp_path, tiny_tables.TEXT.replace(*change))
    with pytest.raises(TableError, match=said):
        plan.make([table], "out")


def test_tables_may_differ_in_what_decides_no_weights(tmp_path):
    one = tiny_tables.read(tmp_path)
    text = tiny_tables.TEXT.replace("Ours = {}", "Ours = { log_every = 7 }")
    assert len(plan.make([one, tiny_tables.read(tmp_path, text, "other")], "out").jobs) == 8


def test_rows_multiply_numbers_last_and_shares_follow_the_steps(tmp_path):
    text = tiny_tables.TEXT.replace(
        "Ours = {}", "Ours = { times = { steps = 2.5, consistency_weight = 0.5 } }"
    )
    table = tiny_tables.read(tmp_path, text)
    config = plan.config_of(table, "Ours", "few", changed={"steps": "60"})
    assert config.training.steps == 150
    assert config.method.supervised_steps == 15
    assert config.method.consistency_weight == 25.0
    flags = tiny_tables.TEXT.replace("Ours = {}", "Ours = { times = { flip = 2 } }")
    with pytest.raises(TableError, match=r"`times` must name numbers\. Received: times\.flip"):
        plan.config_of(tiny_tables.read(tmp_path, flags), "Ours", "few")


def test_flags_that_are_refused_name_their_cell(tmp_path):
    table = tiny_tables.read(
        tmp_path, tiny_tables.TEXT.replace("Ours = {}", 'Ours = { mixing = "all" }')
    )
    with pytest.raises(TableError, match=r"Table 'tiny', row 'Ours', column 'few': .*mixing"):
        plan.make([table], "out")
    for factor in ("1e300", "1e308"):
        times = f"Ours = {{ times = {{ steps = {factor} }} }}"
        with pytest.raises(TableError, match=r"must (be a whole|give finite) number"):
            plan.make(
                [tiny_tables.read(tmp_path, tiny_tables.TEXT.replace("Ours = {}", times))], "out"
            )
    row = 'Baseline = { method = "supervised", measure = "teacher" }'
    text = tiny_tables.TEXT.replace('Baseline = { method = "supervised" }', row)
    with pytest.raises(TableError, match="supervised has no teacher to measure"):
        plan.make([tiny_tables.read(tmp_path, text)], "out")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("stepz", "name a flag .* Received: --set=stepz=3"),
        ("output", "name a flag .* Received: --set=output=3"),
        ("labeled", "leave alone what table 'tiny' varies. Received: --set=labeled=3"),
    ],
)
def test_flags_for_all_runs_must_be_known_and_not_the_tables_own(tmp_path, name, said):
    with pytest.raises(ConfigError, match=f"`--set` must {said}"):
        plan.make([tiny_tables.read(tmp_path)], "out", {name: "3"})
