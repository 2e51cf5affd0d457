"""Damaged files through the commands: exit code 0 or an error of one line, nothing else touched.

`python -m pytest -n0 -m slow tests/test_fuzz.py --fuzz=600` spends so many seconds on each test.
`tests/test_fuzz_readers.py` is the fast tier.
"""

import hashlib
import random
import re
import shutil
import time

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import annotation_files
import damage
import forked
import image_files
import kill_server
import raw_trees
import tiny_command
import tiny_data
import tiny_tables
from c3tf.data import manifest as manifests
from c3tf.data import tfrecord

pytestmark = pytest.mark.slow

SHORT = {"steps": 2, "supervised_steps": 1, "checkpoint_every": 2, "evaluate_every": 2}
SHORT |= {"log_every": 1}
# Of the commands: wrong use, some images skipped, nothing to do, stopped.
_EXIT_CODES = (0, 1, 2, 3, 74, 75)


class World(forked.Forked):
    """What commands read, whole; each case works on a copy."""

    def __init__(self, folder, repository):
        super().__init__(folder, repository)
        tiny_command.write_data(folder / "whole/data")
        raw_trees.write_folder(folder / "whole/own")
        (folder / "whole/own/val.txt").write_text("03\nphotos/07.jpg masks/07.png\n")
        for name, write in (
            ("camvid", raw_trees.write_camvid),
            ("cityscapes", raw_trees.write_cityscapes),
            ("bdd100k", raw_trees.write_bdd100k),
        ):
            write(folder / "whole/raw" / name)
        annotation_files.write(folder / "whole/drawn")
        tiny_tables.write(folder / "whole")
        (folder / "whole/photos").mkdir()
        for index in range(2):
            pixels = image_files.noise(40, 80, seed=index)
            Image.fromarray(pixels).save(folder / f"whole/photos/{index}.png")
        self.finish(self.train("whole", "whole"))
        self.run = next((folder / "whole/out").glob("*/checkpoints")).parent.name
        run = folder / "whole/out" / self.run
        self.finish(["c3tf.export", f"--model={run}", f"--output={folder / 'whole/model'}"])
        self.finish(self.predict("whole", "whole/photos"))
        (folder / "outside").write_text("mine")

    def train(self, place, data):
        words = tiny_command.flag_words(
            self.folder / data / "data", self.folder / place / "out", **SHORT
        )
        return [kill_server.TRAIN, *words]

    def predict(self, place, images):
        return [
            *("c3tf.predict", f"--model={self.folder / place / 'model'}", "--resume"),
            *(f"--images={self.folder / images}", f"--output={self.folder / place / 'predicted'}"),
        ]

    def evaluate(self, place, model):
        return [
            *("c3tf.evaluate", f"--model={model}", f"--data={self.folder / place / 'data'}"),
            *(f"--error_maps={self.folder / place / 'maps'}", "--overwrite"),
        ]

    def preview(self, place):
        flags = self.train(place, place)[1:]
        output = f"--output={self.folder / place / 'sheet.png'}"
        return ["c3tf.preview", *flags, output, "--rows=1", "--overwrite"]

    def suggest(self, place, model):
        return [
            *("c3tf.suggest", f"--model={model}", f"--images={self.folder / place / 'photos'}"),
            *(f"--output={self.folder / place / 'suggested'}", "--count=1"),
        ]

    def case(self):
        """Makes a copy to damage."""
        place = self.folder / "case"
        shutil.rmtree(place, ignore_errors=True)
        shutil.copytree(self.folder / "whole", place)
        return place

    def check(self, words, case):
        """Runs a command on damaged files."""
        code, _ = self.call(words)
        said = self.said()
        assert code in _EXIT_CODES, f"{case}: exit code {code}\n{said}"
        assert "Traceback" not in said, f"{case}\n{said}"
        assert code == 0 or re.search(r"(?m)^python -m .*: |error: |skipped |failed", said), said
        assert (self.folder / "outside").read_text() == "mine"


def digest(folder):
    found = hashlib.sha256()
    for path in sorted(folder.rglob("*")):
        found.update(f"{path.relative_to(folder)}".encode())
        found.update(path.read_bytes() if path.is_file() else b"")
    return found.hexdigest()


@pytest.fixture(scope="module")
def world(tmp_path_factory, repository):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "whole").mkdir()
    made = World(folder, repository)
    yield made
    made.close()


@pytest.fixture
def cases(world, request):
    """Numbers of cases, until the time is over; the whole files are as before then."""
    before, end = digest(world.folder / "whole"), time.monotonic()
    end += request.config.getoption("--fuzz")

    def numbers():
        number = 0
        while time.monotonic() < end or not number:
            yield number
            number += 1
        print(f"{request.node.name}: {number} cases")

    yield numbers()
    assert digest(world.folder / "whole") == before


def commands_of(world, name):
    """The commands that read a file of a case."""
    run, place = world.folder / "case/out" / world.run, world.folder / "case"
    about_data = [
        ["data_tools.inspect", f"--data={place / 'data'}", f"--output={place / 'sheet.png'}"],
        ["data_tools.verify", f"--data={place / 'data'}", "--num_workers=1"],
        world.evaluate("case", place / "model"),
        world.train("case", "case"),
        world.preview("case"),
    ]
    about_run = [
        world.train("case", "case"),
        ["c3tf.report", run, f"--output={place / 'report.html'}"],
        ["c3tf.export", f"--model={run}", f"--output={place / 'm'}"],
        world.evaluate("case", run),
        world.suggest("case", run),
    ]
    about_model = [world.predict("case", "case/photos"), world.evaluate("case", place / "model")]
    by_folder = {"data": about_data, "out": about_run, "model": about_model}
    return by_folder.get(name.parts[0], [world.predict("case", "case/photos")])


def test_edited_json_ends_in_one_line(world, cases):
    whole = world.folder / "whole"
    names = [
        path.relative_to(whole)
        for path in sorted(whole.rglob("*"))
        if path.suffix in (".json", ".jsonl") and not {"own", "raw", "drawn"} & set(path.parts)
    ]
    assert len(names) >= 8
    for number in cases:
        draw = random.Random(number)
        name = draw.choice(names)
        path = world.case() / name
        path.write_bytes(damage.edited_json(path.read_bytes(), draw))
        world.check(draw.choice(commands_of(world, name)), f"case {number}, {name}")


def hostile_record(draw):
    """A record that no converter writes."""
    image, label = tiny_data.pair(draw.randrange(99), tiny_command.SIZE)
    height, width = image.shape[:2]
    encoded = tfrecord.encode_png(image), "png", tfrecord.encode_png(label)
    sound = tfrecord.Record(*encoded, "val_0", height, width, "tiny", "x.png")
    example = tf.train.Example.FromString(tfrecord.serialize(sound))
    texts = (
        *(b"", b"../../outside", b"/etc/passwd", b"a\nb", b"x" * 300, b"\xff"),
        *(image_files.noise(4, 4).tobytes(), image_files.encode(label, "PNG"), encoded[0]),
        tfrecord.encode_png(label[:7, :9]),
    )
    features = example.features.feature
    for name in draw.sample(sorted(features), draw.randint(1, 2)):
        kind = features[name].WhichOneof("kind")
        if draw.random() < 0.2:
            del features[name]
        elif kind == "int64_list":
            features[name].int64_list.value[:] = draw.choice(([0], [-1], [2**62], [7], [], [1, 2]))
        else:
            features[name].bytes_list.value[:] = draw.choice([[text] for text in texts])
    return example.SerializeToString()


def test_damaged_records_end_in_one_line(world, cases):
    for number in cases:
        draw, place = random.Random(number), world.case()
        path = draw.choice(sorted((place / "data").glob("*.tfrecord")))
        records = [bytes(r.numpy()) for r in tf.data.TFRecordDataset(str(path))]
        if draw.random() < 0.3:
            path.write_bytes(damage.flipped(path.read_bytes(), draw))
        else:
            chosen = draw.randrange(len(records))
            records[chosen] = (
                damage.flipped(records[chosen], draw)
                if draw.random() < 0.4
                else hostile_record(draw)
            )
            with tf.io.TFRecordWriter(str(path)) as writer:
                for record in records:
                    writer.write(record)
        described = place / "data" / manifests.FILE_NAME
        if draw.random() < 0.8:
            # As an attacker does: sizes and checksums fit.
            text = described.read_text()
            old = (world.folder / "whole/data" / path.name).read_bytes()
            for before, now in (
                (hashlib.sha256(old).hexdigest(), hashlib.sha256(path.read_bytes()).hexdigest()),
                (f": {len(old)},", f": {path.stat().st_size},"),
            ):
                text = text.replace(before, now)
            described.write_text(text)
        command = draw.choice(commands_of(world, path.relative_to(place)))
        world.check(command, f"case {number}, {path.name}")


def test_damaged_images_masks_and_lists_end_in_one_line(world, cases):
    for number in cases:
        draw, place = random.Random(number), world.case()
        own = place / "own"
        path = draw.choice(sorted(p for p in own.rglob("*") if p.is_file()))
        if path.suffix == ".json":
            path.write_bytes(damage.edited_json(path.read_bytes(), draw))
        elif path.suffix == ".png" and draw.random() < 0.4:
            shape = draw.choice(((7, 9), (30, 40, 3), (1, 1), (30, 40, 4)))
            path.write_bytes(image_files.encode(np.zeros(shape, np.uint8), "PNG"))
        else:
            path.write_bytes(damage.flipped(path.read_bytes(), draw))
        convert = [
            *("data_tools.folder", f"--images={own / 'photos'}", f"--masks={own / 'masks'}"),
            *(f"--label_map={own / 'classes.json'}", f"--val_list={own / 'val.txt'}"),
            *(f"--unlabeled={own / 'more'}", f"--output={place / 'made'}", "--num_workers=1"),
            *draw.choice(((), ("--skip_bad",), ("--exif=apply",))),
        ]
        world.check(convert, f"case {number}, {path.name}")
        for photo in (place / "photos").iterdir():
            photo.write_bytes(damage.flipped(photo.read_bytes(), draw))
        if number % 4 == 0:
            shutil.rmtree(place / "predicted")
            world.check(world.predict("case", "case/photos"), f"case {number}, photos")


# What may stand for any value of a table's file.
_TOML = ("nan", "5", "-1", "[[1]]", "{}", '"x"', '"a\\u0000"', "1979-05-27", "9" * 30, "true", "[]")


def test_damaged_annotations_and_tables_end_in_one_line(world, cases):
    for number in cases:
        draw, place = random.Random(number), world.case()
        own = place / "own"
        kind = draw.choice(sorted(path.name for path in (place / "drawn").iterdir()))
        path = draw.choice(sorted((place / "drawn" / kind).iterdir()))
        if path.suffix == ".json":
            path.write_bytes(damage.edited_json(path.read_bytes(), draw))
        else:
            path.write_bytes(damage.flipped(path.read_bytes(), draw))
        if draw.random() < 0.2:
            photo = draw.choice(sorted((own / "photos").iterdir()))
            photo.write_bytes(damage.flipped(photo.read_bytes(), draw))
        polygons = [
            *("data_tools.polygons", f"--format={kind}", f"--images={own / 'photos'}"),
            *(f"--annotations={place / 'drawn' / kind}", f"--label_map={own / 'classes.json'}"),
            *(f"--output={place / 'masks'}", *draw.choice(((), ("--skip_open",)))),
        ]
        world.check(polygons, f"case {number}, {path.name} of {kind}")
        table = place / "tiny.toml"
        if draw.random() < 0.3:
            table.write_bytes(damage.flipped(table.read_bytes(), draw))
        else:
            text = table.read_text()
            found = draw.choice(list(re.finditer(r'"[^"]*"|\d+|\{\}|\[.*\]', text)))
            table.write_text(text[: found.start()] + draw.choice(_TOML) + text[found.end() :])
        tables = ["c3tf.tables", f"--table={table}", f"--output={place / 'tables'}"]
        tables.append(draw.choice(("--list", "--only_report")))
        world.check(tables, f"case {number}, table\n{table.read_bytes()}")


def test_damaged_files_of_published_data_sets_end_in_one_line(world, cases):
    for number in cases:
        draw, place = random.Random(number), world.case()
        name = draw.choice(sorted(path.name for path in (place / "raw").iterdir()))
        files = [path for path in (place / "raw" / name).rglob("*") if path.is_file()]
        path, kind = draw.choice(sorted(files)), draw.random()
        if kind < 0.6:
            path.write_bytes(damage.flipped(path.read_bytes(), draw))
        elif kind < 0.7:
            path.unlink()
        elif kind < 0.8:
            path.unlink()
            path.mkdir()
        elif kind < 0.9:
            path.rename(path.with_name(draw.choice(("a\nb.png", "x", "\udce9.png", "x.PNG"))))
        else:
            shutil.copy(draw.choice(sorted(files)), path.with_suffix(".jpg"))
        convert = [
            *(f"data_tools.{name}", f"--source={place / 'raw' / name}", "--num_workers=1"),
            *(f"--output={place / 'made'}", *draw.choice(((), ("--skip_bad",), ("--reencode",)))),
        ]
        world.check(convert, f"case {number}, {path}")
