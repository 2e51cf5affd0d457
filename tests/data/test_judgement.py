"""Statistics of labels: undefined problems are refused, doubtful ones said in a line."""

import dataclasses

import numpy as np
import pytest

import tiny_data
import tiny_network
from c3tf.config import Config
from c3tf.data import judgement, labeled_images, splits
from c3tf.data.training_data import open_training_data
from c3tf.errors import DataError
from c3tf.labels import IGNORE, LabelMap

MAP = LabelMap("yard", ("a", "b", "c"), ((0, 0, 0),) * 3, (1, 2, 3))


@pytest.mark.parametrize(
    ("counts", "ignored", "undefined", "doubtful"),
    [
        ((10, 10, 10), 5, 0, ()),
        ((0, 0, 0), 5, 1, ()),
        ((7, 0, 0), 5, 1, ()),
        ((7, 7, 0), 0, 0, ("1 of 3 classes: c.",)),
        ((1, 1, 1), 57, 0, ("95% of the pixels",)),
        ((998, 1, 1), 0, 0, ("99.8% of the labeled pixels of the labels are 'a'",)),
    ],
)
def test_counts(counts, ignored, undefined, doubtful):
    found = judgement.of_counts(counts, ignored, MAP, "the labels", trains=True)
    assert len(found.undefined) == undefined
    assert len(found.doubtful) == len(doubtful)
    assert all(part in said for part, said in zip(doubtful, found.doubtful, strict=True))


def test_one_class_may_validate():
    assert not judgement.of_counts((7, 0, 0), 0, MAP, "x", trains=False).undefined


def _manifest(tmp_path, labels):
    images = {f"{i}": (tiny_network.noise(i, 8, 8), label) for i, label in enumerate(labels)}
    return tiny_data.write_splits(tmp_path, {"train": images, "val": images})


def _judge(tmp_path, labels, labeled):
    manifest = _manifest(tmp_path, labels)
    split = splits.Split(labeled, manifest.names("train"), None, "")
    config = Config()
    config = dataclasses.replace(config, data=dataclasses.replace(config.data, cache="none"))
    data = open_training_data(manifest, split, config)
    return labeled_images.judge(data.labeled, manifest)


def test_the_labeled_images_of_a_run_are_judged(tmp_path):
    both = np.arange(64, dtype=np.uint8).reshape(8, 8) % 2
    none, one = np.full((8, 8), IGNORE, np.uint8), np.zeros((8, 8), np.uint8)
    labels = [both, none, one, none]
    for labeled, message in ((("1", "3"), "No pixel"), (("1", "2"), "All pixels")):
        with pytest.raises(DataError, match=f"{message} of the labels of the 2 labeled images"):
            _judge(tmp_path, labels, labeled)
    absent = tiny_network.LABEL_MAP.num_classes - 2
    (line,) = _judge(tmp_path, labels, ("0",))
    assert f"No pixel of the labels of the 1 labeled images is of {absent} of" in line


def test_data_sets_are_judged_by_what_they_count(tmp_path):
    manifest = _manifest(tmp_path, [np.zeros((8, 8), np.uint8)])
    assert not judgement.of_data_set(manifest).undefined, "nothing is counted"
    val = dataclasses.replace(manifest.splits["val"], ignored_pixels=64)
    manifest = dataclasses.replace(manifest, splits={**manifest.splits, "val": val})
    with pytest.raises(DataError, match="No pixel of the labels of split 'val'"):
        judgement.refuse_undefined(manifest)
    one = LabelMap("one", ("a",), ((0, 0, 0),), (1,))
    with pytest.raises(DataError, match="'one' has one class, 'a': at least two"):
        judgement.refuse_undefined(dataclasses.replace(manifest, splits={}, label_map=one))
