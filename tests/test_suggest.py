"""Suggesting photos to label: what is left out, what is written, and that it comes out the same."""

import csv
import html
import os
import re

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

import tiny_data
import tiny_network
from c3tf import suggestions
from c3tf.config import Config
from c3tf.data import splits
from c3tf.errors import UserError
from c3tf.inference import choice, networks, photo_scores
from c3tf.inference.image_files import find_images
from c3tf.runs import checkpoints, labeled_photos
from c3tf.serving import saved_model
from c3tf.suggestions import SuggestionOptions
from tiny_network import LABEL_MAP

THRESHOLDS = np.array([0.6, 0.9, 0.7, 0.8], np.float32)
NAMES = [f"street/p{i}" for i in range(6)] + ["p6", "p7"]


@pytest.fixture
def photos(tmp_path):
    folder = tmp_path / "photos"
    (folder / "street").mkdir(parents=True)
    for seed, name in enumerate(NAMES):
        size = (20, 28) if seed % 2 else (18, 30)
        Image.fromarray(tiny_network.noise(seed, *size)).save(folder / f"{name}.png")
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run with a teacher that has learned from photos p1 and p6."""
    (tmp_path / "data").mkdir()
    pairs = {f"p{i}": tiny_data.pair(i, (16, 24)) for i in range(8)}
    tiny_data.write_splits(tmp_path / "data", {"train": pairs})
    (tmp_path / "labeled.txt").write_text("p1\np6\n")
    labeled = str(tmp_path / "labeled.txt")
    config = Config().with_options(data=str(tmp_path / "data"), labeled_list=labeled)
    head = {"head": "aspp_branch1"}
    found = {"student": tiny_network.build(0, **head), "teacher": tiny_network.build(1, **head)}
    split = splits.read(labeled, list(pairs)).hash
    facts = {"thresholds": THRESHOLDS, "networks": found, "split": split}

    def load_network(path, weights="student"):
        thresholds = facts["thresholds"]
        return checkpoints.LoadedNetwork(
            found[weights], LABEL_MAP, 12, config.to_dict(), thresholds, facts["split"], "5a"
        )

    monkeypatch.setattr(checkpoints, "load_network", load_network)
    (tmp_path / "run").mkdir()
    facts["path"] = str(tmp_path / "run")
    return facts


def written(folder):
    with open(folder / "scores.csv", newline="") as file:
        return list(csv.DictReader(file))


def by_hand(run, photos, labeled):
    """The suggestion of 2 photos, one photo after the other."""
    names = sorted(NAMES)
    teacher = networks.probabilities_and_features(run["networks"]["teacher"])
    student = networks.probabilities(run["networks"]["student"])
    summer = photo_scores.summer(teacher, student, THRESHOLDS, 4)
    images = [np.asarray(Image.open(photos / f"{name}.png"))[None] for name in names]
    sums, features = zip(*(summer(tf.constant(image)) for image in images), strict=True)
    sums, features = np.concatenate(sums), np.concatenate(features)
    pool = [i for i, name in enumerate(names) if name not in labeled]
    rest = [i for i, name in enumerate(names) if name in labeled]
    parts = photo_scores.parts(sums[pool], photo_scores.SUMS[1:])
    doubt = photo_scores.doubt(parts)
    chosen = choice.choose(doubt, features[pool], 2, features[rest])
    return [f"{names[pool[one.index]]}.png" for one in chosen], doubt


@pytest.mark.parametrize("batch_size", [1, 3])
def test_doubtful_photos_without_labels(run, photos, tmp_path, batch_size):
    (photos / "broken.png").write_text("no image")
    options = SuggestionOptions(count=2, batch_size=batch_size)
    found = suggestions.suggest(run["path"], str(photos), str(tmp_path / "out"), options)
    expected, doubt = by_hand(run, photos, {"street/p1", "p6"})
    assert found.photos == expected
    assert (found.scored, found.labeled) == (6, 2)
    assert [path.name for path in found.skipped] == ["broken.png"]
    assert (tmp_path / "out/suggested.txt").read_text().split() == expected
    assert (tmp_path / "out/labeled_list.txt").read_text().split() == ["p1", "p6", *expected]
    rows = written(tmp_path / "out")
    assert [float(row["doubt"]) for row in rows] == sorted(np.round(doubt, 6), reverse=True)
    assert {row["photo"]: row["suggested"] for row in rows if row["suggested"]} == {
        expected[0]: "1",
        expected[1]: "2",
    }
    assert not {"street/p1.png", "p6.png"} & {row["photo"] for row in rows}
    page = (tmp_path / "out/suggestions.html").read_text()
    assert len(re.findall("<img", page)) == 2 * 4
    assert re.findall(r"<h3>\d\. ([^<]+)</h3>", page) == expected
    with pytest.raises(UserError, match=r"suggested\.txt exists.*--overwrite"):
        suggestions.suggest(run["path"], str(photos), str(tmp_path / "out"), options)


def test_the_list_is_one_that_training_reads(run, photos, tmp_path):
    """With a data set that holds the photos under their names."""
    suggestions.suggest(run["path"], str(photos), str(tmp_path / "out"), SuggestionOptions(count=3))
    split = splits.read(str(tmp_path / "out/labeled_list.txt"), [f"p{i}" for i in range(8)])
    assert len(split.labeled) == 5
    assert {"p1", "p6"} < set(split.labeled)


def test_a_run_without_a_teacher_knows_its_entropy(run, photos, tmp_path):
    run["thresholds"] = None
    suggestions.suggest(run["path"], str(photos), str(tmp_path / "out"), SuggestionOptions(count=2))
    assert list(written(tmp_path / "out")[0]) == [
        "photo", "doubt", "entropy", "suggested", "distance",
    ]  # fmt: skip
    page = (tmp_path / "out/suggestions.html").read_text()
    assert len(re.findall("<img", page)) == 2 * 3


def test_photos_of_which_none_can_tell_whether_they_validate_are_suggested_with_a_warning(
    run, photos, tmp_path
):
    (tmp_path / "mine.txt").write_text("p1\n")
    mine = SuggestionOptions(count=3, labeled_list=str(tmp_path / "mine.txt"))
    found = suggestions.suggest(run["path"], str(photos), str(tmp_path / "known"), mine)
    assert found.warning == ""
    (tmp_path / "data/dataset.json").unlink()
    found = suggestions.suggest(run["path"], str(photos), str(tmp_path / "unknown"), mine)
    assert "Which photos validate the run cannot be told" in found.warning
    assert str(tmp_path / "data") in found.warning
    page = (tmp_path / "unknown/suggestions.html").read_text()
    assert found.warning in html.unescape(page)


def test_photos_that_validate_have_labels(run, photos, tmp_path):
    pairs = {f"p{i}": tiny_data.pair(i, (16, 24)) for i in range(8)}
    kept = {name: pairs.pop(name) for name in ("p0", "p7")}
    # A name of both splits may be another image's.
    tiny_data.write_splits(tmp_path / "data", {"train": pairs, "val": {**kept, "p2": pairs["p2"]}})
    everything = SuggestionOptions(count=4)
    found = suggestions.suggest(run["path"], str(photos), str(tmp_path / "out"), everything)
    assert set(found.photos) == {f"street/p{i}.png" for i in (2, 3, 4, 5)}
    assert found.labeled == 4
    said = r"at most 4: of 8 photos 2 have a label and 2 more validate the run"
    with pytest.raises(UserError, match=said):
        suggestions.suggest(
            run["path"], str(photos), str(tmp_path / "no"), SuggestionOptions(count=5)
        )
    assert not {"p0", "p7"} & set((tmp_path / "out/labeled_list.txt").read_text().split())
    (tmp_path / "mine.txt").write_text("p1\n")
    mine = SuggestionOptions(count=5, labeled_list=str(tmp_path / "mine.txt"))
    found = suggestions.suggest(run["path"], str(photos), str(tmp_path / "mine"), mine)
    assert "p6.png" in found.photos
    assert found.labeled == 3
    none = SuggestionOptions(count=8, labeled_list="none")
    found = suggestions.suggest(run["path"], str(photos), str(tmp_path / "none"), none)
    assert (len(found.photos), found.labeled) == (8, 0)


def test_labels_of_another_split_than_the_runs_are_not_taken_for_its_own(run, photos, tmp_path):
    (tmp_path / "labeled.txt").write_text("p1\np6\np7\n")
    output = str(tmp_path / "out")
    with pytest.raises(UserError, match=r"Which photos .*has changed since: .*--labeled_list=FILE"):
        suggestions.suggest(run["path"], str(photos), output, SuggestionOptions(count=2))
    # What a user keeps under the name of a list is not replaced.
    (tmp_path / "out").mkdir()
    (tmp_path / "out/labeled_list.txt").write_text("p1\n")
    with pytest.raises(UserError, match=r"labeled_list\.txt exists.*--overwrite"):
        suggestions.suggest(run["path"], str(photos), output, SuggestionOptions(count=2))


def test_lists_of_labeled_photos(photos, tmp_path):
    inputs = find_images(str(photos)).inputs
    path = tmp_path / "list.txt"

    def labeled(text):
        path.write_text(text)
        return {one.name for one in labeled_photos.of_list(str(path), inputs).found}

    assert labeled("# mine\nstreet/p0.png\n\np7\n") == {"street/p0", "p7"}
    assert labeled("p2.jpg masks/p2.png\nelsewhere.png\n") == {"street/p2"}
    assert labeled(f"{photos}/street/p3.png\n") == {"street/p3"}
    with pytest.raises(UserError, match=r"list\.txt has a line with several images"):
        labeled("p6.png p7.png\n")
    assert not labeled_photos.of_list("none", inputs).found
    with pytest.raises(UserError, match=r"The list .*none\.txt cannot be read: No such file"):
        labeled_photos.of_list(str(tmp_path / "none.txt"), inputs)


def test_what_cannot_be_suggested_is_named(run, photos, tmp_path):
    def suggest(**options):
        given = {"model": run["path"], "images": str(photos), "output": str(tmp_path / "new")}
        given |= {k: options.pop(k) for k in list(options) if k in given}
        return suggestions.suggest(*given.values(), SuggestionOptions(**options))

    with pytest.raises(UserError, match=r"`--count` must be at most 6: .* Received: --count=7"):
        suggest(count=7)
    with pytest.raises(UserError, match="`--choice` must be coverage or k_center"):
        suggest(choice="random")
    with pytest.raises(UserError, match="`--count` must be at least 1"):
        suggest(count=0)
    with pytest.raises(UserError, match=r"`options` must be a c3tf\.suggestions"):
        suggestions.suggest(run["path"], str(photos), str(tmp_path / "new"), {"count": 2})
    with pytest.raises(UserError, match="There is no model at"):
        suggest(model=str(tmp_path / "nothing"))
    saved = saved_model.save(tiny_network.build(), LABEL_MAP, tmp_path / "saved")
    with pytest.raises(UserError, match=r"`--model` must name a run.*an export holds one network"):
        suggest(model=str(saved))
    (tmp_path / "data/dataset.json").unlink()
    with pytest.raises(UserError, match=r"no converted data set.*--labeled_list=none"):
        suggest(count=2)
    assert suggest(count=2, labeled_list="none").labeled == 0


def test_photos_that_no_list_can_name_are_skipped(run, photos, tmp_path):
    names = [os.fsdecode(name) for name in (b"two\nlines.png", b"caf\xe9.png", b"#7.png")]
    for name in names:
        Image.fromarray(tiny_network.noise(9, 18, 30)).save(photos / name)
    options = SuggestionOptions(count=6)
    found = suggestions.suggest(run["path"], str(photos), str(tmp_path / "out"), options)
    assert {path.name for path in found.skipped} == set(names)
    assert len((tmp_path / "out/suggested.txt").read_text().splitlines()) == 6


def test_a_network_of_other_layers_is_refused(run, photos, tmp_path):
    run["networks"]["teacher"] = tiny_network.build(1)
    with pytest.raises(UserError, match="a network without the layers of ours"):
        suggestions.suggest(run["path"], str(photos), str(tmp_path / "out"))
