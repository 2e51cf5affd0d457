"""Counting with and without low-confidence pixels, against loops over NumPy arrays."""

import numpy as np
import pytest
import tensorflow as tf

import tiny_data
import tiny_network
from c3tf.evaluation import evaluator, metrics, thresholds
from c3tf.evaluation.evaluator import EvaluationError, Evaluator
from c3tf.evaluation.result import EvaluationResult
from c3tf.inference import networks, test_time
from c3tf.inference.options import InferenceOptions
from c3tf.labels import IGNORE
from c3tf.method import confidence
from data_tools.conversion import images
from tiny_network import LABEL_MAP

CLASSES = LABEL_MAP.num_classes
SIZES = [((24, 40), None), ((31, 18), (62, 37)), ((16, 16), None)]


@pytest.fixture(scope="module")
def score():
    probabilities = networks.probabilities(tiny_network.build())
    return test_time.scorer(probabilities, InferenceOptions(), CLASSES)


@pytest.fixture(scope="module")
def pairs():
    return [tiny_data.pair(seed, *sizes) for seed, sizes in enumerate(SIZES)]


def batches(pairs):
    for index, (image, label) in enumerate(pairs):
        yield {
            "image": image[None],
            "label": label[None, ..., None],
            "name": tf.constant([f"image_{index}"]),
        }


def confusion(labels, predictions):
    counts = np.zeros((CLASSES, CLASSES), int)
    for label, predicted in zip(labels, predictions, strict=True):
        for true, found in zip(label.ravel(), predicted.ravel(), strict=True):
            if true != IGNORE:
                counts[true, found] += 1
    return counts


def test_low_confidence_pixels_are_left_out(score, pairs):
    limits = np.array([0.5, 0.9, 0.7, 0.6], np.float32)
    probabilities = [score(image[None], label.shape)[0].numpy() for image, label in pairs]
    predicted = [p.argmax(-1) for p in probabilities]
    kept = []
    for p, (_, label) in zip(probabilities, pairs, strict=True):
        label = label.copy()
        label[p.max(-1) < limits[p.argmax(-1)]] = IGNORE
        kept.append(label)
    step = evaluator.confident_count_step(score, CLASSES, limits)
    result = Evaluator([step], LABEL_MAP).run(batches(pairs))
    expected = confusion(kept, predicted)
    np.testing.assert_array_equal(
        result.confusion, confusion([label for _, label in pairs], predicted)
    )
    np.testing.assert_array_equal(result.confident, expected)
    assert 0 < expected.sum() < result.confusion.sum(), "the case should not be trivial"
    data = result.to_json()["confident"]
    assert data["share_of_labeled_pixels"] == expected.sum() / result.confusion.sum()
    assert data["metrics"]["mean_iou_cityscapes"] == metrics.mean_iou(expected)
    heading, *_ = result.table().splitlines()
    assert heading.split()[-2:] == ["IoU", "confident"]
    again = EvaluationResult.from_json(result.to_json())
    np.testing.assert_array_equal(again.confident, result.confident)


@pytest.mark.parametrize("share", [0.3, 0.8])
def test_thresholds_keep_the_share_of_every_class(score, pairs, share):
    found = thresholds.find([evaluator.confidence_step(score, CLASSES)], batches(pairs), share)
    probabilities = [score(i[None], y.shape)[0].numpy().reshape(-1, CLASSES) for i, y in pairs]
    probabilities = np.concatenate(probabilities)
    highest, predicted = probabilities.max(-1), probabilities.argmax(-1)
    for index in range(CLASSES):
        own = np.sort(highest[predicted == index])[::-1]
        element = own[int(share * len(own))] if len(own) else 0
        assert found[index] <= element < found[index] + 1 / confidence.BINS or not len(own)
    assert (found > 0).sum() >= 3
    assert (
        thresholds.find([evaluator.confidence_step(score, CLASSES)], batches(pairs), 1) == 0
    ).all()


def test_labels_are_reduced_as_the_converters_do(pairs):
    seen = []

    def predict(image, size):
        return tf.zeros([1, *tf.unstack(size)], tf.uint8)

    def keep(names, class_maps, labels):
        seen.append((class_maps[0].shape, labels[0]))

    step = evaluator.count_step(predict, CLASSES, "record")
    Evaluator([step], LABEL_MAP).run(batches(pairs), observe=keep)
    for (image, label), (shape, measured) in zip(pairs, seen, strict=True):
        assert shape == image.shape[:2]
        np.testing.assert_array_equal(measured, images.resize_ids(label, image.shape[:2]))


def test_several_devices_share_the_images(pairs):
    """Both steps run on the one CPU here; the counts must not depend on who counted."""
    predict = networks.predictor(tiny_network.build())
    one = Evaluator([evaluator.count_step(predict, CLASSES)], LABEL_MAP).run(batches(pairs))
    two = Evaluator(
        [evaluator.count_step(predict, CLASSES) for _ in range(2)], LABEL_MAP, [None, None]
    )
    np.testing.assert_array_equal(two.run(batches(pairs)).confusion, one.confusion)


def test_refuses_wrong_options(score):
    with pytest.raises(ValueError, match="`label_size`"):
        evaluator.count_step(score, CLASSES, "image")
    with pytest.raises(ValueError, match="`share`"):
        thresholds.find([], [], 0)
    with pytest.raises(ValueError, match="`steps`"):
        Evaluator([], LABEL_MAP)
    with pytest.raises(EvaluationError, match="no image"):
        thresholds.find([evaluator.confidence_step(score, CLASSES)], [], 0.5)
