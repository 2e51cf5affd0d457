"""ONNX, OpenVINO and integer LiteRT files give the network's class maps in their own runtimes."""

import gc
import importlib.util
import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import tiny_data
import tiny_network
from c3tf import export
from c3tf.errors import UserError
from c3tf.inference import networks
from c3tf.serving import representative, runtimes, saved_model
from c3tf.serving.options import LITERT, ONNX, OPENVINO, PACKAGES, ExportOptions, ServingError
from tiny_network import LABEL_MAP

SIZE = (48, 64)
SHAPES = [(1, 48, 64), (3, 17, 33), (2, 50, 81), (1, 1, 1)]


@pytest.fixture(scope="module")
def network():
    """A network at output stride 4 with dilated convolutions and activations as real ones have."""
    images = keras.Input((None, None, 3), name="images")
    x = keras.layers.Rescaling(1 / 64, offset=-2.0)(images)
    activations = keras.layers.ReLU(6.0, name="relu"), keras.layers.Activation("gelu", name="gelu")
    for index, activation in enumerate(activations):
        x = keras.layers.Conv2D(8, 3, strides=2, padding="same", name=f"stem{index}")(x)
        x = activation(keras.layers.BatchNormalization(name=f"norm{index}")(x))
    x = keras.layers.DepthwiseConv2D(3, dilation_rate=2, padding="same", name="depthwise")(x)
    wide = keras.layers.Conv2D(8, 3, dilation_rate=6, padding="same", name="wide")(x)
    even = keras.layers.Conv2D(8, 2, dilation_rate=3, padding="same", name="even")(x)
    logits = keras.layers.Conv2D(LABEL_MAP.num_classes, 1, name="classifier")(
        keras.layers.Add(name="sum")([wide, even])
    )
    model = keras.Model(images, {"logits": logits}, name="dilated")
    rng = np.random.default_rng(0)
    for weight in model.weights:
        values = rng.normal(0, 0.5, weight.shape)
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data set whose images are of the size that is asked for, and of another one."""
    folder = tmp_path_factory.mktemp("data")
    sizes = [SIZE, (30, 40), SIZE, SIZE]
    pairs = {
        f"{seed}": (tiny_network.noise(seed, *size), np.zeros(size, np.uint8))
        for seed, size in enumerate(sizes)
    }
    tiny_data.write_splits(folder, {"train": pairs}, label_map=LABEL_MAP)
    return str(folder)


def expected(network, images):
    predict = networks.predictor(network)
    return predict(tf.constant(images), tf.constant(images.shape[1:3])).numpy()


def onnx_runtime(folder):
    session = pytest.importorskip("onnxruntime").InferenceSession(folder / "model.onnx")
    return lambda images: session.run(["class_map"], {"images": images})[0]


def open_vino(folder):
    openvino = pytest.importorskip("openvino")
    precise = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(folder / "model.xml", "CPU", precise)
    return lambda images: compiled({"images": images})["class_map"]


RUNTIMES = {ONNX: onnx_runtime, OPENVINO: open_vino}


def exported(network, name, path, size=None):
    for package in PACKAGES[name]:
        pytest.importorskip(package)
    options = ExportOptions([name], size=size)
    saved_model.save(network, LABEL_MAP, path, options=options)
    return RUNTIMES[name](path), json.loads((path / "model_card.json").read_text())


def test_what_onnx_has_no_operation_for_is_refused_by_name(tmp_path):
    pytest.importorskip("tf2onnx")
    images = keras.Input((None, None, 3))
    network = keras.Model(images, {"logits": keras.ops.erfinv(images / 256)})
    with pytest.raises(ServingError, match=r"ONNX cannot say .* Erfinv"):
        runtimes.write_onnx(network, tmp_path / "model.onnx", None)


def test_no_copies_of_a_network_pile_up_on_its_way_to_onnx(network, tmp_path, monkeypatch):
    graph = pytest.importorskip("tf2onnx.graph").Graph
    optimizer = importlib.import_module("tf2onnx.optimizer.optimizer_base").GraphOptimizerBase
    alive, thresholds = [], gc.get_threshold()

    def optimize(self, *args, then=optimizer.optimize, **kwargs):
        alive.append(sum(isinstance(one, graph) for one in gc.get_objects()))
        return then(self, *args, **kwargs)

    monkeypatch.setattr(optimizer, "optimize", optimize)
    runtimes.write_onnx(network, tmp_path / "model.onnx", SIZE)
    assert max(alive) < len(alive) / 2
    assert gc.get_threshold() == thresholds
    assert not gc.get_freeze_count()


@pytest.mark.parametrize("name", RUNTIMES)
def test_any_size_gives_the_networks_class_maps(network, tmp_path, name):
    run, card = exported(network, name, tmp_path / "model")
    pixels = different = 0
    for seed, (batch, height, width) in enumerate(SHAPES):
        images = tiny_network.noise(seed, height, width, batch)
        class_map, right = run(images), expected(network, images)
        assert class_map.dtype == np.uint8
        assert class_map.shape == right.shape
        different += np.sum(class_map != right)
        pixels += right.size
        assert height == 1 or len(np.unique(right)) >= 3, "the case should not be trivial"
    assert different <= pixels / 2000, (different, pixels)
    assert card["artifacts"][name]["size"] == "any"
    files = set(card["files"]) - {"label_map.json"}
    own = {ONNX: {runtimes.ONNX_FILE}, OPENVINO: set(runtimes.OPENVINO_FILES)}
    assert files == own[name]
    for wrong in ((1, 48, 64, 4), (48, 64, 3)):
        with pytest.raises(Exception, match=r"(?i)shape|dimension|rank"):
            run(np.zeros(wrong, np.uint8))


@pytest.mark.parametrize("name", RUNTIMES)
def test_a_fixed_size_is_enforced(network, tmp_path, name):
    run, card = exported(network, name, tmp_path / "model", SIZE)
    images = tiny_network.noise(0, *SIZE, batch=2)
    assert np.mean(run(images) != expected(network, images)) <= 1 / 2000
    assert card["artifacts"][name]["size"] == list(SIZE)
    with pytest.raises(Exception, match=r"(?i)shape|dimension"):
        run(tiny_network.noise(0, SIZE[1], SIZE[0], batch=1))


def test_the_opset_is_that_of_the_card_and_sides_have_names(network, tmp_path):
    _, card = exported(network, ONNX, tmp_path / "model")
    model = pytest.importorskip("onnx").load(tmp_path / "model/model.onnx")
    versions = {entry.domain: entry.version for entry in model.opset_import}
    assert versions[""] == card["artifacts"][ONNX]["opset"] == runtimes.OPSET
    (given,) = model.graph.input
    sides = [side.dim_param or side.dim_value for side in given.type.tensor_type.shape.dim]
    assert sides == ["batch", "height", "width", 3]


def test_integers_are_calibrated_on_records(network, data, tmp_path):
    images = representative.images(data, SIZE, count=3)
    assert [(image.shape, image.dtype) for image in images] == [((*SIZE, 3), np.uint8)] * 3
    again = representative.images(data, SIZE, count=3)
    np.testing.assert_array_equal(images, again)
    options = ExportOptions([LITERT], size=SIZE, quantize="int8", representative=data)
    saved_model.save(network, LABEL_MAP, tmp_path / "model", options=options)
    card = json.loads((tmp_path / "model/model_card.json").read_text())
    assert card["artifacts"][LITERT]["files"]["int8"] == runtimes.INT8_FILE
    assert card["artifacts"][LITERT]["representative_images"] > 0
    path = tmp_path / "model" / runtimes.INT8_FILE
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    interpreter = litert.Interpreter(str(path))
    run = interpreter.get_signature_runner("serving_default")
    right = expected(network, np.stack(images))
    found = np.concatenate([run(images=image[np.newaxis])["class_map"] for image in images])
    assert np.mean(found == right) > 0.9, np.mean(found == right)
    # Kernels are integers: the only floats are the image before it is quantised.
    kernels = [x for x in interpreter.get_tensor_details() if len(x["shape"]) == 4]
    floats = [x["name"] for x in kernels if x["dtype"] == np.float32 and x["shape"][-1] != 3]
    assert not floats
    resized = litert.Interpreter(str(path))
    resized.resize_tensor_input(0, [1, SIZE[1], SIZE[0], 3])
    with pytest.raises((RuntimeError, ValueError)):
        resized.allocate_tensors()


@pytest.mark.parametrize(("name", "missing"), [(ONNX, "tf2onnx"), (OPENVINO, "openvino")])
def test_a_missing_package_is_named_with_what_to_install(monkeypatch, name, missing):
    there = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda package: None if package == missing else there("json"),
    )
    with pytest.raises(UserError) as caught:
        export.parse_options([name], True, None)
    assert f"`--format={name}` needs packages that are not installed: {missing}." in str(
        caught.value
    )
    assert "pip install -r requirements-runtimes.txt" in str(caught.value)


@pytest.mark.parametrize(
    ("formats", "given", "message"),
    [
        (["keras"], {"quantize": "int8", "representative": "data"}, "needs --format=litert"),
        (["litert"], {"quantize": "int8"}, "needs --representative=DATA"),
        (["litert"], {"representative": "data"}, "needs --quantize=int8"),
        (["litert"], {"quantize": "int4", "representative": "data"}, "one of int8"),
    ],
)
def test_quantisation_is_refused_where_nothing_would_read_it(formats, given, message):
    with pytest.raises(UserError, match=message):
        export.parse_options(formats, True, None, **given)


def test_no_data_set_no_files(network, tmp_path):
    options = ExportOptions(
        [LITERT], size=SIZE, quantize="int8", representative=str(tmp_path / "none")
    )
    with pytest.raises(UserError, match="There is no data set directory"):
        saved_model.save(network, LABEL_MAP, tmp_path / "model", options=options)
    assert not (tmp_path / "model").exists()
