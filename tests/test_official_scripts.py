"""Files that `c3tf.predict` wrote, measured by the benchmarks' own programs or rules."""

import json
import math
import sys

import numpy as np
import pytest
from cityscapesscripts.evaluation import evalPixelLevelSemanticLabeling
from PIL import Image

import raw_trees
import tiny_network
from c3tf import models
from c3tf.evaluation.split import evaluate_split
from c3tf.inference.options import PredictionOptions
from c3tf.inference.predict_files import predict_files
from c3tf.labels import CITYSCAPES, IGNORE
from c3tf.serving import saved_model
from data_tools import bdd100k, cityscapes
from data_tools.conversion import convert
from data_tools.conversion.example import ConversionOptions
from data_tools.conversion.runners import LocalRunner

OFFICIAL = evalPixelLevelSemanticLabeling
# Every id of Cityscapes, those without a class as well, but for a class that is never there.
ABSENT = 16
RAW_IDS = tuple(i for i in range(34) if i != CITYSCAPES.raw_ids[ABSENT])


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A network that predicts every class but one somewhere."""
    network = tiny_network.build(seed=4, label_map=CITYSCAPES)
    classifier = network.get_layer("classifier")
    kernel, bias = classifier.get_weights()
    bias[ABSENT] = -1e6
    classifier.set_weights([kernel, bias])
    return saved_model.save(network, CITYSCAPES, tmp_path_factory.mktemp("export") / "saved")


def convert_tree(found, output, dataset, height=0):
    options = ConversionOptions(
        dataset=dataset,
        label_map=CITYSCAPES,
        label_ids=found.label_ids,
        height=height,
        image_format="png",
        val_label_size="original",
    )
    convert.convert(found, str(output), options, converter="tests", runner=LocalRunner(1))


def write_pairs(root, image_name, label_name, ids):
    """Writes validation pairs 0 to 2 and training pair 3; names are made of split and index."""
    rng = np.random.default_rng(8)
    for split, indices in (("train", [3]), ("val", range(3))):
        for index in indices:
            blocks = rng.integers(0, 256, (10, 14, 3), np.uint8)
            image = blocks.repeat(4, axis=0).repeat(4, axis=1)
            mask = rng.choice(np.asarray(ids, np.uint8), (20, 28)).repeat(2, 0).repeat(2, 1)
            raw_trees.save(root / image_name.format(split=split, index=index), image)
            raw_trees.save(root / label_name.format(split=split, index=index), mask)


def run_official(monkeypatch, truth, predicted, result):
    """Runs the program as its users do: it looks for both folders' files by their names.

    The scores of single instances are left out: they need a function that NumPy no longer has.
    """
    settings = {
        "groundTruthSearch": str(truth),
        "predictionPath": str(predicted),
        "predictionWalk": None,
        "exportFile": str(result),
        "evalInstLevelScore": False,
        "quiet": True,
    }
    for name, value in settings.items():
        assert hasattr(OFFICIAL.args, name)
        monkeypatch.setattr(OFFICIAL.args, name, value)
    monkeypatch.setattr(sys, "argv", ["evalPixelLevelSemanticLabeling"])
    OFFICIAL.main()
    return json.loads(result.read_text())


@pytest.mark.parametrize("height", [0, 20])
def test_cityscapes_program_gives_our_iou(saved, tmp_path, monkeypatch, height):
    """At the stored size, and with images halved and labels as they are."""
    root, data, predicted = tmp_path / "raw", tmp_path / "data", tmp_path / "predicted"
    stem = "{split}/lindau/lindau_{index:06d}_000019_"
    image_name, label_name = f"leftImg8bit/{stem}leftImg8bit.png", f"gtFine/{stem}gtFine_"
    write_pairs(root, image_name, f"{label_name}labelIds.png", RAW_IDS)
    convert_tree(cityscapes.discover(str(root)), data, "cityscapes", height)
    options = PredictionOptions(formats=("label_ids",), height=height)
    images = str(root / "leftImg8bit/val")
    predict_files(lambda: models.open_model(saved), images, str(predicted), options)
    files = sorted(path.name for path in (predicted / "label_ids").rglob("*.png"))
    assert files == [f"lindau_{i:06d}_000019_leftImg8bit.png" for i in range(3)]
    result = evaluate_split(lambda: models.open_model(saved), str(data))
    assert result.images == 3
    truth = root / "gtFine/val/*/*_gtFine_labelIds.png"
    official = run_official(monkeypatch, truth, predicted / "label_ids", tmp_path / "official.json")
    for name, ours in zip(CITYSCAPES.class_names, result.iou, strict=True):
        theirs = official["classScores"][name]
        assert math.isnan(ours) if math.isnan(theirs) else abs(ours - theirs) <= 1e-9, name
    assert abs(result.mean_iou("cityscapes") - official["averageScoreClasses"]) <= 1e-9
    assert [CITYSCAPES.class_names[i] for i in np.flatnonzero(np.isnan(result.iou))] == [
        CITYSCAPES.class_names[ABSENT]
    ]
    assert np.count_nonzero(result.iou > 0) >= 7, "the case should not be trivial"


def toolkit_scores(truths, predictions, classes):
    """BDD100K's published rule on PNGs of train ids.

    Ignored truth is not counted; the IoU of a class that is nowhere is 0; the mean runs over the
    ids that some truth holds.
    """
    hits, true, found = (np.zeros(classes) for _ in range(3))
    for truth, predicted in zip(truths, predictions, strict=True):
        counted = truth != IGNORE
        for index in range(classes):
            hits[index] += ((truth == index) & (predicted == index)).sum()
            true[index] += (truth == index).sum()
            found[index] += (counted & (predicted == index)).sum()
    union = true + found - hits
    iou = np.divide(hits, union, out=np.zeros(classes), where=union > 0)
    return iou, iou[true > 0].mean()


def test_bdd100k_rule_gives_our_iou(saved, tmp_path):
    root, data, predicted = tmp_path / "raw", tmp_path / "data", tmp_path / "predicted"
    # Two classes that the network predicts are true nowhere.
    ids = [*range(2, CITYSCAPES.num_classes), IGNORE]
    images, masks = "images/10k/{split}", "labels/sem_seg/masks/{split}"
    write_pairs(root, f"{images}/{{split}}-{{index}}.jpg", f"{masks}/{{split}}-{{index}}.png", ids)
    convert_tree(bdd100k.discover(str(root)), data, "bdd100k")
    folder, options = root / images.format(split="val"), PredictionOptions(formats=("train_ids",))
    predict_files(lambda: models.open_model(saved), str(folder), str(predicted), options)
    result = evaluate_split(lambda: models.open_model(saved), str(data))

    def pixels(folder):
        return [np.asarray(Image.open(path)) for path in sorted(folder.glob("*.png"))]

    truths, found = pixels(root / masks.format(split="val")), pixels(predicted / "train_ids")
    assert len(truths) == len(found) == result.images == 3
    iou, mean = toolkit_scores(truths, found, CITYSCAPES.num_classes)
    np.testing.assert_allclose(np.nan_to_num(result.iou), iou, rtol=0, atol=1e-9)
    assert abs(result.mean_iou("bdd100k") - mean) <= 1e-9
    assert abs(result.mean_iou("cityscapes") - mean) > 1e-3, "the case should tell the rules apart"
