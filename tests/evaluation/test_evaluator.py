"""The evaluator against loops over NumPy arrays, on TFRecords and on what is wrong with them."""

import json

import numpy as np
import pytest
import tensorflow as tf

import tiny_data
import tiny_network
from c3tf.data import validation
from c3tf.errors import DataError
from c3tf.evaluation.evaluator import EvaluationError, Evaluator, evaluate
from c3tf.evaluation.result import EvaluationResult
from c3tf.inference import networks
from c3tf.labels import IGNORE
from tiny_network import LABEL_MAP

# Of the tiny network.
STRIDE = 4


def half_pixel_bilinear(maps, height, width):
    """Resizes (h, w, C) by the definition: sample at ((i + 0.5) * h / H - 0.5), clamped."""
    for axis, size in ((0, height), (1, width)):
        old = maps.shape[axis]
        at = np.clip((np.arange(size) + 0.5) * old / size - 0.5, 0, old - 1)
        low = np.floor(at).astype(int)
        high = np.minimum(low + 1, old - 1)
        shape = [1, 1, 1]
        shape[axis] = size
        share = (at - low).reshape(shape)
        maps = np.take(maps, low, axis) * (1 - share) + np.take(maps, high, axis) * share
    return maps


def expected_counts(model, pairs):
    counts = np.zeros((LABEL_MAP.num_classes,) * 2, int)
    for image, label in pairs:
        height, width = image.shape[:2]
        continued = np.pad(image, ((0, -height % STRIDE), (0, -width % STRIDE), (0, 0)), "edge")
        logits = model(continued[None].astype(np.float32), training=False)["logits"][0].numpy()
        full = half_pixel_bilinear(logits, *continued.shape[:2])[:height, :width]
        predicted = half_pixel_bilinear(full, *label.shape).argmax(-1)
        valid = label != IGNORE
        np.add.at(counts, (label[valid], predicted[valid]), 1)
    return counts


def batches(pairs, names=None, size=1):
    names = names or [f"image_{i}" for i in range(len(pairs))]
    for i in range(0, len(pairs), size):
        yield {
            "image": np.stack([image for image, _ in pairs[i : i + size]]),
            "label": np.stack([label[..., None] for _, label in pairs[i : i + size]]),
            "name": tf.constant(names[i : i + size]),
        }


def test_equals_loops_at_the_labels_size():
    model = tiny_network.build()
    pairs = [tiny_data.pair(1, (24, 40)), tiny_data.pair(2, (31, 18), label_size=(62, 37))]
    result = evaluate(model, batches(pairs), LABEL_MAP)
    np.testing.assert_array_equal(result.confusion, expected_counts(model, pairs))
    assert result.confusion.dtype == np.int64
    assert np.count_nonzero(result.confusion) > 8, "the case should not be trivial"
    assert result.images == 2


def test_batches_do_not_change_the_counts():
    model = tiny_network.build()
    pairs = [tiny_data.pair(seed, (24, 40)) for seed in range(5)]
    alone = evaluate(model, batches(pairs), LABEL_MAP)
    together = evaluate(model, batches(pairs, size=2), LABEL_MAP)
    np.testing.assert_array_equal(alone.confusion, together.confusion)


def test_one_compiled_step_serves_all_sizes_and_follows_the_weights():
    model, other = tiny_network.build(seed=0), tiny_network.build(seed=1)
    predict, traced = networks.predictor(model), []

    def counting(images, size):
        traced.append(images.shape)
        return predict(images, size)

    evaluator = Evaluator(counting, LABEL_MAP)
    pairs = [tiny_data.pair(1, (24, 40)), tiny_data.pair(2, (16, 8))]
    evaluator.run(batches(pairs))
    model.set_weights(other.get_weights())
    result = evaluator.run(batches(pairs))
    assert len(traced) == 1
    np.testing.assert_array_equal(result.confusion, expected_counts(other, pairs))


def test_result_states_protocol_and_is_plain_json():
    label = np.zeros((8, 8), np.uint8)
    image = tiny_network.noise(0, 8, 8)

    def always_wall(images, size):
        return tf.ones(tf.concat([tf.shape(images)[:1], size], 0), tf.uint8)

    seen = []
    result = evaluate(
        always_wall,
        batches([(image, label)] * 2),
        LABEL_MAP,
        protocol={"split": "val"},
        progress=seen.append,
    )
    data = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert data["images"] == 2
    assert data["protocol"]["inference"] == "whole image"
    assert data["protocol"]["split"] == "val"
    assert data["metrics"]["iou"] == {"ground": 0.0, "wall": 0.0, "plant": None, "sky": None}
    assert data["metrics"]["mean_iou_cityscapes"] == 0.0
    assert data["confusion"][0] == [0, 128, 0, 0]
    assert seen == [1, 2]
    assert "ground" in result.table()
    again = EvaluationResult.from_json(data)
    assert again.to_json() == data
    assert again.table() == result.table()
    with pytest.raises(ValueError, match="schema=1"):
        EvaluationResult.from_json({**data, "schema": 1})


@pytest.mark.parametrize(
    ("names", "listed", "message"),
    [
        (["a", "a"], None, "'a' comes twice"),
        (["a", "b"], ["a", "b", "c"], r"1 missing \['c'\]"),
        (["a", "b"], ["a"], r"1 unknown \['b'\]"),
    ],
)
@pytest.mark.parametrize("size", [1, 2])
def test_every_image_exactly_once(names, listed, message, size):
    pairs = [tiny_data.pair(seed, (8, 8)) for seed in range(2)]
    evaluator = Evaluator(tiny_network.build(), LABEL_MAP)
    with pytest.raises(EvaluationError, match=message):
        evaluator.run(batches(pairs, names, size), names=listed)


def test_no_image_is_an_error():
    with pytest.raises(EvaluationError, match="no image"):
        evaluate(tiny_network.build(), [], LABEL_MAP)


def test_a_label_out_of_range_names_the_image():
    image, label = tiny_data.pair(0, (8, 8))
    label[3, 3] = LABEL_MAP.num_classes
    with pytest.raises(EvaluationError, match=r"image_0: .*labels must be 0 to 3.*Received.*4"):
        evaluate(tiny_network.build(), batches([(image, label)]), LABEL_MAP)


def test_records_come_once_each_with_their_own_sizes(tmp_path):
    pairs = {
        "b/two": tiny_data.pair(2, (31, 18), label_size=(62, 36)),
        "a/one": tiny_data.pair(1, (24, 40)),
        "c": tiny_data.pair(3, (16, 16)),
    }
    tiny_data.write(tmp_path, pairs, shards=2)
    read = {
        batch["name"][0].numpy().decode(): (batch["image"][0].numpy(), batch["label"][0].numpy())
        for batch in validation.val_dataset(str(tmp_path))
    }
    assert sorted(read) == sorted(pairs)
    for name, (image, label) in pairs.items():
        np.testing.assert_array_equal(read[name][0], image)
        np.testing.assert_array_equal(read[name][1][..., 0], label)


def test_mixed_sizes_in_a_batch_are_refused_with_a_reason(tmp_path):
    tiny_data.write(tmp_path, {"a": tiny_data.pair(1, (24, 40)), "b": tiny_data.pair(2, (16, 16))})
    dataset = validation.val_dataset(str(tmp_path), batch_size=2)
    with pytest.raises(
        EvaluationError, match=r"cannot be read after the start: .*batch.*use --batch_size=1\.$"
    ):
        evaluate(tiny_network.build(), dataset, LABEL_MAP)


@pytest.mark.parametrize(
    ("image", "label", "message"),
    [
        ((24, 40), (40, 24), "differ in shape: record a"),
        ((24, 40), (24, 60), "differ in shape: record a"),
        ((24, 40), (12, 22), "differ in shape: record a"),
    ],
)
def test_a_label_of_another_shape_is_not_measured(tmp_path, image, label, message):
    tiny_data.write(tmp_path, {"a": tiny_data.pair(1, image, label_size=label)})
    with pytest.raises(EvaluationError, match=message):
        evaluate(tiny_network.build(), validation.val_dataset(str(tmp_path)), LABEL_MAP)


@pytest.mark.parametrize(
    "height", [7, 48, 333, *(pytest.param(rows, marks=pytest.mark.slow) for rows in (500, 1200))]
)
@pytest.mark.parametrize("size", [(1024, 2048), (720, 1280), (375, 1242), (3, 1000), (999, 5)])
def test_a_label_of_the_source_s_size_fits_the_image_a_converter_makes(tmp_path, size, height):
    image = np.zeros((height, max(1, round(size[1] * height / size[0])), 3), np.uint8)
    tiny_data.write(tmp_path, {"a": (image, np.zeros(size, np.uint8))})
    assert len(list(validation.val_dataset(str(tmp_path)))) == 1


def test_nothing_is_observed_under_a_name_that_no_list_holds():
    pairs = [tiny_data.pair(seed, (8, 8)) for seed in range(2)]
    evaluator, observed = Evaluator(tiny_network.build(), LABEL_MAP), []
    with pytest.raises(EvaluationError, match="1 unknown"):
        evaluator.run(
            batches(pairs, ["a", "../../b"]),
            names=["a", "b"],
            observe=lambda names, *_: observed.extend(names),
        )
    assert observed == ["a"]
    with pytest.raises(DataError, match="name is no text"):
        evaluator.run(batches(pairs[:1], [b"\xff"]))


def test_a_shard_that_is_gone_is_named(tmp_path):
    tiny_data.write(tmp_path, {"a": tiny_data.pair(1, (8, 8))})
    dataset = validation.val_dataset(str(tmp_path))
    next(tmp_path.glob("*.tfrecord")).unlink()
    with pytest.raises(EvaluationError, match=r"tfrecord.*No such file"):
        evaluate(tiny_network.build(), dataset, LABEL_MAP)


def test_truncated_records_are_refused(tmp_path):
    tiny_data.write(tmp_path, {name: tiny_data.pair(1, (24, 40)) for name in "ab"})
    shard = next(tmp_path.glob("*.tfrecord"))
    shard.write_bytes(shard.read_bytes()[:-7])
    with pytest.raises(EvaluationError, match="cannot be read after a"):
        evaluate(tiny_network.build(), validation.val_dataset(str(tmp_path)), LABEL_MAP)


def test_images_without_labels_are_refused(tmp_path):
    image, _ = tiny_data.pair(0, (8, 8))
    tiny_data.write(tmp_path, {"a": tiny_data.pair(1, (8, 8)), "b": (image, None)})
    with pytest.raises(DataError, match="only 1 of the 2 images"):
        validation.val_dataset(str(tmp_path))
