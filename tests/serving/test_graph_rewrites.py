"""Rewritten networks compute what they did: with folded batch norm, with native dilation."""

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

from c3tf.inference import networks
from c3tf.nets import backbones, deeplab
from c3tf.serving.graph_rewrites import fold_batch_norm, with_native_dilation
from untrained import randomise


def norms(model):
    return [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]


def images(height, width, seed=1):
    return np.random.default_rng(seed).integers(0, 256, (2, height, width, 3)).astype(np.float32)


@pytest.mark.parametrize(
    ("backbone", "output_stride"),
    [
        # Blocks of ResNet-101 are those of ResNet-50, only more.
        pytest.param("resnet101", 16, marks=pytest.mark.slow),
        ("resnet50", 8),
        ("efficientnet_lite0", 8),
        ("efficientnet_lite0", 16),
    ],
)
def test_every_backbone_folds_to_the_same_logits(backbone, output_stride):
    network = deeplab.build(backbone, 5, output_stride, None, "random", seed=3)
    network = randomise(networks.logits_network(network))
    folded = fold_batch_norm(network)
    assert len(norms(network)) > 20
    assert not norms(folded)
    x = images(49, 65)
    expected = network(x).numpy()
    assert expected.std() > 0.1, "the case should not be trivial"
    np.testing.assert_allclose(folded(x), expected, rtol=0, atol=1e-4)


def test_names_stay_and_nothing_is_shared():
    network = deeplab.build("efficientnet_lite0", 5, 16, 8, "random")
    before = [w.numpy() for w in network.weights]
    folded = fold_batch_norm(network)
    paths, held = ({w.path: tuple(w.shape) for w in m.weights} for m in (folded, network))
    kept = {p: s for p, s in held.items() if "_bn/" not in p}
    biases = {p.replace("kernel", "bias") for p in kept if p.startswith(backbones.PREFIX)}
    assert set(paths) == set(kept) | biases
    assert all(paths[path] == shape for path, shape in kept.items())
    assert set(folded.output) == {"logits", "embedding"}
    for weight in folded.weights:
        weight.assign(np.ones(weight.shape))
    for old, weight in zip(before, network.weights, strict=True):
        np.testing.assert_array_equal(old, weight)


@pytest.mark.smoke
def test_values_by_hand():
    image = keras.Input((None, None, 1))
    x = keras.layers.Conv2D(2, 1, name="c")(image)
    network = keras.Model(image, keras.layers.BatchNormalization(epsilon=0.25, name="n")(x))
    network.get_layer("c").set_weights([np.array([[[[2.0, -3.0]]]]), np.array([0.5, 1.0])])
    gamma, beta, mean, variance = [3.0, 1.0], [10.0, 20.0], [1.0, 2.0], [0.75, 3.75]
    network.get_layer("n").set_weights([np.array(v) for v in (gamma, beta, mean, variance)])
    kernel, bias = fold_batch_norm(network).get_layer("c").get_weights()
    # Divided by sqrt(1) and sqrt(4).
    np.testing.assert_allclose(kernel.ravel(), [2 * 3, -3 / 2], rtol=1e-6)
    np.testing.assert_allclose(bias, [(0.5 - 1) * 3 + 10, (1 - 2) / 2 + 20], rtol=1e-6)


CASES = {
    "depthwise": (keras.layers.DepthwiseConv2D, {"kernel_size": 3, "depth_multiplier": 2}, {}),
    "grouped": (keras.layers.Conv2D, {"filters": 6, "kernel_size": 3, "groups": 3}, {}),
    "plain_norm": (keras.layers.Conv2D, {"filters": 4, "kernel_size": 3}, {"scale": False}),
    "no_shift": (keras.layers.Conv2D, {"filters": 4, "kernel_size": 3}, {"center": False}),
    "axis": (keras.layers.Conv2D, {"filters": 4, "kernel_size": 3}, {"axis": 3}),
}


@pytest.mark.parametrize("case", CASES)
def test_kinds_of_convolutions_and_norms(case):
    kind, options, norm = CASES[case]
    image = keras.Input((None, None, 3))
    x = kind(**options, strides=2, padding="same", name="c")(image)
    network = randomise(keras.Model(image, keras.layers.BatchNormalization(**norm)(x)))
    folded = fold_batch_norm(network)
    assert not norms(folded)
    expected = network(images(9, 12)).numpy()
    np.testing.assert_allclose(folded(images(9, 12)), expected, rtol=1e-5, atol=1e-4)


def read_twice(x):
    x = keras.layers.Conv2D(4, 3, name="c")(x)
    return keras.layers.Add()([x, keras.layers.BatchNormalization()(x)])


def with_activation(x):
    x = keras.layers.Conv2D(4, 3, activation="relu", name="c")(x)
    return keras.layers.BatchNormalization()(x)


def also_an_output(x):
    x = keras.layers.Conv2D(4, 3, name="c")(x)
    return {"raw": x, "normed": keras.layers.BatchNormalization()(x)}


def over_rows(x):
    x = keras.layers.Conv2D(4, 3, name="c")(x)
    return keras.layers.BatchNormalization(axis=1)(x)


def not_after_a_convolution(x):
    return keras.layers.BatchNormalization()(keras.layers.ReLU()(x))


@pytest.mark.parametrize(
    "build", [read_twice, with_activation, also_an_output, over_rows, not_after_a_convolution]
)
def test_what_cannot_be_folded_stays(build):
    image = keras.Input((9, 12, 3))
    network = randomise(keras.Model(image, build(image)))
    folded = fold_batch_norm(network)
    assert len(norms(folded)) == 1
    expected, found = network(images(9, 12)), folded(images(9, 12))
    for old, new in zip(*map(keras.tree.flatten, (expected, found)), strict=True):
        np.testing.assert_array_equal(new, old)


def operations(model):
    spec = tf.TensorSpec([None, None, None, 3], tf.float32)
    graph = tf.function(model, input_signature=[spec]).get_concrete_function().graph
    return collections.Counter(operation.type for operation in graph.get_operations())


def test_the_logits_stay_and_the_rearranging_goes():
    network = networks.logits_network(deeplab.build("resnet50", 5, 8, None, "random"))
    direct = with_native_dilation(network)
    assert [w.path for w in direct.weights] == [w.path for w in network.weights]
    assert not {id(w) for w in direct.weights} & {id(w) for w in network.weights}
    for size in ((64, 96), (49, 65)):
        images = np.random.default_rng(0).integers(0, 256, (2, *size, 3)).astype(np.float32)
        expected = network(images).numpy()
        np.testing.assert_allclose(direct(images), expected, atol=1e-5 * np.abs(expected).max())
    before, after = operations(network), operations(direct)
    # Five blocks of the fourth stage, the three of the fifth, and the four branches of the head.
    assert before["SpaceToBatchND"] == 12
    assert after["SpaceToBatchND"] == 0
    assert after["Conv2D"] == before["Conv2D"]


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_unequal_dilations(padding):
    image = keras.Input((None, None, 3))
    layer = keras.layers.Conv2D(4, 3, dilation_rate=(1, 5), padding=padding)
    network = keras.Model(image, layer(image))
    images = np.random.default_rng(0).normal(size=(2, 17, 23, 3)).astype(np.float32)
    found = with_native_dilation(network)(images)
    np.testing.assert_allclose(found, network(images), atol=1e-5)
