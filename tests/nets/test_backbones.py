"""Tests for the dilated backbones against the networks they are cloned from."""

import keras
import numpy as np
import pytest

from c3tf.nets import backbones, weights


def _randomise(model, seed=0):
    """Gives batch norm statistics, scales and biases that are not those of a fresh network."""
    rng = np.random.default_rng(seed)
    for layer in model.layers:
        values = layer.get_weights()
        if isinstance(layer, keras.layers.BatchNormalization):
            gamma, beta, mean, variance = values
            layer.set_weights(
                [
                    gamma * rng.uniform(0.5, 1.0, gamma.shape),
                    beta + rng.uniform(-0.2, 0.2, beta.shape),
                    mean + rng.uniform(-0.2, 0.2, mean.shape),
                    variance * rng.uniform(0.5, 1.5, variance.shape),
                ]
            )
        elif len(values) == 2:
            kernel, bias = values
            layer.set_weights([kernel, rng.uniform(-0.5, 0.5, bias.shape)])


def _extractor(name, found, base, output_stride):
    image = keras.Input((None, None, 3))
    features = backbones.build(image, name, base, output_stride, found.layout)
    model = keras.Model(image, features)
    weights.assign(model, found)
    return model


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(0).integers(0, 256, (1, 64, 96, 3)).astype(np.float32)


@pytest.mark.parametrize("output_stride", [8, 16])
def test_dilated_resnet_is_the_published_one_between_its_samples(monkeypatch, image, output_stride):
    base = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(None, None, 3))
    _randomise(base)
    monkeypatch.setitem(weights._KERAS_IMAGENET, "resnet50", lambda **_: base)
    found = weights.resolve("resnet50", "imagenet", base)
    features = np.asarray(_extractor("resnet50", found, base, output_stride)(image))
    # Keras' own preprocessing: BGR minus the mean. Its features come at stride 32.
    expected = base(keras.applications.resnet.preprocess_input(image.copy())).numpy()
    step = 32 // output_stride
    assert features.shape == (1, 64 // output_stride, 96 // output_stride, 2048)
    assert np.abs(features[:, ::step, ::step] - expected).max() <= 1e-4 * np.abs(expected).max()


def test_dilated_lite0_is_the_published_one_between_its_samples(image):
    base = backbones.reference("efficientnet_lite0")
    _randomise(base)
    arrays = {layer.name: layer.get_weights() for layer in base.layers if layer.weights}
    found = weights.BackboneWeights(
        "efficientnet_lite0", backbones.EFFICIENTNET_LITE, arrays, "test"
    )
    published = keras.Model(base.inputs[0], base.get_layer("block5c_add").output)
    expected = published((image - 127) / 128).numpy()
    for output_stride, step in ((16, 1), (8, 2)):
        features = np.asarray(_extractor("efficientnet_lite0", found, base, output_stride)(image))
        assert features.shape == (1, 64 // output_stride, 96 // output_stride, 112)
        # "same" padding of even sizes puts a strided kernel's centre on the odd positions.
        difference = features[:, step - 1 :: step, step - 1 :: step] - expected
        assert np.abs(difference).max() <= 1e-4 * np.abs(expected).max()


def _dilations(layout, output_stride):
    base = backbones.reference("resnet50")
    image = keras.Input((None, None, 3))
    model = keras.Model(image, backbones.build(image, "resnet50", base, output_stride, layout))
    return model, {
        layer.name.removeprefix(backbones.PREFIX): (layer.strides[0], layer.dilation_rate[0])
        for layer in model.layers
        if isinstance(layer, keras.layers.Conv2D)
    }


def test_stride_stays_where_the_weights_had_it():
    model, keras_like = _dilations(backbones.KERAS_RESNET, 8)
    assert keras_like["conv3_block1_1_conv"] == (2, 1)
    assert keras_like["conv3_block1_2_conv"] == (1, 1)
    assert [keras_like[f"conv4_block{i}_2_conv"] for i in (1, 2)] == [(1, 2), (1, 2)]
    assert [keras_like[f"conv5_block{i}_2_conv"] for i in (1, 2)] == [(1, 4), (1, 4)]
    epsilons = {x.epsilon for x in model.layers if isinstance(x, keras.layers.BatchNormalization)}
    assert epsilons == {1.001e-5}

    model, torch_like = _dilations(backbones.TORCH_RESNET, 8)
    assert torch_like["conv3_block1_1_conv"] == (1, 1)
    assert torch_like["conv3_block1_2_conv"] == (2, 1)
    assert [torch_like[f"conv4_block{i}_2_conv"] for i in (1, 2)] == [(1, 1), (1, 2)]
    assert [torch_like[f"conv5_block{i}_2_conv"] for i in (1, 2)] == [(1, 2), (1, 4)]
    epsilons = {x.epsilon for x in model.layers if isinstance(x, keras.layers.BatchNormalization)}
    assert epsilons == {1e-5}


def test_refuses_a_layout_that_makes_no_sense():
    good = {"scale": (1.0,) * 3, "offset": (0.0,) * 3, "stride_kernel": 1, "epsilon": 1e-3}
    backbones.Layout(**good)
    for field, value in (
        ("scale", (1.0,)),
        ("offset", (0.0, 0.0, float("nan"))),
        ("stride_kernel", 2),
        ("epsilon", 0.0),
    ):
        with pytest.raises(ValueError, match=f"`{field}`"):
            backbones.Layout(**good | {field: value})


def test_max_pooling_rounded_up_against_its_definition():
    """Windows of three every second pixel, the last one begun inside or at the padded start."""
    base = backbones.reference("resnet50")
    image = keras.Input((None, None, 3))
    features = backbones.build(
        image, "resnet50", base, 8, backbones.KERAS_RESNET, max_pool_ceil=True
    )
    model = keras.Model(image, features)
    before, after = (
        keras.Model(image, model.get_layer(f"{backbones.PREFIX}{name}").output)
        for name in ("conv1_relu", "pool1_pool")
    )
    for height, width in ((16, 24), (18, 30)):
        pixels = np.random.default_rng(0).integers(0, 256, (1, height, width, 3)).astype("float32")
        x, pooled = before(pixels).numpy()[0], after(pixels).numpy()[0]
        rows, columns = (-(-(n - 1) // 2) + 1 for n in x.shape[:2])
        assert pooled.shape[:2] == (rows, columns)
        for r, c in np.ndindex(rows, columns):
            window = x[max(2 * r - 1, 0) : 2 * r + 2, max(2 * c - 1, 0) : 2 * c + 2]
            np.testing.assert_array_equal(pooled[r, c], window.max(axis=(0, 1)))
