"""The trainer as a second method uses it: a mean teacher in a few lines, through `fit`."""

import numpy as np
import pytest
import tensorflow as tf

import tiny_segmenter
from c3tf.nets import execution
from c3tf.training import methods, trainer


class MeanTeacher(trainer.SemiSupervisedTrainer):
    """Cross-entropy of the labels, and the distance between student and teacher."""

    def semi_supervised_step(self, batch):
        self.update_teacher()
        target = tf.nn.softmax(self.run(self.teacher, batch.u_w)["logits"])
        with tf.GradientTape() as tape:
            x, u = (self.run(self.student, images)["logits"] for images in (batch.x, batch.u_s))
            supervised = self.supervised_loss(batch.y, self.upsample(x, batch.y))
            consistency = tf.reduce_mean(tf.square(tf.nn.softmax(u) - target))
            loss = supervised + 10 * consistency
        self.descend(tape, loss)
        return self.totals(loss, {"supervised": supervised, "consistency": consistency}, {})


@pytest.fixture
def settings(monkeypatch):
    monkeypatch.setitem(methods.TRAINERS, "c3", MeanTeacher)
    return tiny_segmenter.config(supervised_steps=1, contrast_weight=0.0)


def test_a_second_method_needs_its_step_alone(settings):
    model = tiny_segmenter.segmenter(settings)
    assert isinstance(model, MeanTeacher)
    batches = [tiny_segmenter.semi_batch(settings, seed) for seed in range(3)]
    fit = {"verbose": 0, "shuffle": False}
    model.fit(tiny_segmenter.dataset(batches[:1], supervised=True), **fit)
    model.begin_semi_supervised(copy_student=True)
    before = [weight.numpy() for weight in model.teacher.trainable_weights]
    logs = model.fit(tiny_segmenter.dataset(batches), **fit).history
    assert {"loss", "supervised", "consistency"} <= logs.keys()
    assert logs["loss"][0] == pytest.approx(
        logs["supervised"][0] + 10 * logs["consistency"][0], rel=1e-5
    )
    # The teacher has followed; the projection head, without a loss, has not moved.
    for weight, old in zip(model.teacher.trainable_weights, before, strict=True):
        assert (weight.numpy() != old).any() == ("projection" not in weight.path), weight.path
    assert int(model.optimizer.iterations) == 4


def test_without_a_step_of_its_own_there_is_no_second_phase():
    model = tiny_segmenter.segmenter(tiny_segmenter.config(method="supervised"))
    assert model.teacher is None
    with pytest.raises(NotImplementedError):
        model.semi_supervised_step(None)


def test_the_wait_for_input_ends_before_the_networks_begin(settings):
    """On one core the time was read after the step, and all of the step counted as waiting."""
    model = tiny_segmenter.segmenter(settings)
    model.begin_semi_supervised(copy_student=True)
    step = tf.function(model.train_step, autograph=False)
    graph = step.get_concrete_function(tiny_segmenter.semi_batch(settings, seed=0)).graph
    convolutions = [op for op in graph.get_operations() if op.type == "Conv2D"]
    assert convolutions
    for convolution in convolutions:
        assert "Timestamp" in {op.type for op in _before(convolution)}, convolution.name


def _before(operation):
    """Finds all operations that an operation waits for."""
    found, todo = set(), [operation]
    while todo:
        op = todo.pop()
        sources = {x.op for x in op.inputs} | set(op.control_inputs)
        todo += sources - found
        found |= sources
    return found


def test_the_thresholds_are_of_every_method(settings):
    """Checkpoints and pictures read them, whoever moves them."""
    model = tiny_segmenter.segmenter(settings)
    np.testing.assert_array_equal(model.thresholds, np.float32([settings.method.dcrs_start] * 5))


@pytest.mark.parametrize("recompute", [False, True])
def test_the_student_alone_is_recomputed(monkeypatch, recompute):
    asked = {}
    fast = execution.fast
    monkeypatch.setattr(
        execution,
        "fast",
        lambda network, again=False: asked.update({network.name: again}) or fast(network, again),
    )
    model = tiny_segmenter.segmenter(tiny_segmenter.config(recompute=recompute))
    assert asked == {model.student.name: recompute, model.teacher.name: False}
