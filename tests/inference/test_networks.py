"""Class maps at sizes that the stride does not divide."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import tiny_network
from c3tf.inference import networks
from c3tf.nets import deeplab

STRIDE = 4


def averaging_network():
    """Gives every position the mean colour of its 4x4 pixels: logits of a known picture."""
    images = keras.Input((None, None, 3))
    x = keras.layers.AveragePooling2D(STRIDE)(images)
    return keras.Model(images, {"logits": keras.layers.Activation("linear")(x)})


def ramp(height, width):
    rows, columns = np.mgrid[:height, :width]
    return np.stack([rows, columns, 255 - rows - columns], -1).astype(np.float32)[None]


@pytest.mark.parametrize("size", [(16, 24), (17, 26), (31, 25), (34, 39)])
def test_logits_lie_where_the_pixels_are(size):
    """Bilinear interpolation gives a linear picture back; a stretched grid does not."""
    image = ramp(*size)
    logits = networks.logits_at(averaging_network(), image).numpy()
    assert logits.shape == image.shape
    # The last cell of an odd size averages repeated pixels; the half cell at the rim is constant.
    inner = tuple(slice(2, n // STRIDE * STRIDE - 2 - STRIDE * (n % STRIDE > 0)) for n in size)
    np.testing.assert_allclose(logits[0][inner], image[0][inner], atol=1e-3)


@pytest.mark.parametrize("size", [(17, 26), (1, 3), (40, 31)])
def test_equals_the_image_continued_by_hand(size):
    network = tiny_network.build()
    image = tiny_network.noise(3, *size, batch=2)
    rest = [-n % STRIDE for n in size]
    by_hand = np.pad(image, ((0, 0), (0, rest[0]), (0, rest[1]), (0, 0)), "edge")
    expected = networks.logits_at(network, by_hand)[:, : size[0], : size[1]]
    np.testing.assert_array_equal(networks.logits_at(network, image), expected)
    # The same inside a graph that knows no size.
    compiled = networks.probabilities(network)(tf.constant(image))
    np.testing.assert_allclose(compiled, tf.nn.softmax(expected), atol=1e-5)


def test_a_picture_keeps_its_classes_when_a_part_is_cut_off():
    """The sharpest view of the grid's place: what is far from the cut does not change."""
    network = tiny_network.build()
    image = tiny_network.noise(0, 64, 64)
    whole = networks.class_map(network, image[None])[0].numpy()
    for height, width in ((63, 61), (62, 64), (61, 63)):
        part = networks.class_map(network, image[None, :height, :width])[0].numpy()
        np.testing.assert_array_equal(part[:48, :48], whole[:48, :48])


def test_own_size_asked_for_is_the_same():
    network = tiny_network.build()
    image = tiny_network.noise(0, 33, 47, batch=1)
    asked = networks.predictor(network)(image, np.array([33, 47], np.int32))
    np.testing.assert_array_equal(asked, networks.class_map(network, image))


@pytest.mark.parametrize("stride", [8, 16])
def test_stride_of_a_real_network(stride):
    network = deeplab.build("efficientnet_lite0", 3, stride, backbone_weights="random")
    assert networks.output_stride(network) == stride


def test_a_grid_that_is_stretched_has_no_stride():
    images = keras.Input((None, None, 3))
    for pool, padding, stride in (((4, 4), "same", 4), ((4, 2), "same", None), (3, "same", None)):
        logits = keras.layers.AveragePooling2D(pool, padding=padding)(images)
        assert networks.output_stride(keras.Model(images, {"logits": logits})) == stride
    named = keras.layers.Activation("linear", name=deeplab.LOGITS_ALIGN_CORNERS)
    logits = named(keras.layers.AveragePooling2D(4)(images))
    assert networks.output_stride(keras.Model(images, {"logits": logits})) is None
