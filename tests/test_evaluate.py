"""Evaluating and exporting what `--model` names."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

import tiny_data
import tiny_network
from c3tf import models
from c3tf.config import Config
from c3tf.data import validation
from c3tf.errors import DataError, UserError
from c3tf.evaluation import evaluator, split
from c3tf.evaluation.options import EvaluationOptions
from c3tf.inference.networks import predictor
from c3tf.inference.options import InferenceOptions
from c3tf.labels import LabelMap
from c3tf.runs import checkpoints, run_dir
from c3tf.serving import saved_model
from c3tf.visualization import drawing
from tiny_network import LABEL_MAP

THRESHOLDS = np.array([0.5, 0.6, 0.7, 0.4], np.float32)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    sizes = {"a": ((24, 40), None), "b": ((31, 18), (62, 36)), "c": ((16, 16), None)}
    pairs = {n: tiny_data.pair(i, *size) for i, (n, size) in enumerate(sizes.items())}
    tiny_data.write(folder, pairs, shards=2)
    return folder


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A run whose student and teacher differ."""
    folder = tmp_path / "run"
    folder.mkdir()
    networks = {"student": tiny_network.build(seed=0), "teacher": tiny_network.build(seed=1)}

    def load_network(path, weights="student"):
        assert path == str(folder)
        return checkpoints.LoadedNetwork(networks[weights], LABEL_MAP, 12, {"seed": 3}, THRESHOLDS)

    monkeypatch.setattr(checkpoints, "load_network", load_network)
    return folder


def evaluate_split(model, data, name="val", weights=None, options=None):
    return split.evaluate_split(lambda: models.open_model(model, weights), data, name, options)


def confusion(network, data):
    return evaluator.evaluate(network, validation.val_dataset(str(data)), LABEL_MAP).confusion


def test_student_teacher_and_savedmodel(run, data, tmp_path):
    def counts(model, weights):
        return evaluate_split(str(model), str(data), "val", weights)

    student, teacher = counts(run, None), counts(run, "teacher")
    np.testing.assert_array_equal(student.confusion, confusion(tiny_network.build(0), data))
    np.testing.assert_array_equal(teacher.confusion, confusion(tiny_network.build(1), data))
    assert not np.array_equal(student.confusion, teacher.confusion)
    assert student.images == 3
    assert student.protocol["weights"] == "student"
    assert teacher.protocol["weights"] == "teacher"
    assert student.protocol["split"] == "val"

    models.export(str(run), "teacher", str(tmp_path / "saved"))
    through = counts(tmp_path / "saved", None)
    np.testing.assert_array_equal(through.confusion, teacher.confusion)
    assert through.protocol["exported_from"]["weights"] == "teacher"
    assert through.protocol["exported_from"]["step"] == 12
    with pytest.raises(UserError, match="--weights=student"):
        counts(tmp_path / "saved", "student")


def test_a_model_of_other_classes_is_refused(data, tmp_path):
    other = LabelMap("other", ("x", "y", "z", "w"), LABEL_MAP.colors, LABEL_MAP.raw_ids)
    saved = saved_model.save(tiny_network.build(), other, tmp_path / "saved")
    with pytest.raises(UserError, match=r"knows the classes x, y.*labeled with ground, wall"):
        evaluate_split(str(saved), str(data))


def test_missing_model_data_and_split(run, data, tmp_path):
    with pytest.raises(UserError, match="There is no model at"):
        models.open_model(tmp_path / "nothing")
    with pytest.raises(DataError, match="no data set directory"):
        evaluate_split(str(run), str(tmp_path / "nothing"))
    with pytest.raises(DataError, match="'test' is empty"):
        evaluate_split(str(run), str(data), "test")


@pytest.mark.parametrize("suffix", [".keras", ".tflite", ".weights.h5", ".pb"])
def test_a_file_of_another_kind_is_told_what_is_wanted(tmp_path, suffix):
    path = tmp_path / f"model{suffix}"
    path.write_bytes(b"PK")
    with pytest.raises(UserError) as caught:
        models.open_model(path)
    said = str(caught.value)
    assert said.startswith("`--model` must name a run's folder or a checkpoint (*.npz), or")
    assert "the folder of a SavedModel (`python -m c3tf.export --model=RUN" in said
    assert said.endswith(f"Received: --model={path}")
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(UserError, match=rf"SavedModel \(give --model={tmp_path}\)"):
        models.open_model(path)
    with pytest.raises(UserError, match=r"^`--model` must name .* \(\*\.npz\)\. Received"):
        models.export(str(path), "student", str(tmp_path / "out"))


def test_a_folder_of_runs_is_told_apart(tmp_path):
    one, other = tmp_path / "c3", tmp_path / "supervised"
    run_dir.claim(str(one), Config(), "5b117", "da7a")
    # A folder of one run is that run, and what is wrong is said of it.
    assert models.run_at(str(tmp_path), "--model") == str(one)
    with pytest.raises(UserError, match=f"No checkpoint at '{one}'"):
        models.open_model(tmp_path)
    run_dir.claim(str(other), Config(), "5b117", "da7a")
    with pytest.raises(UserError) as caught:
        models.open_model(tmp_path)
    assert str(caught.value) == (
        f"`--model` must name one run, and {tmp_path} holds 2: give --model={one} or "
        f"--model={other}"
    )
    with pytest.raises(UserError, match=f"give --model={one} or --model={other}"):
        models.export(str(tmp_path), "student", str(tmp_path / "out"))


def test_every_way_to_look_at_an_image_gives_the_same_from_a_savedmodel(run, data, tmp_path):
    models.export(str(run), "student", str(tmp_path / "saved"))
    options = EvaluationOptions(
        inference=InferenceOptions("sliding", (16, 16), 0.5, tta_flip=True, tta_scales=(1.0, 1.5)),
        label_size="record",
        ignore_low_confidence=True,
        confident_share=0.8,
    )
    direct = evaluate_split(str(run), str(data), options=options)
    through = evaluate_split(str(tmp_path / "saved"), str(data), options=options)
    # An exported network may be the same up to rounding only.
    for ours, theirs in (
        (through.confusion, direct.confusion),
        (through.confident, direct.confident),
    ):
        assert np.abs(ours - theirs).sum() <= 0.002 * direct.confusion.sum()
    assert direct.protocol["inference"] == "sliding window"
    assert direct.protocol["label_size"] == "record"
    assert "keeping 0.8" in direct.protocol["low_confidence"]["thresholds_from"]
    whole = evaluate_split(str(run), str(data))
    assert not np.array_equal(whole.confusion, direct.confusion)


def test_thresholds_come_from_the_checkpoint(run, data, tmp_path):
    options = EvaluationOptions(ignore_low_confidence=True)
    result = evaluate_split(str(run), str(data), options=options)
    stated = result.protocol["low_confidence"]
    assert stated["thresholds"] == dict(
        zip(LABEL_MAP.class_names, THRESHOLDS.tolist(), strict=True)
    )
    assert stated["thresholds_from"] == "checkpoint"
    assert 0 < result.confident.sum() < result.confusion.sum()
    models.export(str(run), "student", str(tmp_path / "saved"))
    through = evaluate_split(str(tmp_path / "saved"), str(data), options=options)
    stated["thresholds_from"] = "model card"
    assert through.protocol["low_confidence"] == stated
    np.testing.assert_array_equal(through.confident, result.confident)
    bare = saved_model.save(tiny_network.build(), LABEL_MAP, tmp_path / "bare")
    with pytest.raises(UserError, match=r"no DCRS thresholds.*--confident_share"):
        evaluate_split(str(bare), str(data), options=options)


def test_options_that_do_not_go_together_are_refused(run, data):
    with pytest.raises(UserError, match="needs --ignore_low_confidence"):
        EvaluationOptions(confident_share=0.8)
    with pytest.raises(UserError, match=r"--confident_share=1\.5"):
        EvaluationOptions(ignore_low_confidence=True, confident_share=1.5)
    for name, value in {
        "batch_size": 1.5,
        "label_size": "large",
        "replicas": -1,
    }.items():
        with pytest.raises(UserError, match=f"`--{name}` must be"):
            EvaluationOptions(**{name: value})
    with pytest.raises(UserError, match=r"--corruptions.*fog, rain.*Received: --corruptions=snow"):
        EvaluationOptions(corruptions=("snow",))
    with pytest.raises(UserError, match=r"--severities=1,1"):
        EvaluationOptions(corruptions=("fog",), severities=(1, 1))
    with pytest.raises(UserError, match="--replicas"):
        evaluate_split(str(run), str(data), options=EvaluationOptions(replicas=99))


def test_calibration_and_spoiled_images(run, data):
    options = EvaluationOptions(
        calibration=True, ignore_low_confidence=True, corruptions=("fog", "jpeg"), severities=(2, 5)
    )
    result = evaluate_split(str(run), str(data), options=options)
    plain = evaluate_split(
        str(run), str(data), options=EvaluationOptions(ignore_low_confidence=True)
    )
    np.testing.assert_array_equal(result.confusion, plain.confusion)
    np.testing.assert_array_equal(result.confident, plain.confident)
    assert result.calibration.pixels.sum() == result.confusion.sum()
    # By predicted class: the columns, and the diagonal.
    np.testing.assert_array_equal(result.calibration.pixels.sum(1), result.confusion.sum(0))
    np.testing.assert_array_equal(result.calibration.right.sum(1), np.diag(result.confusion))
    assert {kind: list(held) for kind, held in result.corrupted.items()} == {
        "fog": [2, 5],
        "jpeg": [2, 5],
    }
    spoiled = result.corrupted["fog"][5]
    assert not np.array_equal(spoiled.confusion, result.confusion)
    np.testing.assert_array_equal(spoiled.confusion.sum(1), result.confusion.sum(1))
    assert result.calibration_table().count("\n") == LABEL_MAP.num_classes + 2
    assert result.corruption_table().splitlines()[2].startswith("fog 5 ")
    assert plain.calibration_table() == plain.corruption_table() == ""


def test_error_maps(run, data, tmp_path):
    folder = tmp_path / "errors"
    options = EvaluationOptions(error_maps=str(folder))
    evaluate_split(str(run), str(data), options=options)
    assert sorted(path.name for path in folder.iterdir()) == ["a.png", "b.png", "c.png"]
    example = next(iter(validation.val_dataset(str(data))))
    name, label = example["name"][0].numpy().decode(), example["label"].numpy()[0, ..., 0]
    size = np.array(label.shape, np.int32)
    predicted = predictor(tiny_network.build(0))(example["image"], size)[0].numpy()
    with Image.open(folder / f"{name}.png") as drawn:
        np.testing.assert_array_equal(np.asarray(drawn), drawing.error_map(predicted, label))
    with pytest.raises(UserError, match="3 of the error maps exist"):
        evaluate_split(str(run), str(data), options=options)


REPLICAS = """
import json, sys
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from c3tf import models
from c3tf.evaluation.options import EvaluationOptions
from c3tf.evaluation.split import evaluate_split

opened = []
def open_noting_devices():
    with tf.init_scope():
        opened.append(tf.Variable(0.0).device)
    return models.open_model(sys.argv[1])

counts = {}
for replicas in (1, 2):
    options = EvaluationOptions(replicas=replicas, ignore_low_confidence=True, confident_share=0.8)
    result = evaluate_split(open_noting_devices, sys.argv[2], options=options)
    counts[replicas] = [result.confusion.tolist(), result.confident.tolist()]
print(json.dumps({"counts": counts, "devices": opened}))
"""


def test_one_and_two_replicas_count_the_same(run, data, tmp_path, repository):
    models.export(str(run), "student", str(tmp_path / "saved"))
    done = subprocess.run(
        [sys.executable, "-c", REPLICAS, str(tmp_path / "saved"), str(data)],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["counts"]["1"] == found["counts"]["2"]
    assert np.sum(found["counts"]["1"]) > 0
    assert [device[-1] for device in found["devices"][1:]] == ["0", "1"]


def test_the_command_writes_what_it_prints(run, data, tmp_path, repository):
    models.export(str(run), "student", str(tmp_path / "saved"))
    command = [
        *(sys.executable, "-m", "c3tf.evaluate"),
        *(f"--model={tmp_path / 'saved'}", f"--data={data}", f"--output={tmp_path / 'r.json'}"),
        *("--averaging=bdd100k", "--inference=sliding", "--window=16x16", "--overlap=0.5"),
    ]
    done = subprocess.run(
        command, cwd=repository, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["averaging"] == "bdd100k"
    assert result["mean_iou"] == result["metrics"]["mean_iou_bdd100k"]
    assert f"mean IoU (bdd100k rule): {result['mean_iou']:.2%}" in done.stdout
    assert result["protocol"]["window"] == [16, 16]


READ = """
import json, sys
from absl import flags
from c3tf import evaluate
from c3tf.config import flag_files

evaluate.define_flags()
for path in sys.argv[1:]:
    flags.FLAGS.unparse_flags()
    flags.FLAGS(["evaluate", *flag_files.expand([f"--flagfile={path}"])])
    options, values = evaluate.from_flags(), flags.FLAGS
    print(json.dumps([values.model, values.data, values.weights, values.output,
                      values.averaging, options.ignore_low_confidence]))
"""


def test_every_flag_file_is_accepted(repository):
    files = sorted((repository / "configs/evaluate").glob("*.flags"))
    done = subprocess.run(
        [sys.executable, "-c", READ, *map(str, files)],
        cwd=repository,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    trained = (repository / "configs").glob("*.flags")
    outputs = {line for path in trained for line in path.read_text().splitlines()}
    for path, answer in zip(files, answers, strict=True):
        model, data, weights, output, averaging, ignore_low_confidence = answer
        assert f"--output={model.removesuffix('/c3')}" in outputs
        assert output == f"{model.removesuffix('/c3')}/{path.stem}.json"
        name = "bdd100k" if "bdd" in path.stem else "cityscapes"
        assert (data, averaging) == (f"data/{name}", name)
        assert weights == "teacher"
        assert ignore_low_confidence
    # Files of one command, not a later one's settings on top of an earlier one's.
    assert len({answer[3] for answer in answers}) == len(files) == 7


def test_a_damaged_shard_is_named_before_anything_is_measured(run, data, monkeypatch):
    shard = sorted(data.glob("*.tfrecord"))[1]
    content = bytearray(shard.read_bytes())
    content[-100] ^= 1
    shard.write_bytes(content)
    monkeypatch.setattr(models, "open_model", None)
    with pytest.raises(DataError, match=rf"{shard.name} is damaged"):
        evaluate_split(str(run), str(data))


def test_a_shard_cut_at_a_record_is_refused(run, data):
    shard = sorted(data.glob("*.tfrecord"))[0]
    shard.write_bytes(b"")
    with pytest.raises(DataError, match="0 bytes instead of"):
        evaluate_split(str(run), str(data))


def test_export_checks_its_target_first(run, tmp_path, monkeypatch):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").write_text("mine")
    monkeypatch.setattr(checkpoints, "load_network", None)
    with pytest.raises(UserError, match="is no export"):
        models.export(str(run), "student", str(tmp_path / "taken"), overwrite=True)


def test_a_predictor_of_a_network_is_traced_once():
    model = tiny_network.build()
    predict = predictor(model)
    for size in ((8, 8), (12, 20)):
        predict(tiny_network.noise(0, *size, batch=2), np.array(size, np.int32))
    assert predict.experimental_get_tracing_count() == 1
