"""A network in two parts computes what it computes whole, and stays what it is."""

import keras
import numpy as np
import pytest

from c3tf.nets import deeplab, parts


@pytest.mark.parametrize("embedding_dim", [None, 4])
def test_encoder_and_decoder_are_the_network(embedding_dim):
    network = deeplab.build("efficientnet_lite0", 3, 16, embedding_dim, "random")
    before, weights = network.to_json(), [weight.path for weight in network.weights]
    encoder, decoder = parts.split(network)
    images = np.random.default_rng(0).random((2, 32, 48, 3), np.float32) * 255
    whole = network(images)
    features = keras.tree.flatten(encoder(images))
    assert len(features) == 1
    assert features[0].shape[1:3] == (2, 3)
    found = decoder(features)
    assert found.keys() == whole.keys()
    for name, value in whole.items():
        np.testing.assert_array_equal(found[name], value)
    # What is saved and exported is described and named as ever, and the weights are shared.
    assert network.to_json() == before
    assert [weight.path for weight in network.weights] == weights
    own = {id(weight) for weight in network.weights}
    held = [id(weight) for part in (encoder, decoder) for weight in part.weights]
    assert len(held) == len(own)
    assert set(held) == own
    assert keras.models.model_from_json(before).count_params() == network.count_params()
    assert keras.models.clone_model(network).to_json() == before


def test_a_network_without_a_backbone_is_refused():
    images = keras.Input((8, 8, 3))
    network = keras.Model(images, keras.layers.Conv2D(2, 1)(images), name="bare")
    with pytest.raises(ValueError, match=r"backbone_.*network='bare'"):
        parts.split(network)
