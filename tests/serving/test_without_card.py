"""Models that were trained further and exported by Keras, without a card: measured all the same."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tiny_data
import tiny_network
from c3tf import models
from c3tf.data import validation
from c3tf.errors import UserError
from c3tf.evaluation import evaluator, split
from c3tf.serving import saved_model
from c3tf.serving.options import ExportOptions
from tiny_network import LABEL_MAP


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """`export`, as c3tf writes it, and `tuned`, trained further and exported as the docs say."""
    folder = tmp_path_factory.mktemp("tuned")
    options = ExportOptions(formats=("saved_model", "keras"), fold=False)
    saved_model.save(tiny_network.build(), LABEL_MAP, folder / "export", options=options)
    model = keras.saving.load_model(folder / "export/model.keras", safe_mode=True)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
    model.compile(keras.optimizers.SGD(0.1), loss)
    pairs = [tiny_data.pair(seed, (16, 24)) for seed in range(2)]
    images, labels = map(np.stack, zip(*pairs, strict=True))
    model.fit(images, labels, verbose=0)
    model.export(folder / "tuned", verbose=False)
    (folder / "data").mkdir()
    sizes = {"a": ((24, 40), None), "b": ((31, 18), (62, 36))}
    data = {n: tiny_data.pair(i, *size) for i, (n, size) in enumerate(sizes.items())}
    tiny_data.write(folder / "data", data)
    model.save(folder / "tuned.keras")
    return folder


def opened(folder, name="tuned", label_map="export/label_map.json"):
    return models.open_model(folder / name, label_map=label_map and str(folder / label_map))


def test_it_is_measured_as_the_network_is(folder):
    model = opened(folder)
    result = split.evaluate_split(lambda: model, str(folder / "data"))
    network = keras.saving.load_model(folder / "tuned.keras")
    before = models.open_model(folder / "export")
    for batch in validation.val_dataset(str(folder / "data")):
        image, (height, width) = batch["image"], batch["image"].shape[1:3]
        beyond = [[0, 0], [0, -height % 4], [0, -width % 4], [0, 0]]
        continued = np.pad(image, beyond, mode="edge").astype(np.float32)
        wanted = np.argmax(network(continued)[:, :height, :width], -1)
        found = model.predict(image, tf.constant([height, width]))
        np.testing.assert_array_equal(found, wanted)
        assert (before.predict(image, tf.constant([height, width])) != found).numpy().any()
        softmax = model.probabilities(image)
        np.testing.assert_array_equal(np.argmax(softmax, -1), wanted)
    assert result.images == 2
    assert result.protocol["kind"] == "saved_model"
    assert len(result.protocol["sha256"]) == 64


def test_without_training_it_is_the_export(folder, tmp_path):
    keras.saving.load_model(folder / "export/model.keras").export(tmp_path / "same", verbose=False)
    label_map = str(folder / "export/label_map.json")
    found, wanted = (
        split.evaluate_split(lambda one=one: one, str(folder / "data")).confusion
        for one in (
            models.open_model(tmp_path / "same", label_map=label_map),
            models.open_model(folder / "export"),
        )
    )
    np.testing.assert_array_equal(found, wanted)
    network = evaluator.evaluate(
        tiny_network.build(), validation.val_dataset(str(folder / "data")), LABEL_MAP
    )
    np.testing.assert_array_equal(found, network.confusion)


@pytest.mark.parametrize(
    ("name", "label_map", "said"),
    [
        ("tuned", None, r"holds no model_card\.json.*--label_map=label_map\.json` measures it"),
        ("export", "export/label_map.json", r"without a model_card\.json, and .*export has one"),
        ("tuned", "three.json", r"to float32 logits of the 3 classes"),
        ("tuned", "none.json", r"There is no file .*none\.json"),
        ("tuned", "export/model_card.json", "is no label map of an export"),
        ("data", "export/label_map.json", "is no SavedModel"),
    ],
)
def test_what_does_not_fit_is_refused(folder, name, label_map, said):
    three = LABEL_MAP.to_json()
    for key in ("class_names", "colors", "raw_ids"):
        three[key] = three[key][:3]
    (folder / "three.json").write_text(json.dumps(three))
    with pytest.raises(UserError, match=said):
        opened(folder, name, label_map)


def test_a_path_that_tensorflow_takes_for_a_pattern(folder, tmp_path):
    odd = "a[1]*{b}?"
    (tmp_path / odd).mkdir()
    for name in ("export", "tuned"):
        (folder / name).rename(tmp_path / odd / name)
    try:
        label_map = str(tmp_path / odd / "export/label_map.json")
        image = tf.constant(tiny_network.noise(0, 16, 24)[None])
        for name, given in (("export", None), ("tuned", label_map)):
            model = models.open_model(tmp_path / odd / name, label_map=given)
            assert model.predict(image, tf.constant([16, 24])).shape == (1, 16, 24)
    finally:
        for name in ("export", "tuned"):
            (tmp_path / odd / name).rename(folder / name)
