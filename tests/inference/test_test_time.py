"""Windows, flips and scales against loops over NumPy arrays."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

import tiny_network
from c3tf.errors import UserError
from c3tf.inference import networks, test_time
from c3tf.inference.options import InferenceOptions
from tiny_network import LABEL_MAP

pytestmark = pytest.mark.smoke

CLASSES = LABEL_MAP.num_classes


@pytest.fixture(scope="module")
def probabilities():
    return networks.probabilities(tiny_network.build())


def scored(probabilities, images, options, size=None):
    score = test_time.scorer(probabilities, options, CLASSES)
    return score(tf.constant(images), tf.constant(size or images.shape[1:3])).numpy()


def starts(length, window, step):
    """Windows from the left until one touches the end, which is moved back to be whole."""
    found = [0]
    while found[-1] + window < length:
        found.append(min(found[-1] + step, length - window))
    return found


def by_windows(probabilities, image, window, step):
    height, width = image.shape[1:3]
    high, wide = min(window[0], height), min(window[1], width)
    total, count = np.zeros((height, width, CLASSES)), np.zeros((height, width, 1))
    for top in starts(height, high, step[0]):
        for left in starts(width, wide, step[1]):
            where = np.s_[top : top + high, left : left + wide]
            total[where] += probabilities(tf.constant(image[:, *where]))[0].numpy()
            count[where] += 1
    return total / count


def test_lists_are_as_good_as_tuples(probabilities):
    """Compiled functions are kept by the options, so they must be hashable."""
    own = InferenceOptions("sliding", [np.int64(16), 20], 0.5, tta_scales=[1, 0.5])
    assert own == InferenceOptions("sliding", (16, 20), 0.5, tta_scales=(1.0, 0.5))
    assert len({own, dataclasses.replace(own)}) == 1


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"mode": "sliding", "window": 512, "overlap": 0.5}, "window"),
        ({"mode": "sliding", "window": (32.5, 32), "overlap": 0.5}, "window"),
        ({"tta_scales": 0.5}, "tta_scales"),
        ({"tta_scales": ("half",)}, "tta_scales"),
    ],
)
def test_what_is_no_sequence_of_numbers_is_refused(options, name):
    with pytest.raises(UserError, match=rf"`{name}` must be .*Received: {name}="):
        InferenceOptions(**options)


@pytest.mark.parametrize(
    ("size", "window", "overlap", "step"),
    [
        ((33, 50), (16, 20), 0.5, (8, 10)),
        ((33, 50), (16, 20), 0.0, (16, 20)),
        ((32, 40), (16, 20), 0.25, (12, 15)),
        ((20, 50), (64, 32), 0.9, (6, 3)),
        ((12, 9), (64, 32), 0.5, (32, 16)),
    ],
)
def test_windows_are_averaged(probabilities, size, window, overlap, step):
    image = tiny_network.noise(1, *size, batch=1)
    options = InferenceOptions("sliding", window, overlap)
    expected = by_windows(probabilities, image, window, step)
    np.testing.assert_allclose(scored(probabilities, image, options)[0], expected, atol=1e-5)


def test_a_window_as_large_as_the_image_is_the_whole_image(probabilities):
    images = tiny_network.noise(2, 30, 41, batch=2)
    sliding = scored(probabilities, images, InferenceOptions("sliding", (30, 41), 0.5))
    np.testing.assert_allclose(sliding, probabilities(images), atol=1e-6)
    assert not np.allclose(
        scored(probabilities, images, InferenceOptions("sliding", (16, 16), 0.5)),
        sliding,
        atol=1e-3,
    )


def test_flips_and_scales_weigh_the_same(probabilities):
    images = tiny_network.noise(3, 24, 36, batch=2)
    expected = []
    for scale in (0.75, 1.0, 1.5):
        size = [round(24 * scale), round(36 * scale)]
        resized = np.rint(tf.image.resize(images, size, antialias=True)).astype(np.uint8)
        direct = probabilities(tf.constant(resized)).numpy()
        mirrored = probabilities(tf.constant(resized[:, :, ::-1])).numpy()[:, :, ::-1]
        expected += [tf.image.resize(p, (24, 36)).numpy() for p in (direct, mirrored)]
    options = InferenceOptions(tta_flip=True, tta_scales=(0.75, 1.0, 1.5))
    result = scored(probabilities, images, options)
    np.testing.assert_allclose(result, np.mean(expected, 0), atol=1e-5)
    np.testing.assert_allclose(result.sum(-1), 1, atol=1e-5)


def test_flipping_makes_the_result_symmetric(probabilities):
    images = tiny_network.noise(4, 20, 33, batch=1)
    result = scored(probabilities, images, InferenceOptions(tta_flip=True))
    mirrored = scored(probabilities, images[:, :, ::-1], InferenceOptions(tta_flip=True))
    np.testing.assert_allclose(result, mirrored[:, :, ::-1], atol=1e-5)


def test_the_compiled_predictor_is_traced_once_and_resizes_probabilities(probabilities):
    score = test_time.scorer(probabilities, InferenceOptions("sliding", (16, 16), 0.5), CLASSES)
    predict = test_time.predictor(score)
    for height, width, size in ((24, 30, (48, 61)), (17, 9, (17, 9))):
        images = tiny_network.noise(5, height, width, batch=1)
        expected = tf.image.resize(score(images, np.array([height, width])), size)
        result = predict(images, np.array(size, np.int32))
        np.testing.assert_array_equal(result, np.argmax(expected, -1))
    assert predict.experimental_get_tracing_count() == 1


def test_what_is_done_is_stated():
    plain, rich = InferenceOptions(), InferenceOptions("sliding", (8, 16), 0.5, True, (0.5, 1.0))
    assert not plain.averages
    assert rich.averages
    assert "averaging" not in plain.to_json()
    stated = rich.to_json()
    assert stated["inference"] == "sliding window"
    assert (stated["window"], stated["overlap"]) == ([8, 16], 0.5)
    assert (stated["flip"], stated["scales"]) == (True, [0.5, 1.0])
    assert "equal weight" in stated["averaging"]


@pytest.mark.parametrize(
    ("options", "flag"),
    [
        ({"mode": "tiles"}, "--inference"),
        ({"mode": "sliding"}, "--window"),
        ({"mode": "sliding", "window": (0, 4), "overlap": 0.5}, "--window"),
        ({"mode": "sliding", "window": (4, 4)}, "--overlap"),
        ({"mode": "sliding", "window": (4, 4), "overlap": 1.0}, "--overlap"),
        ({"window": (4, 4)}, "--window"),
        ({"overlap": 0.5}, "--overlap"),
        ({"tta_scales": ()}, "--tta_scales"),
        ({"tta_scales": (1.0, 0.0)}, "--tta_scales"),
        ({"tta_scales": (1.0, 1.0)}, "--tta_scales"),
        ({"tta_scales": (5.0,)}, "--tta_scales"),
        ({"tta_scales": (float("nan"),)}, "--tta_scales"),
    ],
)
def test_refuses_what_makes_no_protocol(options, flag):
    with pytest.raises(UserError, match=flag):
        InferenceOptions(**options)
