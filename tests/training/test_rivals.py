"""The rivals' train steps: losses and gradients against NumPy written from their equations."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import reference_rivals
import tiny_segmenter
from c3tf.method.kernels.resize import bilinear
from c3tf.training import statistics

METHODS = tuple(reference_rivals.STEPS)
WITH_TEACHER = [method for method in METHODS if method != "unimatch"]
every_method = pytest.mark.parametrize("method", METHODS)


@pytest.fixture(autouse=True)
def float64():
    with tiny_segmenter.precision("float64"):
        yield


def prepared(settings, adam=lambda: keras.optimizers.SGD(learning_rate=1.0)):
    """A trainer in its only phase whose step is plain gradient descent."""
    model = tiny_segmenter.segmenter(settings, adam=adam)
    model.begin_semi_supervised(copy_student=False)
    return model


def step(model, batch):
    logs = model.train_step(tiny_segmenter.tensors(batch))
    return {name: float(value) for name, value in logs.items() if name != statistics.NAME}


def reference(settings, batch):
    """The reference with networks that no step has moved."""
    student, teacher = (tiny_segmenter.network(n, i + 1) for i, n in enumerate("st"))
    losses, passes = reference_rivals.STEPS[settings.method.name](student, teacher, batch, settings)
    return student, losses, passes


def chained(student, passes, shape):
    """Takes the gradients for the logits through resizing and network to the student's weights."""
    with tf.GradientTape() as tape:
        total = 0.0
        for part in passes:
            total += tf.reduce_sum(bilinear(part.logits(student), *shape) * part.gradient)
    variables = [variable.value for variable in student.trainable_variables]
    return tape.gradient(total, variables, unconnected_gradients="zero")


EDGES = {
    "usual": lambda batch: batch,
    "no label": lambda batch: batch._replace(y=np.full_like(batch.y, 255)),
    "class 0 only": lambda batch: batch._replace(y=np.zeros_like(batch.y)),
    "all padding": lambda batch: batch._replace(u_valid=np.zeros_like(batch.u_valid)),
    "one image is padding": lambda batch: batch._replace(
        u_valid=batch.u_valid & (np.arange(len(batch.u_valid)) != 1)[:, None, None]
    ),
}


@every_method
@pytest.mark.parametrize("change", EDGES.values(), ids=EDGES)
def test_losses_and_gradients_are_those_of_the_equations(method, change):
    settings = tiny_segmenter.config(method=method, mix_group=4)
    batch = change(tiny_segmenter.semi_batch(settings))
    with np.errstate(invalid="ignore", divide="ignore"):
        student, expected, passes = reference(settings, batch)
    expected = {name: np.nan_to_num(value) for name, value in expected.items()}
    model = prepared(settings)
    before = [variable.numpy() for variable in model.student.trainable_variables]
    logs = step(model, batch)
    assert logs.keys() == expected.keys()
    for name, value in expected.items():
        assert logs[name] == pytest.approx(value, rel=1e-9, abs=1e-12), name
    gradients = chained(student, passes, batch.y.shape[1:])
    for variable, old, gradient in zip(
        model.student.trainable_variables, before, gradients, strict=True
    ):
        moved = old - variable.numpy()
        np.testing.assert_allclose(moved, gradient, rtol=1e-9, atol=1e-12, err_msg=variable.path)
    if change is EDGES["usual"]:
        assert 0 < logs["confident"] < 1
        assert logs["consistency"] > 0
        for variable, gradient in zip(model.student.trainable_variables, gradients, strict=True):
            assert (np.abs(gradient).max() > 0) == ("projection" not in variable.path)


@every_method
def test_groups_are_mixed_among_themselves(method):
    """What a group sees does not depend on the groups beside it, so a replica may have it alone."""
    settings = tiny_segmenter.config(method=method, mix_group=2)
    batch = tiny_segmenter.semi_batch(settings)
    other = batch._replace(
        **{
            name: np.concatenate([getattr(batch, name)[:2], getattr(batch, name)[:1:-1]])
            for name in ("u_w", "u_s", "u_valid")
        }
    )
    model = prepared(settings)
    images = [model.mixed_images(tiny_segmenter.tensors(b)).numpy() for b in (batch, other)]
    np.testing.assert_array_equal(images[0][:2], images[1][:2])
    assert (images[0][2:] != images[1][2:]).any()
    # Every pixel is from one of the two images at its place.
    for i in range(2):
        own = (images[0][i] == batch.u_s[i]).all(axis=-1)
        next_one = (images[0][i] == batch.u_s[1 - i]).all(axis=-1)
        assert (own | next_one).all()
        # UniMatch mixes every second image only.
        assert own.any()
        assert method == "unimatch" or not own.all()


@pytest.mark.parametrize("method", WITH_TEACHER)
def test_the_teacher_follows_the_student_of_the_same_step(method):
    settings = tiny_segmenter.config(method=method, ema_decay=0.8)
    model = prepared(settings)
    for done in range(3):
        old = [weight.numpy() for weight in model.teacher.weights]
        step(model, tiny_segmenter.semi_batch(settings, done))
        # ClassMix begins with the true average: its first teacher is the first student.
        alpha = min(0.8, 1 - 1 / (done + 1)) if method == "classmix" else 0.8
        for new, before, source in zip(
            model.teacher.weights, old, model.student.weights, strict=True
        ):
            expected = alpha * before + (1 - alpha) * source.numpy()
            np.testing.assert_allclose(new, expected, rtol=0, atol=1e-14)


@every_method
def test_a_fixed_threshold_is_what_counts_and_stays(method):
    settings = tiny_segmenter.config(
        method=method,
        **{{"cutmix_mean_teacher": "mean_teacher"}.get(method, method) + "_threshold": 1.0},
    )
    model = prepared(settings)
    logs = step(model, tiny_segmenter.semi_batch(settings))
    assert logs["consistency"] == logs["confident"] == 0
    assert logs["supervised"] > 0
    np.testing.assert_array_equal(model.thresholds, np.ones(tiny_segmenter.NUM_CLASSES))


@every_method
def test_through_fit_as_eagerly(method):
    settings = tiny_segmenter.config(method=method)
    batches = [tiny_segmenter.semi_batch(settings, seed) for seed in range(2)]
    compiled, eager = prepared(settings, adam=None), prepared(settings, adam=None)
    logs = [step(eager, batch) for batch in batches]
    served = tiny_segmenter.dataset(batches)
    history = compiled.fit(served, verbose=0, shuffle=False).history
    assert {name: history[name][-1] for name in logs[-1]} == pytest.approx(logs[-1], rel=1e-9)
    for one, other in zip(compiled.student.weights, eager.student.weights, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)
    assert int(compiled.optimizer.iterations) == 2
