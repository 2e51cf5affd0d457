"""Spoiled images: seeded, stronger with the severity, and what they are called."""

import numpy as np
import pytest
import tensorflow as tf

import tiny_network
from c3tf.evaluation import corruptions
from c3tf.evaluation.corruptions import corrupt
from c3tf.evaluation.options import CORRUPTIONS, SEVERITIES

pytestmark = pytest.mark.smoke


@pytest.fixture(scope="module")
def scene():
    """Sky, houses with windows and a road, 270 x 480."""
    image = np.full((90, 160, 3), (90, 150, 220), np.uint8)
    image[25:55] = (130, 90, 70)
    image[30:50:6, ::8] = (240, 230, 200)
    image[55:] = (95, 95, 100)
    image[70:72, 20:140] = 250
    return image.repeat(3, axis=0).repeat(3, axis=1)


@pytest.mark.parametrize("kind", CORRUPTIONS)
def test_stronger_with_the_severity_and_the_same_again(scene, kind):
    kept = scene.copy()
    spoiled = [corrupt(scene, kind, severity, 7, "a") for severity in SEVERITIES]
    np.testing.assert_array_equal(scene, kept)
    assert {(one.shape, one.dtype) for one in spoiled} == {(scene.shape, scene.dtype)}
    far = [np.abs(one.astype(float) - scene).mean() for one in spoiled]
    assert far == sorted(far)
    assert far[0] > 0.5
    assert far[-1] > 1.5 * far[0]
    np.testing.assert_array_equal(corrupt(scene, kind, 3, 7, "a"), spoiled[2])
    draws = kind in ("fog", "rain", "night")
    for seed, name in ((8, "a"), (7, "b")):
        assert np.array_equal(corrupt(scene, kind, 3, seed, name), spoiled[2]) != draws


@pytest.mark.parametrize("kind", CORRUPTIONS)
@pytest.mark.parametrize("size", [(1, 1), (7, 40), (40, 7)])
def test_images_of_any_size(kind, size):
    image = tiny_network.noise(0, *size)
    for severity in SEVERITIES:
        assert corrupt(image, kind, severity, 0, "a").shape == image.shape


def test_they_are_what_they_are_called(scene):
    def contrast(image, rows):
        return image[rows].astype(float).std()

    def detail(image):
        return np.abs(np.diff(image.astype(float), axis=1)).mean()

    houses, road = slice(90, 150), slice(204, 225)
    fog = corrupt(scene, "fog", 4, 0, "a")
    kept = [contrast(fog, rows) / contrast(scene, rows) for rows in (houses, road)]
    assert kept[0] < kept[1] < 1, "what is far is hidden more"
    assert fog.mean() > scene.mean()
    night = corrupt(scene, "night", 4, 0, "a")
    assert night.mean() < 0.4 * scene.mean()
    assert night[:30].mean() / scene[:30].mean() < night[225:].mean() / scene[225:].mean()
    assert detail(corrupt(scene, "blur", 5, 0, "a")) < 0.6 * detail(scene)
    rain = corrupt(scene, "rain", 5, 0, "a")
    assert rain[:75].astype(float).std(axis=(0, 1)).min() > 3, "streaks before an even sky"
    assert rain.mean() < scene.mean()


def test_a_data_set_of_batches():
    images = tiny_network.noise(0, 16, 24, batch=3)
    whole = {"image": images, "label": images[..., :1], "name": np.array([b"a", b"b", b"c"])}
    dataset = tf.data.Dataset.from_tensor_slices(whole)
    one_by_one = list(corruptions.corrupted(dataset.batch(1), "rain", 3, 5))
    (at_once,) = corruptions.corrupted(dataset.batch(3), "rain", 3, 5)
    for index, batch in enumerate(one_by_one):
        np.testing.assert_array_equal(batch["image"][0], at_once["image"][index])
        np.testing.assert_array_equal(batch["label"][0], images[index, ..., :1])
    expected = corrupt(images[1], "rain", 3, 5, "b")
    np.testing.assert_array_equal(one_by_one[1]["image"][0], expected)


@pytest.mark.parametrize(("kind", "severity"), [("snow", 1), ("fog", 0), ("fog", 6)])
def test_what_there_is_not(scene, kind, severity):
    with pytest.raises(ValueError, match="must be one of"):
        corrupt(scene, kind, severity, 0, "a")
