"""Tests for the segmentation network as a whole."""

import json

import keras
import numpy as np
import pytest
import tensorflow as tf

import references
from c3tf.inference import networks
from c3tf.nets import backbones, deeplab

LITE = "efficientnet_lite0"


@pytest.fixture
def policy():
    """Lets a test set a dtype policy and sets the old one again."""
    before = keras.config.dtype_policy()
    yield keras.config.set_dtype_policy
    keras.config.set_dtype_policy(before)


@pytest.fixture(scope="module")
def lite():
    return deeplab.build(LITE, num_classes=5, output_stride=16, embedding_dim=16)


def _images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3)).astype(np.uint8)


@pytest.mark.parametrize("output_stride", [8, 16])
def test_output_sizes(output_stride):
    model = deeplab.build(
        LITE, 5, output_stride=output_stride, embedding_dim=7, backbone_weights="random"
    )
    for height, width in ((64, 96), (90, 121), (17, 33)):
        outputs = model(_images(2, height, width))
        h, w = -(-height // output_stride), -(-width // output_stride)
        assert outputs["logits"].shape == (2, h, w, 5)
        assert outputs["embedding"].shape == (2, h, w, 7)


@pytest.mark.parametrize("output_stride", [8, 16])
def test_max_pooling_rounded_up_adds_a_row_and_a_column(output_stride):
    """As in the authors' code: 33 x 65 features of 256 x 512 pixels at output stride 8."""
    options = {"output_stride": output_stride, "embedding_dim": 3, "backbone_weights": "random"}
    plain = deeplab.build("resnet50", 4, **options)
    ceil = deeplab.build("resnet50", 4, max_pool_ceil=True, **options)
    for height, width in ((256, 512), (64, 96), (50, 70)):
        shape = (None, height, width, 3)
        rows, columns = height // output_stride, width // output_stride
        for name, last in (("logits", 4), ("embedding", 3)):
            found = ceil.compute_output_shape(shape)[name]
            assert found == (None, rows + 1, columns + 1, last)
        assert plain.compute_output_shape(shape)["logits"][1] == -(-height // output_stride)


@pytest.mark.parametrize("dilations", [(6, 12, 18, 24), pytest.param((3,), marks=pytest.mark.slow)])
def test_the_network_says_how_its_logits_are_resized(dilations, tmp_path):
    built = {
        aligned: deeplab.build(
            LITE, 4, 16, 3, "random", aspp_dilations=dilations, align_corners=aligned
        )
        for aligned in (False, True)
    }
    image = _images(1, 48, 64)
    np.testing.assert_array_equal(built[False](image)["logits"], built[True](image)["logits"])
    for aligned, model in built.items():
        model.save(tmp_path / "model.keras")
        copies = (
            model,
            keras.Model.from_config(model.get_config()),
            keras.models.model_from_json(model.to_json()),
            keras.models.load_model(tmp_path / "model.keras"),
            networks.logits_network(model),
        )
        assert [deeplab.aligns_corners(copy) for copy in copies] == [aligned] * 5
        found = networks.logits_at(model, tf.constant(image), tf.constant([31, 50]))
        expected = model(image)["logits"][0].numpy()
        if not aligned:
            # To the image's own size by the stride first.
            expected = references.resize_bilinear(expected, 48, 64, aligned)
        expected = references.resize_bilinear(expected, 31, 50, aligned)
        np.testing.assert_allclose(found[0], expected, rtol=0, atol=1e-5)


def test_stride_placement():
    strides = {}
    for kernel in (None, 1, 3):
        model = deeplab.build(
            "resnet50", 4, embedding_dim=None, backbone_weights="random", stride_kernel=kernel
        )
        strides[kernel] = [
            model.get_layer(f"backbone_conv3_block1_{i}_conv").strides for i in (1, 2)
        ]
    assert strides[1] == [(2, 2), (1, 1)]
    # Random weights have the layout that is usual in PyTorch.
    assert strides[3] == strides[None] == [(1, 1), (2, 2)]


def test_crops_smaller_than_the_dilations(lite):
    image = _images(1, 32, 16)
    outputs = lite(image)
    assert outputs["logits"].shape == (1, 2, 1, 5)
    # Nothing but the middle of every kernel lies inside a map of 2 x 1.
    extract = keras.Model(lite.input, lite.get_layer("backbone_block5c_add").output)
    branches = [lite.get_layer(f"aspp_branch{i}") for i in (1, 2, 3, 4)]
    centre = sum(layer.kernel.numpy()[1, 1] for layer in branches)
    expected = extract(image).numpy() @ centre
    np.testing.assert_allclose(outputs["logits"], expected, rtol=1e-4, atol=1e-5)


def _aspp_in_numpy(features, kernels, dilations):
    """Sums dilated correlations with zero padding, position by position."""
    height, width, _ = features.shape
    out = np.zeros((height, width, kernels[0].shape[-1]))
    for kernel, dilation in zip(kernels, dilations, strict=True):
        for y in range(height):
            for x in range(width):
                for i in range(3):
                    for j in range(3):
                        v, u = y + (i - 1) * dilation, x + (j - 1) * dilation
                        if 0 <= v < height and 0 <= u < width:
                            out[y, x] += features[v, u] @ kernel[i, j]
    return out


@pytest.mark.parametrize("dilations", [(6, 12, 18, 24), (6, 12), (3,)])
def test_heads_follow_their_equations(dilations):
    model = deeplab.build(
        LITE, 3, output_stride=16, embedding_dim=4, aspp_dilations=dilations, seed=1
    )
    rng = np.random.default_rng(0)
    branches = [model.get_layer(f"aspp_branch{i + 1}") for i in range(len(dilations))]
    for layer in branches:
        layer.set_weights([layer.kernel.numpy(), rng.standard_normal(3)])
    hidden, output = (model.get_layer(f"projection_{n}") for n in ("hidden", "output"))
    image = _images(1, 13 * 16, 26 * 16)
    features = keras.Model(model.input, model.get_layer("backbone_block5c_add").output)(image)
    features = features.numpy()[0].astype(np.float64)
    expected = _aspp_in_numpy(features, [b.kernel.numpy() for b in branches], dilations)
    expected += sum(layer.bias.numpy() for layer in branches)
    outputs = model(image)
    np.testing.assert_allclose(outputs["logits"][0], expected, rtol=1e-3, atol=1e-4)
    relu = np.maximum(features @ hidden.kernel.numpy()[0, 0] + hidden.bias.numpy(), 0.0)
    expected = relu @ output.kernel.numpy()[0, 0] + output.bias.numpy()
    np.testing.assert_allclose(outputs["embedding"][0], expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(("name", "published"), [("resnet50", 25557032), ("resnet101", 44549160)])
def test_parameter_counts(name, published):
    classes, dim = 6, 256
    model = deeplab.build(name, classes, embedding_dim=dim, backbone_weights="random")
    # Published counts are torchvision's, with a classifier and without moving statistics.
    count = {True: 0, False: 0}
    for variable in model.variables:
        if not variable.path.split("/")[-1].startswith("moving"):
            count[deeplab.is_backbone(variable)] += int(np.prod(variable.shape))
    assert count[True] == published - (2048 * 1000 + 1000)
    aspp = 4 * (9 * 2048 * classes + classes)
    assert count[False] == aspp + 2048 * 2048 + 2048 + 2048 * dim + dim


def test_without_the_projection_head():
    model = deeplab.build(LITE, 3, 16, embedding_dim=None, backbone_weights="random")
    assert set(model(_images(1, 32, 32))) == {"logits"}
    assert not [v.path for v in model.variables if "projection" in v.path]


@pytest.mark.smoke
def test_frozen_batch_norm_is_frozen(lite):
    image = _images(2, 48, 64)
    before = [v.numpy() for v in lite.variables]
    inference, training = lite(image, training=False), lite(image, training=True)
    for key in inference:
        np.testing.assert_array_equal(inference[key], training[key])
    for old, variable in zip(before, lite.variables, strict=True):
        np.testing.assert_array_equal(old, variable)
    last = {v.path.split("/")[-1] for v in lite.trainable_variables}
    assert last == {"kernel", "bias"}
    # Behind a frozen batch norm a trainable bias would thaw it again.
    assert not [v for v in lite.trainable_variables if deeplab.is_backbone(v) and "bias" in v.path]


def test_trained_batch_norm_uses_and_moves_its_statistics():
    model = deeplab.build(LITE, 3, 16, 8, "random", train_batch_norm=True)
    layers = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert all(layer.synchronized for layer in layers)
    trainable = {v.path.split("/")[-1] for v in model.trainable_variables}
    assert trainable == {"kernel", "bias", "gamma", "beta"}
    image, mean = _images(2, 48, 64), layers[0].moving_mean.numpy()
    plain = model(image)["logits"].numpy()
    assert np.abs(model(image, training=True)["logits"] - plain).max() > 1e-3
    assert np.abs(layers[0].moving_mean - mean).max() > 0


def test_seeds_draw_the_initial_values():
    def values(seed):
        model = deeplab.build(LITE, 3, 16, 8, "random", seed=seed)
        return {v.path: v.numpy() for v in model.trainable_variables}

    first, again, other = values(1), values(1), values(2)
    for path, value in first.items():
        np.testing.assert_array_equal(value, again[path])
        if "kernel" in path:
            assert np.abs(value - other[path]).max() > 0
    assert np.abs(first["aspp_branch1/kernel"] - first["aspp_branch2/kernel"]).max() > 0
    assert 0.009 < first["aspp_branch1/kernel"].std() < 0.011


def test_configuration_and_archive_restore_the_network(lite, tmp_path):
    image = _images(1, 48, 64)
    expected = lite(image)
    text = lite.to_json()
    assert {layer["module"] for layer in json.loads(text)["config"]["layers"]} == {"keras.layers"}
    clone = keras.models.model_from_json(text)
    clone.set_weights(lite.get_weights())
    lite.save(tmp_path / "network.keras")
    archive = keras.models.load_model(tmp_path / "network.keras", safe_mode=True)
    for model in (clone, archive):
        found = model(image)
        for key, value in expected.items():
            np.testing.assert_array_equal(found[key], value)
        assert len(model.trainable_variables) == len(lite.trainable_variables)
        assert [deeplab.is_backbone(v) for v in model.variables] == [
            deeplab.is_backbone(v) for v in lite.variables
        ]


def _gradients(model, image):
    with tf.GradientTape() as tape:
        outputs = model(image, training=True)
        loss = sum(tf.reduce_mean(tf.square(v)) for v in outputs.values())
    return outputs, tape.gradient(loss, model.trainable_variables)


def test_float64(policy, lite):
    policy("float64")
    model = deeplab.build(LITE, num_classes=5, output_stride=16, embedding_dim=16)
    model.set_weights(lite.get_weights())
    image = _images(1, 48, 64)
    outputs, gradients = _gradients(model, image)
    assert {v.dtype for v in model.variables} == {"float64"}
    for key, value in lite(image).items():
        assert outputs[key].dtype == "float64"
        np.testing.assert_allclose(outputs[key], value, rtol=1e-3, atol=1e-3)
    assert all(g.dtype == "float64" and np.all(np.isfinite(g)) for g in gradients)


def test_mixed_precision_computes_low_and_answers_high(policy, lite):
    policy("mixed_bfloat16")
    model = deeplab.build(LITE, num_classes=5, output_stride=16, embedding_dim=16)
    model.set_weights(lite.get_weights())
    image = _images(1, 48, 64)
    outputs, gradients = _gradients(model, image)
    assert model.get_layer("backbone_block3a_dwconv").compute_dtype == "bfloat16"
    assert model.get_layer("backbone_preprocess").compute_dtype == "float32"
    assert {v.dtype for v in model.variables} == {"float32"}
    for key, value in lite(image).items():
        assert outputs[key].dtype == "float32"
        assert np.abs(outputs[key] - value).max() < 0.2 * np.abs(value).max()
    assert all(np.all(np.isfinite(g)) for g in gradients)


def test_bytes_and_floats_give_the_same(lite):
    image = _images(1, 32, 48)
    for key, value in lite(image).items():
        np.testing.assert_array_equal(lite(image.astype(np.float32))[key], value)


def test_one_traced_graph_serves_every_size(lite):
    graph = tf.function(lite, input_signature=[tf.TensorSpec((None, None, None, 3), tf.float32)])
    for shape in ((1, 32, 32), (3, 50, 70)):
        image = _images(*shape).astype(np.float32)
        np.testing.assert_allclose(graph(image)["logits"], lite(image)["logits"], atol=1e-4)


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("backbone", "vgg16"),
        ("num_classes", 0),
        ("num_classes", 2.5),
        ("output_stride", 32),
        ("embedding_dim", -1),
        ("aspp_dilations", ()),
        ("aspp_dilations", (6, 0)),
    ],
)
def test_refuses_bad_arguments(argument, value):
    good = {"backbone": LITE, "num_classes": 3, "backbone_weights": "random"}
    with pytest.raises(ValueError, match=f"`{argument}` must .*Received: "):
        deeplab.build(**good | {argument: value})


def test_names_tell_backbone_from_heads(lite):
    heads = {v.path.split("/")[0] for v in lite.variables if not deeplab.is_backbone(v)}
    assert heads == {f"aspp_branch{i}" for i in (1, 2, 3, 4)} | {
        "projection_hidden",
        "projection_output",
    }
    assert backbones.PREFIX == "backbone_"
