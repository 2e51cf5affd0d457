"""Commands killed everywhere in their work: whole or absent, and then as if undisturbed.

`python -m pytest -n0 -m slow tests/test_kills.py --kills=300` kills as often as it says. A kill
hits before a change of the file system, or in the middle of a write
(`tests/support/kill_server.py`).
"""

import dataclasses
import json
import random
import shutil
import signal
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

import forked
import kill_server
import raw_trees
import tiny_command
import tiny_tables
from c3tf.data import manifest as manifests
from c3tf.io import leftovers
from c3tf.runs.tables import plan, table_file
from c3tf.serving import model_card
from same_runs import assert_same_end

pytestmark = pytest.mark.slow

SHORT = {"steps": 8, "checkpoint_every": 2, "evaluate_every": 4, "log_every": 2}


def contents(folder):
    """The bytes of all files below a folder, and the names of its folders."""
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


class World(forked.Forked):
    """A folder with all that commands read."""

    def __init__(self, folder, repository):
        super().__init__(folder, repository)
        self._draw = random.Random(0)

    def points(self, count, kills):
        """Chooses among so many points, evenly and without those that were chosen before."""
        chosen = np.unique(np.linspace(1, count, min(kills, count)).round().astype(int)).tolist()
        return chosen + [self._draw.randint(1, count) for _ in range(kills - len(chosen))]


@pytest.fixture(scope="module")
def world(tmp_path_factory, repository):
    folder = tmp_path_factory.mktemp("kills")
    made = World(folder, repository)
    raw_trees.write_camvid(folder / "raw")
    tiny_command.write_data(folder / "data")
    (folder / "photos").mkdir()
    rng = np.random.default_rng(0)
    for index in range(4):
        pixels = rng.integers(0, 256, (40, 80, 3), np.uint8)
        Image.fromarray(pixels).save(folder / "photos" / f"{index}.png")
    made.finish(train(made, "run"))
    tiny = tiny_tables.write(folder)
    jobs = plan.make([table_file.read(tiny)], str(folder / "tables/out"), {}).jobs
    for seed, job in enumerate(jobs.values()):
        tiny_tables.finish(job, seed)
    yield made
    made.close()


def train(world, name, **options):
    out = world.folder / name / "out"
    words = tiny_command.flag_words(world.folder / "data", out, **{**SHORT, **options})
    return [kill_server.TRAIN, *words]


@dataclasses.dataclass(frozen=True)
class Work:
    """A command, and what must hold of what it writes.

    Attributes:
        words: module and arguments by the world and the folder for its output.
        again: arguments that are added when it is called again.
        whole: checks what a kill has left: all of it or nothing.
        same: compares what was written, after a kill and another call, with the undisturbed.
        before: puts something in the output's place first.
        refused: tells that another call is refused, because the killed one was done.
        share: of all kills.
        chain: kills, one call after the other, until one is let end.
    """

    words: Callable
    again: tuple = ()
    whole: Callable = lambda out, undisturbed: None
    same: Callable = lambda out, undisturbed: assert_equal(contents(out), contents(undisturbed))
    before: Callable = lambda world, out: None
    refused: Callable = lambda out: False
    share: float = 0.05
    chain: int = 1


def assert_equal(found, wanted):
    assert found.keys() == wanted.keys()
    assert [name for name, data in wanted.items() if found[name] != data] == []


def run_below(out):
    (folder,) = (path.parent for path in out.glob("*/checkpoints"))
    return folder


def evaluate(world, out):
    return [
        *("c3tf.evaluate", f"--model={run_below(world.folder / 'run/out')}"),
        *(f"--data={world.folder / 'data'}", f"--output={out / 'result.json'}"),
        f"--error_maps={out / 'maps'}",
    ]


def predict(world, out):
    return [
        *("c3tf.predict", f"--model={run_below(world.folder / 'run/out')}"),
        *(
            f"--images={world.folder / 'photos'}",
            f"--output={out}",
            "--format=train_ids,color,overlay",
        ),
    ]


def export(world, out):
    return [
        *("c3tf.export", f"--model={run_below(world.folder / 'run/out')}", f"--output={out / 'm'}"),
        *("--format=saved_model,keras", "--weights=student"),
    ]


def convert(world, out):
    return [
        *("data_tools.camvid", f"--source={world.folder / 'raw'}", f"--output={out}"),
        *("--num_workers=1", "--image_format=png"),
    ]


def report(world, out):
    return ["c3tf.report", run_below(world.folder / "run/out"), f"--output={out / 'r.html'}"]


def tables(world, out):
    return [
        *("c3tf.tables", f"--table={world.folder / 'tiny.toml'}", "--only_report"),
        f"--output={world.folder / 'tables/out'}",
    ]


def each_file_is_whole(out, undisturbed):
    """Files of their final names are as they are in the end."""
    wanted = contents(undisturbed)
    for name, data in contents(out).items():
        if data is not None and not any(map(leftovers.is_leftover, name.parts)):
            assert data == wanted[name], name


def predictions_are_whole(out, undisturbed):
    wanted = contents(undisturbed)
    for name, data in contents(out).items():
        if name.suffix == ".png" and not leftovers.is_leftover(name.name):
            assert data == wanted[name], name


def data_set_is_whole(out, undisturbed):
    if (out / manifests.FILE_NAME).exists():
        wanted = contents(undisturbed)
        found = contents(out)
        assert {name: found[name] for name in wanted} == wanted


def is_converted(out):
    request = out / manifests.INCOMPLETE_DIR / "request.json"
    return (out / manifests.FILE_NAME).exists() and not request.exists()


def export_is_whole(out, undisturbed):
    if (out / "m").exists():
        assert model_card.read(out / "m")["files"]


def export_is_there(out, undisturbed):
    assert (out / "m").exists() or leftovers.earlier(out / "m")
    export_is_whole(out, undisturbed)


def same_export(out, undisturbed):
    """TensorFlow's graph holds an identity of its own; the weights are the same bits."""
    found, wanted = contents(out), contents(undisturbed)
    assert found.keys() == wanted.keys()
    export_is_whole(out, undisturbed)
    for name in wanted:
        if name.match("m/variables/*") or name.name == "label_map.json":
            assert found[name] == wanted[name], name


def earlier_export(world, out):
    shutil.copytree(world.folder / "export/undisturbed/m", out / "m")
    card = json.loads((out / "m/model_card.json").read_text())
    assert card["source"]["weights"] == "student"


def checkpoints_are_whole(out, undisturbed):
    """What is named as a checkpoint is one; the temporaries are hidden."""
    # Also of hidden files, says pathlib.
    for path in out.glob("*/checkpoints/[!.]*.npz"):
        with np.load(path) as arrays:
            assert all(arrays[name] is not None for name in arrays.files)


def same_run(out, undisturbed):
    assert_same_end(run_below(out), run_below(undisturbed))
    assert not [path for path in out.rglob("*") if leftovers.is_leftover(path.name)]


def training(**options):
    return Work(
        lambda world, out: train(world, out.parent.name, **options),
        whole=checkpoints_are_whole,
        same=same_run,
        share=0.07,
        chain=4,
    )


WORKS = {
    "report": Work(report, ("--overwrite",), each_file_is_whole, share=0.1),
    "tables": Work(tables, share=0.14, chain=2),
    "convert": Work(convert, (), data_set_is_whole, refused=is_converted, share=0.3, chain=2),
    "evaluate": Work(evaluate, ("--overwrite",), each_file_is_whole, share=0.1, chain=3),
    "predict": Work(predict, ("--resume",), predictions_are_whole, share=0.1, chain=3),
    "export": Work(export, ("--overwrite",), export_is_whole, same_export, share=0.06, chain=2),
    "export again": Work(
        lambda world, out: [*export(world, out), "--overwrite"],
        whole=export_is_there,
        same=same_export,
        before=earlier_export,
        share=0.06,
        chain=2,
    ),
    "supervised": training(method="supervised"),
    "semi-supervised": training(),
}


@pytest.mark.parametrize("name", WORKS)
def test_killed_anywhere_it_ends_as_if_undisturbed(world, name, request):
    work, out = WORKS[name], world.folder / name / "out"
    kills = max(1, round(work.share * request.config.getoption("--kills")))
    undisturbed = out.with_name("undisturbed")
    if name == "tables":
        out = world.folder / "tables/out"
    else:
        out.mkdir(parents=True)
        work.before(world, out)
    points = world.finish(work.words(world, out))
    shutil.copytree(out, undisturbed) if name == "tables" else out.rename(undisturbed)
    chosen, hit = world.points(points, kills), 0
    while chosen:
        if name == "tables":
            for path in out.glob("tiny.*"):
                path.unlink()
        else:
            shutil.rmtree(out, ignore_errors=True)
            out.mkdir()
            work.before(world, out)
        words, places = work.words(world, out), chosen[: work.chain]
        del chosen[: work.chain]
        for place in places:
            code, _ = world.call(words, kill=place)
            assert code in (-signal.SIGKILL, 0), f"point {place}: {world.said()}"
            hit += code == -signal.SIGKILL
            work.whole(out, undisturbed)
            words = [*work.words(world, out), *work.again]
            if code == 0 or work.refused(out):
                break
        wanted = 2 if work.refused(out) else 0
        code, _ = world.call(words)
        assert code == wanted, f"after kills at {places}: {world.said()}"
        work.same(out, undisturbed)
    print(f"{name}: {hit} kills at {points} points")
    assert hit >= kills // 2
