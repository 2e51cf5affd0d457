"""The comparison of suggested and random labels: equal numbers, same seed, resumed, tabulated."""

import sys
from pathlib import Path

import pytest
from absl import flags

import tiny_data


@pytest.fixture
def benchmark(repository, monkeypatch, tmp_path):
    """The program with its flags, on a data set of 8 images."""
    monkeypatch.syspath_prepend(str(repository / "benchmarks"))
    import suggest_worth

    (tmp_path / "data").mkdir()
    pairs = {f"i{n}": tiny_data.pair(n, (16, 24)) for n in range(8)}
    tiny_data.write_splits(tmp_path / "data", {"train": pairs})
    values = flags.FlagValues()
    with monkeypatch.context() as patch:
        patch.setattr(flags, "FLAGS", values)
        for kind in ("string", "list", "integer"):
            define = getattr(flags, f"DEFINE_{kind}")
            own = lambda *words, to=define, **more: to(*words, flag_values=values, **more)  # noqa: E731
            patch.setattr(flags, f"DEFINE_{kind}", own)
        suggest_worth.define_flags()
    words = ["--first=3", "--more=2", f"--data={tmp_path / 'data'}", "--images=photos"]
    values(["x", *words, f"--output={tmp_path / 'out'}"])
    monkeypatch.setattr(suggest_worth.flags, "FLAGS", values)
    yield suggest_worth
    sys.modules.pop("suggest_worth")


def test_both_ways_get_as_many_labels(benchmark, monkeypatch, tmp_path):
    trained, asked = [], []

    class Experiment:
        def __init__(self, path, output, seed):
            lines = Path(path).read_text().splitlines()
            self.names = [line for line in lines if line.startswith("i")]
            trained.append((output.rpartition("/")[2], seed, self.names))

        def suggest(self, images, folder, options):
            asked.append((images, options.count, options.height))
            Path(folder).mkdir()
            for name in ("labeled_list.txt", "suggestions.html"):
                Path(folder, name).write_text("\n".join([*self.names, "i_a", "i_b"]))

    monkeypatch.setattr(benchmark, "_experiment", Experiment)
    monkeypatch.setattr(benchmark, "_scores", lambda one: {"student": len(one.names) / 10})
    for _ in range(2):
        scores = benchmark.compare(5)
    assert asked == [("photos", 2, 240)], "suggested once, however often it is started"
    (_, _, first), (_, _, suggested), (_, _, drawn) = trained[:3]
    assert [name for name, _, _ in trained[:3]] == ["first", "suggested", "random"]
    assert {seed for _, seed, _ in trained} == {5}
    assert (len(first), len(suggested), len(set(drawn))) == (3, 5, 5)
    assert set(first) < set(drawn)
    assert trained[3:] == trained[:3]
    assert scores["suggested"] == {"student": 0.5}
    lines = benchmark.table({5: scores, 6: {**scores, "random": {"student": 0.4}}}).splitlines()
    assert lines[2:] == [
        "| 5 | student | 30.00 | 50.00 | 50.00 | +0.00 |",
        "| 6 | student | 30.00 | 50.00 | 40.00 | +10.00 |",
        "| mean | student | 30.00 | 50.00 | 45.00 | +5.00 |",
    ]
