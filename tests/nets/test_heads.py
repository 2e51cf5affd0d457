"""DeepLab v3+ against its equations, and what its parts promise to the rest."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import references
from c3tf.inference import networks
from c3tf.nets import backbones, deeplab, description, heads, parts, upsampling
from untrained import randomise

LITE, V3PLUS = "efficientnet_lite0", "deeplab_v3plus"


def build(output_stride=16, embedding_dim=4, **options):
    return deeplab.build(
        LITE, 3, output_stride, embedding_dim, "random", head=V3PLUS, seed=1, **options
    )


@pytest.fixture(scope="module")
def network():
    return randomise(build())


def images(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3)).astype(np.float32)


def convolved(x, kernel, dilation):
    """Zero-padded correlation of `(H, W, C)` with a kernel of odd sides."""
    height, width, _ = x.shape
    half = kernel.shape[0] // 2
    margin = half * dilation
    padded = np.pad(x, ((margin, margin), (margin, margin), (0, 0)))
    out = np.zeros((height, width, kernel.shape[3]))
    for i, j in np.ndindex(kernel.shape[:2]):
        rows, columns = i * dilation, j * dilation
        out += padded[rows : rows + height, columns : columns + width] @ kernel[i, j]
    return out


@pytest.mark.parametrize(("output_stride", "rates"), [(16, (6, 12, 18)), (8, (12, 24, 36))])
def test_deeplab_v3plus_follows_its_equations(network, output_stride, rates):
    if output_stride == 8:
        weights, network = network.get_weights(), build(8)
        network.set_weights(weights)

    def block(x, name, dilation=1):
        (kernel,) = network.get_layer(f"{name}_conv").get_weights()
        gamma, beta, mean, variance = network.get_layer(f"{name}_bn").get_weights()
        x = convolved(x, kernel.astype(np.float64), dilation)
        return np.maximum(gamma * (x - mean) / np.sqrt(variance + 1e-5) + beta, 0)

    image = images(1, 64, 96)
    encoder, _ = parts.split(network)
    found = encoder(image)
    last, low = (x.numpy()[0].astype(np.float64) for x in sorted(found, key=lambda x: x.shape[1]))
    assert low.shape == (16, 24, 24)
    height, width = 64 // output_stride, 96 // output_stride
    assert last.shape == (height, width, 112)
    branches = [block(last, "aspp_branch0")]
    branches += [block(last, f"aspp_branch{i}", rate) for i, rate in enumerate(rates, start=1)]
    pooled = block(last.mean(axis=(0, 1), keepdims=True), "aspp_pooled")
    branches.append(np.broadcast_to(pooled, (height, width, 256)))
    x = block(np.concatenate(branches, axis=-1), "aspp_output")
    x = references.resize_bilinear(x, 16, 24)
    x = np.concatenate([x, block(low, "decoder_low_level")], axis=-1)
    assert x.shape[-1] == 256 + 48
    x = block(block(x, "decoder_block1"), "decoder_block2")

    def dense(x, name):
        kernel, bias = network.get_layer(name).get_weights()
        return x @ kernel[0, 0] + bias

    outputs = network(image)
    scale = np.abs(outputs["logits"]).max()
    np.testing.assert_allclose(outputs["logits"][0], dense(x, "decoder_classes"), atol=1e-4 * scale)
    embedding = dense(np.maximum(dense(x, "projection_hidden"), 0), "projection_output")
    scale = np.abs(embedding).max()
    np.testing.assert_allclose(outputs["embedding"][0], embedding, atol=1e-4 * scale)


def test_batch_norm_of_the_head_is_trained_or_frozen_apart_from_the_backbones():
    norms = {}
    for trained in (True, False):
        network = build(train_head_batch_norm=trained)
        layers = [x for x in network.layers if isinstance(x, keras.layers.BatchNormalization)]
        head = [x for x in layers if not x.name.startswith(backbones.PREFIX)]
        assert len(head) == 9
        norms[trained] = head
        assert {(x.trainable, x.synchronized) for x in head} == {(trained, trained)}
        assert not any(x.trainable for x in layers if x not in head)
        image = images(2, 32, 48)
        before = head[0].moving_mean.numpy()
        plain, training = network(image)["logits"], network(image, training=True)["logits"]
        moved = np.abs(head[0].moving_mean - before).max()
        if trained:
            assert moved > 0
            assert np.abs(training - plain).max() > 1e-4
        else:
            assert moved == 0
            np.testing.assert_array_equal(training, plain)


def test_images_of_any_size_are_answered_on_blocks_of_pixels(network):
    assert networks.output_stride(network) == 4
    assert deeplab.image_multiple(network, 4) == 16
    assert deeplab.image_multiple(build(8, None), 4) == 8
    image = images(1, 53, 70)
    # Continued to multiples of 16, answered, enlarged, and cut back.
    continued = np.pad(image, ((0, 0), (0, 11), (0, 10), (0, 0)), mode="edge")
    expected = tf.image.resize(network(continued)["logits"], (64, 80))[:, :53, :70]
    np.testing.assert_allclose(networks.logits_at(network, image), expected, atol=1e-5)


@pytest.mark.parametrize("factor", [2, 4])
def test_enlarging_is_bilinear(factor):
    x = keras.Input((None, None, 3))
    enlarged = keras.Model(x, upsampling.upsampled(x, factor, "a_"))
    assert upsampling.factor_of(enlarged, "a_") == factor
    assert upsampling.factor_of(enlarged, "b_") == 1
    maps = np.random.default_rng(0).normal(size=(1, 5, 7, 3)).astype(np.float32)
    expected = references.resize_bilinear(maps[0], 5 * factor, 7 * factor)
    np.testing.assert_allclose(enlarged(maps)[0], expected, atol=1e-6)


def test_the_description_is_of_layers_that_are_built_again(network):
    again = description.build(network.to_json(), network.count_params())
    again.set_weights(network.get_weights())
    image = images(1, 32, 32)
    for name, value in network(image).items():
        np.testing.assert_array_equal(again(image)[name], value)


def test_what_leaves_the_backbone_are_its_last_and_its_low_level_features(network):
    """Where features are dropped by the methods that do."""
    encoder, decoder = parts.split(network)
    image = images(2, 32, 48)
    features = encoder(image)
    assert sorted(tuple(x.shape[1:]) for x in features) == [(2, 3, 112), (8, 12, 24)]
    np.testing.assert_array_equal(decoder(features)["logits"], network(image)["logits"])


def test_seeds_draw_every_layer_apart():
    first, other = build(), deeplab.build(LITE, 3, 16, 4, "random", head=V3PLUS, seed=2)
    kernels = [w for w in first.weights if w.path.endswith("kernel") and "backbone" not in w.path]
    by_path = {w.path: w for w in other.weights}
    assert len(kernels) == 9 + 1 + 2
    assert all(np.abs(w - by_path[w.path]).max() > 0 for w in kernels)
    same = [first.get_layer(f"aspp_branch{i}_conv").kernel for i in (1, 2)]
    assert np.abs(same[0] - same[1]).max() > 0
    assert heads.DECODER in first.get_layer("decoder_classes").name


@pytest.mark.parametrize(
    ("argument", "value", "beside"),
    [
        ("head", "deeplab_v3", {}),
        ("max_pool_ceil", True, {"head": V3PLUS}),
        ("align_corners", True, {"head": V3PLUS}),
        ("train_batch_norm", True, {"backbone": "convnext_tiny"}),
    ],
)
def test_refuses_parts_that_do_not_go_together(argument, value, beside):
    options = {"backbone": LITE, "num_classes": 3, "backbone_weights": "random", **beside}
    with pytest.raises(ValueError, match=f"`{argument}` must .*Received: {argument}="):
        deeplab.build(**options | {argument: value})
