"""Evaluating and exporting what `--model` and `--run` name."""

import numpy as np
import pytest

import tiny_data
import tiny_network
from c3tf import evaluate, export, inference, loading, serving
from c3tf.data import validation
from c3tf.data.errors import DataError
from c3tf.errors import UserError
from c3tf.evaluation import evaluator
from c3tf.labels import LabelMap
from c3tf.training import checkpoint
from tiny_network import LABEL_MAP


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
        return checkpoint.LoadedNetwork(networks[weights], LABEL_MAP, 12, {"seed": 3}, None)

    monkeypatch.setattr(checkpoint, "load_network", load_network)
    return folder


def confusion(network, data):
    return evaluator.evaluate(network, validation.val_dataset(str(data)), LABEL_MAP).confusion


def test_student_teacher_and_savedmodel(run, data, tmp_path):
    def counts(model, weights):
        return evaluate.evaluate_split(str(model), str(data), "val", weights)

    student, teacher = counts(run, None), counts(run, "teacher")
    np.testing.assert_array_equal(student.confusion, confusion(tiny_network.build(0), data))
    np.testing.assert_array_equal(teacher.confusion, confusion(tiny_network.build(1), data))
    assert not np.array_equal(student.confusion, teacher.confusion)
    assert student.images == 3
    assert student.protocol["weights"] == "student"
    assert teacher.protocol["weights"] == "teacher"
    assert student.protocol["split"] == "val"

    export.export(str(run), "teacher", str(tmp_path / "saved"))
    through = counts(tmp_path / "saved", None)
    np.testing.assert_array_equal(through.confusion, teacher.confusion)
    assert through.protocol["exported_from"]["weights"] == "teacher"
    assert through.protocol["exported_from"]["step"] == 12
    with pytest.raises(UserError, match="--weights=student"):
        counts(tmp_path / "saved", "student")


def test_a_model_of_other_classes_is_refused(data, tmp_path):
    other = LabelMap("other", ("x", "y", "z", "w"), LABEL_MAP.colors, LABEL_MAP.raw_ids)
    saved = serving.save(tiny_network.build(), other, tmp_path / "saved")
    with pytest.raises(UserError, match=r"knows the classes x, y.*labeled with ground, wall"):
        evaluate.evaluate_split(str(saved), str(data))


def test_missing_model_data_and_split(run, data, tmp_path):
    with pytest.raises(UserError, match="There is no model at"):
        loading.open_model(tmp_path / "nothing")
    with pytest.raises(DataError, match="no data set directory"):
        evaluate.evaluate_split(str(run), str(tmp_path / "nothing"))
    with pytest.raises(DataError, match="'test' is empty"):
        evaluate.evaluate_split(str(run), str(data), "test")


def test_a_shard_cut_at_a_record_is_refused(run, data):
    shard = sorted(data.glob("*.tfrecord"))[0]
    shard.write_bytes(b"")
    with pytest.raises(DataError, match="0 bytes instead of"):
        evaluate.evaluate_split(str(run), str(data))


def test_export_checks_its_target_first(run, tmp_path, monkeypatch):
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken/file").write_text("mine")
    monkeypatch.setattr(checkpoint, "load_network", None)
    with pytest.raises(UserError, match="no SavedModel"):
        export.export(str(run), "student", str(tmp_path / "taken"), overwrite=True)


def test_a_predictor_of_a_network_is_traced_once():
    model = tiny_network.build()
    predict = inference.predictor(model)
    for size in ((8, 8), (12, 20)):
        predict(tiny_network.noise(0, *size, batch=2), np.array(size, np.int32))
    assert predict.experimental_get_tracing_count() == 1
