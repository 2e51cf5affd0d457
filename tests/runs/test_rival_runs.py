"""Whole runs of the rivals: resume, pictures, evaluation, export."""

import json
import os

import numpy as np
import pytest
import tensorflow as tf

import reference_rivals
import tiny_command
import tiny_segmenter
from c3tf.config import Config
from c3tf.data.validation import val_dataset
from c3tf.errors import Stopped
from c3tf.evaluation.evaluator import Evaluator
from c3tf.runs import checkpoints
from c3tf.runs.checkpoints import CheckpointError
from c3tf.runs.run import Run
from c3tf.serving.saved_model import load

pytestmark = pytest.mark.usefixtures("tiny_networks")


def settings(data, output, method) -> Config:
    options = {"steps": 4, "evaluate_every": 4, "mix_group": 2, "image_log_interval": 4}
    return Config().with_options(
        **tiny_command.options(data, output, method=method, log_every=1, **options)
    )


def arrays(output):
    return checkpoints.read(checkpoints.find(str(output)))[1]


def trainer(config):
    model = tiny_command.build_model(config, tiny_command.LABEL_MAP)
    model.begin_semi_supervised(copy_student=True)
    return model


@pytest.mark.parametrize("method", reference_rivals.STEPS)
def test_a_checkpoint_holds_all_that_the_next_step_needs(tmp_path, method):
    config = tiny_segmenter.config(method=method)
    batches = [tiny_segmenter.tensors(tiny_segmenter.semi_batch(config, i)) for i in range(2)]
    model, again = trainer(config), trainer(config)
    model.train_step(batches[0])
    store = checkpoints.CheckpointStore(str(tmp_path), keep=1)
    path = store.save(model, checkpoints.describe(model, config, tiny_command.LABEL_MAP))
    facts = store.restore(again)
    assert facts["has_teacher"] == (method != "unimatch")
    for continued in (model, again):
        continued.train_step(batches[1])
    for one, other in zip(model.weights, again.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    loaded = checkpoints.load_network(path)
    assert (loaded.thresholds is None) == (method == "unimatch")
    if method == "unimatch":
        with pytest.raises(CheckpointError, match="without one"):
            checkpoints.load_network(path, "teacher")


@pytest.mark.slow
@pytest.mark.parametrize("method", reference_rivals.STEPS)
def test_a_rival_goes_on_is_evaluated_and_exported(data, tmp_path, monkeypatch, method):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    result = Run(settings(data, whole, method), method).train()
    lines = [json.loads(line) for line in (whole / "metrics.jsonl").open()]
    assert [line["step"] for line in lines] == [1, 2, 3, 4]
    assert all({"supervised", "consistency", "confident"} <= line.keys() for line in lines)
    assert os.listdir(whole / "tensorboard")

    evaluated = {"student": result.student, "teacher": result.teacher}
    if method == "unimatch":
        assert evaluated.pop("teacher") is None
    for weights, expected in evaluated.items():
        loaded = checkpoints.load_network(str(whole), weights)
        found = Evaluator(loaded.model, loaded.label_map).run(val_dataset(str(data)))
        np.testing.assert_array_equal(found.confusion, expected.confusion)
    assert load(result.saved_model).label_map == tiny_command.LABEL_MAP
    exported = tf.saved_model.load(result.saved_model).signatures["serving_default"]
    assert exported(images=tf.zeros((1, 40, 80, 3), tf.uint8))["class_map"].shape == (1, 40, 80)

    run = Run(settings(data, stopped, method), method)
    with pytest.raises(Stopped):
        run.train(tiny_command.StopAt(run, 2))
    # What a finished run writes was looked at above.
    monkeypatch.setattr(Run, "_finish", lambda run: None)
    Run(settings(data, stopped, method), method).train()
    held, expected = arrays(stopped), arrays(whole)
    assert held.keys() == expected.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(held[name], array, err_msg=name)
