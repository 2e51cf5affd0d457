"""Networks with direct dilation compute the same, in fewer operations."""

import collections

import keras
import numpy as np
import pytest
import tensorflow as tf

from c3tf.inference import networks
from c3tf.nets import deeplab
from c3tf.serving.dilation import with_direct_dilation


def operations(model):
    spec = tf.TensorSpec([None, None, None, 3], tf.float32)
    graph = tf.function(model, input_signature=[spec]).get_concrete_function().graph
    return collections.Counter(operation.type for operation in graph.get_operations())


@pytest.mark.parametrize("size", [(64, 96), (49, 65)])
def test_the_logits_stay_and_the_rearranging_goes(size):
    network = networks.logits_network(deeplab.build("resnet50", 5, 8, None, "random"))
    direct = with_direct_dilation(network)
    assert [w.path for w in direct.weights] == [w.path for w in network.weights]
    assert not {id(w) for w in direct.weights} & {id(w) for w in network.weights}
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
    found = with_direct_dilation(network)(images)
    np.testing.assert_allclose(found, network(images), atol=1e-5)
