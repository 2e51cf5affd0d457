"""Networks built from a description: ours come back, and no other layer is made."""

import json

import keras
import pytest

import tiny_network
import tiny_segmenter
from c3tf.config.networks import BACKBONES
from c3tf.nets import deeplab, description
from c3tf.nets.description import DescriptionError


def layers(network):
    return [(layer.name, type(layer), layer.get_config()) for layer in network.layers]


FAST = ("resnet50", "efficientnet_lite0", "mobilenetv3_small")


@pytest.mark.parametrize(
    "backbone",
    [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name in BACKBONES],
)
def test_networks_of_every_backbone_come_back(backbone):
    stride = min(BACKBONES[backbone].output_strides)
    network = deeplab.build(backbone, 3, stride, backbone_weights="random", max_pool_ceil=True)
    assert layers(description.build(network.to_json(), network.count_params())) == layers(network)


def test_networks_with_other_parts_of_ours_come_back():
    for network in (
        tiny_network.build(),
        tiny_segmenter.network("student", 0),
        deeplab.build(
            "efficientnet_lite0",
            3,
            backbone_weights="random",
            train_batch_norm=True,
            align_corners=True,
            embedding_dim=None,
            aspp_dilations=(6,),
        ),
    ):
        assert layers(description.build(network.to_json(), network.count_params())) == layers(
            network
        )


def changed(**parts):
    """The description of a small network, its ReLU replaced."""
    data = json.loads(tiny_network.build().to_json())
    (relu,) = [one for one in data["config"]["layers"] if one["class_name"] == "ReLU"]
    relu.update(parts)
    return json.dumps(data)


def norm_over(axis):
    """The description of a small network, its ReLU replaced by layer norm."""
    layer = keras.layers.LayerNormalization(axis=axis)
    return changed(
        class_name="LayerNormalization",
        config=layer.get_config(),
        build_config={"input_shape": [None, None, None, 4]},
    )


def test_layer_norm_is_over_channels_alone():
    description._check(json.loads(norm_over(-1)), 10**6)
    held = "declares .* layers and"
    with pytest.raises(DescriptionError, match=held):
        description._check(json.loads(norm_over(-1)), 1)
    with pytest.raises(DescriptionError, match="normalises over other axes"):
        description.build(norm_over([1, 2, 3]), 10**9)


def activation(value):
    data = json.loads(tiny_network.build().to_json())
    data["config"]["layers"][2]["config"]["activation"] = value
    return json.dumps(data)


def keras_layer(name, **config):
    return changed(class_name=name, module="keras.layers", config=config, registered_name=None)


def convolution(change):
    """The description of a small network, its first convolution changed."""
    data = json.loads(tiny_segmenter.network("student", 0).to_json())
    first = next(one for one in data["config"]["layers"] if one["class_name"] == "Conv2D")
    change(first)
    return json.dumps(data)


def configured(**values):
    return convolution(lambda one: one["config"].update(values))


def built(value):
    return convolution(lambda one: one.update(build_config=value))


def many(count):
    """So many layers, the last first: Keras would look for what can be built as often."""
    data = json.loads(tiny_network.build().to_json())
    relu = next(one for one in data["config"]["layers"] if one["class_name"] == "ReLU")
    data["config"]["layers"] += [{**relu, "name": f"n{index}"} for index in range(count)]
    return json.dumps(data)


LARGE = {
    "filters": configured(filters=10**8),
    "kernel": configured(kernel_size=[10**5, 10**5]),
    "one side": configured(kernel_size=10**5),
    "no number": configured(filters=1e9),
    "channels": built({"input_shape": [None, None, None, 10**9]}),
    "another axis": built({"input_shape": [None, 10**9, None, 3]}),
    "several shapes": built({"shapes_dict": {"input_shape": [None, None, None, 10**9]}}),
    "no shape": built(None),
    "layers": many(description.MOST_LAYERS),
}


@pytest.mark.parametrize("name", LARGE)
def test_descriptions_of_more_than_the_file_holds_are_refused_and_not_built(name, monkeypatch):
    monkeypatch.setattr(keras.models, "model_from_json", lambda _: pytest.fail("it was built"))
    with pytest.raises(DescriptionError, match="the network's description"):
        description.build(LARGE[name], 10**6)


def test_as_many_weights_as_the_file_holds_and_no_more():
    network = tiny_segmenter.network("student", 0)
    held = network.count_params()
    assert description.build(network.to_json(), held).count_params() == held
    with pytest.raises(DescriptionError, match=f"and {held} weights. .* the {held - 1} that"):
        description.build(network.to_json(), held - 1)


FILE = "/etc/hostname"
HOSTILE = {
    "vocabulary": keras_layer("StringLookup", vocabulary=FILE),
    "saved model": keras_layer("TFSMLayer", filepath="/etc"),
    "lambda": keras_layer("Lambda", function={"class_name": "__lambda__", "config": {"code": ""}}),
    "torch": keras_layer("TorchModuleWrapper", module="gASVAAAAAAAAAC4="),
    "module": changed(class_name="system", module="os", config="true"),
    "source": changed(class_name="ReLU", module="keras.src.layers", config={}),
    "registered": changed(registered_name="package>Layer"),
    "function": activation(
        {"module": "keras.utils", "class_name": "function", "config": "get_file"}
    ),
    "builtin": activation({"module": "builtins", "class_name": "function", "config": "exec"}),
    "bytes": activation({"class_name": "__numpy__", "config": {"value": [1], "dtype": "O"}}),
    "deep": '{"config":' * 5000 + "1" + "}" * 5000,
    "deeper": "[" * 500_000,
    "cut": tiny_network.build().to_json()[:2000],
    "no layers": '{"class_name": "Functional", "module": "keras.src.models.functional"}',
    "nothing": "null",
    "long": " " * (description.MOST_CHARACTERS + 1),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_other_descriptions_are_refused_and_nothing_is_built(name, monkeypatch):
    for kind in (keras.layers.StringLookup, keras.layers.TFSMLayer, keras.layers.Lambda):
        monkeypatch.setattr(kind, "__init__", lambda *_, **__: pytest.fail("it was built"))
    with pytest.raises(DescriptionError, match="the network's description") as caught:
        description.build(HOSTILE[name], 10**6)
    assert len(str(caught.value)) < 500


def test_a_description_that_is_no_text_is_refused():
    with pytest.raises(DescriptionError, match="must be a text"):
        description.build({"class_name": "Functional"}, 1)
