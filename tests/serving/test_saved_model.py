"""SavedModels: equal to the network, in a process with neither c3tf nor Keras."""

import json
import resource
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import alone
import tiny_data
import tiny_network
from c3tf.data import tfrecord
from c3tf.evaluation.evaluator import evaluate
from c3tf.inference import networks
from c3tf.labels import CAMVID, IGNORE
from c3tf.serving import model_card, saved_model
from c3tf.serving.options import ExportOptions, ServingError
from tiny_network import LABEL_MAP

GIF = b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;"
# A PNG of 16 bits a channel, half of which would be dropped.
DEEP = tf.io.encode_png(tf.fill([8, 8, 3], tf.constant(4095, tf.uint16))).numpy()
SHAPES = [(1, 24, 40), (3, 17, 33), (2, 64, 48)]


@pytest.fixture(scope="module")
def network():
    return tiny_network.build()


@pytest.fixture(scope="module")
def saved(network, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "saved"
    return saved_model.save(
        network, LABEL_MAP, path, source={"step": 7}, metrics={"mean_iou_cityscapes": 0.5}
    )


def expected(network, images, size=None):
    """The evaluator's way, size by size."""
    predict = networks.predictor(network)
    return predict(tf.constant(images), tf.constant(size or images.shape[1:3])).numpy()


ALONE = (
    alone.PRELUDE
    + """
import numpy as np
import tensorflow as tf

module = tf.saved_model.load(sys.argv[1])
served = module.signatures
given = np.load(sys.argv[2])
results = {}
for key in [k for k in given if k.startswith("images")]:
    images = tf.constant(given[key])
    results[f"{key}/serving_default"] = served["serving_default"](images=images)["class_map"]
    results[f"{key}/probabilities"] = served["probabilities"](images=images)["probabilities"]
    resized = served["resized"](images=images, size=tf.constant([50, 30]))
    results[f"{key}/resized"] = resized["class_map"]
    for kind, encode in (("png", tf.io.encode_png), ("jpeg", tf.io.encode_jpeg)):
        encoded = tf.stack([encode(image) for image in images])
        results[f"{key}/{kind}"] = served["image_bytes"](image_bytes=encoded)["class_map"]
        results[f"{key}/{kind}_bytes"] = encoded
assert not [name for name in sys.modules if name.split(".")[0] in HIDDEN]
np.savez(sys.argv[3], **{k: np.asarray(v) for k, v in results.items()})
"""
)


def test_plain_tensorflow_gives_the_networks_class_maps(network, saved, tmp_path):
    inputs = {
        f"images{i}": tiny_network.noise(i, height, width, batch)
        for i, (batch, height, width) in enumerate(SHAPES)
    }
    np.savez(tmp_path / "in.npz", **inputs)
    command = [sys.executable, "-c", ALONE]
    command += [str(saved), str(tmp_path / "in.npz"), str(tmp_path / "out.npz")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    given = np.load(tmp_path / "out.npz", allow_pickle=True)
    for key, images in inputs.items():
        class_map = expected(network, images)
        assert len(np.unique(class_map)) >= 3, "the case should not be trivial"
        assert given[f"{key}/serving_default"].dtype == np.uint8
        np.testing.assert_array_equal(given[f"{key}/serving_default"], class_map)
        np.testing.assert_array_equal(given[f"{key}/png"], class_map)
        np.testing.assert_array_equal(
            given[f"{key}/resized"], expected(network, images, size=(50, 30))
        )
        probabilities = given[f"{key}/probabilities"]
        assert probabilities.dtype == np.float32
        np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
        np.testing.assert_array_equal(probabilities.argmax(-1), class_map)
        decoded = [tfrecord.decode_image(data).numpy() for data in given[f"{key}/jpeg_bytes"]]
        np.testing.assert_array_equal(given[f"{key}/jpeg"], expected(network, np.stack(decoded)))


def test_the_evaluator_finds_the_same_through_the_savedmodel(network, saved):
    pairs = [tiny_data.pair(1, (24, 40)), tiny_data.pair(2, (31, 18), label_size=(62, 36))]
    batches = [
        {"image": image[None], "label": label[None, ..., None], "name": [str(i)]}
        for i, (image, label) in enumerate(pairs)
    ]
    batches = [{key: tf.constant(value) for key, value in batch.items()} for batch in batches]
    served = saved_model.load(saved)
    direct = evaluate(network, batches, LABEL_MAP)
    through = evaluate(served.predict, batches, served.label_map)
    np.testing.assert_array_equal(direct.confusion, through.confusion)
    assert direct.confusion.sum() == sum((label != IGNORE).sum() for _, label in pairs)


def stored_variables(path):
    """Sizes of the variables of a SavedModel, by the path they have in the network."""
    shapes = tf.train.load_checkpoint(str(path / "variables/variables"))
    return {
        name.split("/")[1].replace(".S", "/"): int(np.prod(shape))
        for name, shape in shapes.get_variable_to_shape_map().items()
        if name.endswith("VARIABLE_VALUE")
    }


def test_only_what_the_logits_need_is_inside(network, saved, tmp_path):
    plain = saved_model.save(
        network, LABEL_MAP, tmp_path / "plain", options=ExportOptions(fold=False)
    )
    needed = {w.path: int(np.prod(w.shape)) for w in networks.logits_network(network).weights}
    assert stored_variables(plain) == needed
    assert stored_variables(saved) == {p: n for p, n in needed.items() if "norm/" not in p}
    assert any("norm/" in path for path in needed)
    assert not any("projection" in path for path in needed)
    assert b"projection" not in (saved / "saved_model.pb").read_bytes()


def test_half_size_weights_are_the_rounded_ones_and_computed_in_float32(network, tmp_path):
    half = ExportOptions(fold=False, half=True)
    folder = saved_model.save(network, LABEL_MAP, tmp_path / "half", options=half)
    rounded = tiny_network.build()
    rounded.set_weights([w.astype(np.float16).astype(w.dtype) for w in network.get_weights()])
    images = tiny_network.noise(3, 33, 48, 2)
    served = saved_model.load(folder)
    np.testing.assert_allclose(
        served.probabilities(tf.constant(images)),
        tf.nn.softmax(networks.logits_at(rounded, tf.constant(images))),
        atol=1e-5,
    )
    checkpoint = tf.train.load_checkpoint(str(folder / "variables/variables"))
    stored = checkpoint.get_variable_to_dtype_map().items()
    assert {dtype for name, dtype in stored if name.startswith("weights")} == {tf.float16}
    assert served.card["artifacts"]["saved_model"]["weights"] == "float16"


def test_weights_beyond_half_precision_are_refused_and_nothing_is_left(tmp_path):
    network = tiny_network.build()
    network.weights[0].assign(np.full(network.weights[0].shape, 1e5))
    with pytest.raises(ServingError, match="beyond what half precision holds"):
        saved_model.save(
            network, LABEL_MAP, tmp_path / "half", options=ExportOptions(fold=False, half=True)
        )
    assert not list(tmp_path.iterdir())


def test_label_map_and_model_card_lie_inside(saved):
    served = saved_model.load(saved)
    assert served.label_map == LABEL_MAP
    card = json.loads((saved / saved_model.MODEL_CARD_FILE).read_text())
    assert card == served.card
    assert [entry["name"] for entry in card["classes"]] == list(LABEL_MAP.class_names)
    assert card["classes"][1] == {"id": 1, "name": "wall", "color": [70, 70, 70]}
    assert card["source"] == {"step": 7}
    assert card["metrics"] == {"mean_iou_cityscapes": 0.5}
    assert card["versions"]["tensorflow"] == tf.__version__


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        ([(8, 8), (8, 9)], "images of one size"),
        ([], "at least one image"),
        ([b"no image"], "JPEG or PNG files"),
        ([(8, 8), DEEP], "up to 8 bits a channel"),
        ([b""], "JPEG or PNG files"),
        ([(8, 8), GIF], "JPEG or PNG files"),
        ([b"\xff\xd8\xff\xe0 and no more"], "Invalid JPEG"),
        ([b"\x89PNG\r\n\x1a\n and no more"], "PNG"),
        ([tfrecord.encode_jpeg(tiny_network.noise(0, 64, 64))[:900]], "Invalid JPEG"),
        ([tfrecord.encode_png(tiny_network.noise(0, 64, 64))[:900]], "PNG"),
    ],
)
def test_image_bytes_refuses_clearly(saved, encoded, message):
    data = [
        one if isinstance(one, bytes) else tfrecord.encode_png(tiny_network.noise(0, *one))
        for one in encoded
    ]
    serve = tf.saved_model.load(str(saved)).signatures["image_bytes"]
    with pytest.raises(tf.errors.InvalidArgumentError, match=message):
        serve(image_bytes=tf.constant(data, tf.string, [len(data)]))


def test_an_earlier_savedmodel_is_replaced_only_on_request(network, saved, tmp_path):
    path = saved_model.save(network, LABEL_MAP, tmp_path / "model", source={"step": 1})
    with pytest.raises(ServingError, match="exists"):
        saved_model.save(network, LABEL_MAP, path, source={"step": 2})
    assert saved_model.load(path).card["source"] == {"step": 1}
    saved_model.save(network, LABEL_MAP, path, source={"step": 2}, overwrite=True)
    assert saved_model.load(path).card["source"] == {"step": 2}
    assert list(tmp_path.iterdir()) == [path]


def test_other_folders_are_never_replaced(network, tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/a.txt").write_text("mine")
    with pytest.raises(ServingError, match="is no export"):
        saved_model.save(network, LABEL_MAP, tmp_path / "photos", overwrite=True)
    assert (tmp_path / "photos/a.txt").read_text() == "mine"


def test_a_failed_export_leaves_nothing(network, tmp_path, monkeypatch):
    path = saved_model.save(network, LABEL_MAP, tmp_path / "model", source={"step": 1})

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(model_card, "write", fail)
    with pytest.raises(OSError, match="disk full"):
        saved_model.save(network, LABEL_MAP, path, overwrite=True)
    assert saved_model.load(path).card["source"] == {"step": 1}
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("most", [4_000, 60_000])
def test_a_full_disk_is_an_error_of_the_path_that_was_asked_for(network, tmp_path, most):
    """Within the variables, then within the graph, which TensorFlow itself writes."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (most, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large") as caught:
            saved_model.save(network, LABEL_MAP, tmp_path / "model")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert caught.value.filename == str(tmp_path / "model")
    assert "partial" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_networks_that_do_not_fit_are_refused(network, tmp_path):
    with pytest.raises(ValueError, match="a model of 4, label map 'camvid' of 11"):
        saved_model.save(network, CAMVID, tmp_path / "model")
    with pytest.raises(ValueError, match='output "logits"'):
        saved_model.save(saved_model.logits_network(network), LABEL_MAP, tmp_path / "model")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("missing", ["saved_model.pb", "label_map.json", "variables"])
def test_damaged_savedmodels_are_refused(network, tmp_path, missing):
    path = saved_model.save(network, LABEL_MAP, tmp_path / "model")
    (path / missing).rename(path / "gone")
    with pytest.raises(ServingError, match=str(path)):
        saved_model.load(path)


def test_foreign_savedmodels_are_refused(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path / "foreign"))
    with pytest.raises(ServingError, match=r"model_card.json"):
        saved_model.load(tmp_path / "foreign")
