"""The train step against Eq. 7, composed independently from the references."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf

import reference_step
import references
import tiny_segmenter
from c3tf.labels import IGNORE
from c3tf.training import statistics
from tiny_segmenter import NUM_CLASSES


@pytest.fixture(autouse=True)
def float64():
    with tiny_segmenter.precision("float64"):
        yield


def small(**options):
    """One mix group of two labeled and two unlabeled images."""
    return tiny_segmenter.config(global_batch_size=4, **options)


def prepared(settings, iterations=None, **arguments):
    """A segmenter in its semi-supervised phase whose teacher is not the student."""
    model = tiny_segmenter.segmenter(settings, **arguments)
    model.begin_semi_supervised(copy_student=False)
    model.optimizer.iterations.assign(
        settings.first_semi_step if iterations is None else iterations
    )
    return model


def weights(network):
    return [weight.numpy() for weight in network.weights]


def step(model, batch):
    logs = model.train_step(tiny_segmenter.tensors(batch))
    return {name: float(value) for name, value in logs.items() if name != statistics.NAME}


VARIANTS = {
    "paper": {},
    "two mix groups": {"global_batch_size": 8},
    "mixing none": {"mixing": "none", "mix_group": 1},
    "mixing intra-set": {"mixing": "intra_set"},
    "without contrast": {"contrast_weight": 0.0},
    "without consistency": {"consistency_weight": 0.0},
    "keys of the student": {"labeled_keys": "student"},
    "keys and excluded self": {"contrast_exclude_self": True, "contrast_scale": 1.5},
    "contrast of labeled images": {"contrast_sources": "labeled"},
    "contrast of unlabeled images": {"contrast_sources": "unlabeled"},
    "random sampling": {"contrast_sampling": "random"},
    "skipped classes": {"contrast_skip_class_0": True, "contrast_min_pixels": 4},
    "without DCRS": {"dcrs_ratio": 1.0, "dcrs_start": 0.9},
    "batch averaging": {"loss_averaging": "batch"},
    "summed over classes": {"consistency_class_mean": False},
    "group averaging": {"loss_averaging": "group"},
    "group averaging, two groups": {"loss_averaging": "group", "global_batch_size": 8},
    "ramp from the start": {"consistency_ramp_start": "training"},
    "ramp of contrast": {"contrast_ramp_steps": 9},
    "no filling up": {"contrast_fill_up": False},
    "aligned corners": {"align_corners": True},
    "authors": {
        "loss_averaging": "group",
        "consistency_class_mean": True,
        "contrast_scale": 1.5,
        "labeled_keys": "student",
        "contrast_exclude_self": True,
        "contrast_skip_class_0": True,
        "contrast_min_pixels": 3,
        "contrast_ramp_steps": 9,
        "contrast_from_start": True,
        "ema_warmup": True,
        "align_corners": True,
    },
    "warm-up": {"ema_warmup": True},
}


# For the inner loop: both sides of most options.
SMOKE = ("paper", "authors", "two mix groups")


@pytest.mark.parametrize(
    "options",
    [
        pytest.param(options, id=name, marks=[pytest.mark.smoke] if name in SMOKE else [])
        for name, options in VARIANTS.items()
    ],
)
def test_step_is_eq_7(options):
    settings = tiny_segmenter.config(**{"global_batch_size": 4, **options})
    phase_step = 2
    model = prepared(settings, settings.first_semi_step + phase_step)
    # The step trains a student that it has not moved yet.
    student = tiny_segmenter.network("student", seed=1)
    batch = tiny_segmenter.semi_batch(settings)
    logs = step(model, batch)
    expected = reference_step.total_loss(
        student, model.teacher, model.thresholds.numpy(), batch, settings, phase_step
    )
    assert logs.keys() == expected.keys()
    for name, value in expected.items():
        assert logs[name] == pytest.approx(value, rel=1e-9), name
    # Every part of Eq. 7 is active in this batch, and every variant changes the loss.
    assert logs["consistency"] > 0
    assert 0 < logs["confident"] <= 1
    if options:
        assert abs(logs["loss"] - loss_of_the_paper()) > 1e-9


@functools.cache
def loss_of_the_paper():
    settings = small()
    return step(prepared(settings, 5), tiny_segmenter.semi_batch(settings))["loss"]


@pytest.mark.parametrize(
    "options", [{}, {"labeled_keys": "student"}], ids=["paper", "student keys"]
)
def test_gradient_is_that_of_eq_7_with_teacher_and_keys_held(options):
    """Finite differences of the reference against the step that plain gradient descent takes."""
    settings = small(
        consistency_ramp_steps=0, consistency_weight=1.0, contrast_weight=1.0, **options
    )
    model = prepared(settings, adam=lambda: keras.optimizers.SGD(learning_rate=1.0))
    batch = tiny_segmenter.semi_batch(settings)
    before = [variable.numpy() for variable in model.student.trainable_variables]
    step(model, batch)
    descent = [
        variable.numpy() - old
        for variable, old in zip(model.student.trainable_variables, before, strict=True)
    ]
    rng, probe = np.random.default_rng(0), tiny_segmenter.network("probe", seed=1)
    if options:
        # Keys that are the student's own would move with the probe: only the losses and the
        # layers that the keys do not depend on can be compared.
        directions = [
            rng.normal(size=old.shape) * ("classifier" in variable.path)
            for variable, old in zip(probe.trainable_variables, before, strict=True)
        ]
    else:
        directions = [rng.normal(size=old.shape) for old in before]
    small_step, values = 1e-6, []
    for sign in (1, -1):
        for variable, old, direction in zip(
            probe.trainable_variables, before, directions, strict=True
        ):
            variable.assign(old + sign * small_step * direction)
        values.append(
            reference_step.total_loss(
                probe, model.teacher, model.thresholds.numpy(), batch, settings, phase_step=0
            )["loss"]
        )
    slope = (values[0] - values[1]) / (2 * small_step)
    expected = -sum((move * d).sum() for move, d in zip(descent, directions, strict=True))
    assert expected == pytest.approx(slope, rel=1e-5)
    assert abs(slope) > 1e-3


@pytest.mark.parametrize("phase_step", [0, 7])
@pytest.mark.parametrize("warmup", [False, True])
def test_teacher_follows_the_student_of_the_step_before(phase_step, warmup):
    settings = small(ema_decay=0.8, ema_warmup=warmup)
    model = prepared(settings, settings.first_semi_step + phase_step)
    student, teacher = weights(model.student), weights(model.teacher)
    step(model, tiny_segmenter.semi_batch(settings))
    alpha = min(0.8, 1 - 1 / (phase_step + 1)) if warmup else 0.8
    for new, s, t in zip(weights(model.teacher), student, teacher, strict=True):
        np.testing.assert_allclose(new, alpha * t + (1 - alpha) * s, rtol=0, atol=1e-15)
    assert any((new != old).any() for new, old in zip(weights(model.student), student, strict=True))


def ancestors(tensor):
    """Operations that a tensor waits for."""
    found, waiting = set(), [tensor.op]
    while waiting:
        operation = waiting.pop()
        if operation not in found:
            found.add(operation)
            waiting += [x.op for x in operation.inputs] + list(operation.control_inputs)
    return found


@pytest.mark.parametrize("options", [{}, {"method": "cutmix_mean_teacher"}], ids=["c3", "rival"])
def test_the_student_runs_after_the_teacher_and_not_beside_it(monkeypatch, options):
    model = prepared(small(**options))
    seen, of_trainer = {}, model.run

    def run(network, images):
        seen[network.name] = images, of_trainer(network, images)
        return seen[network.name][1]

    monkeypatch.setattr(model, "run", run)
    batch = tiny_segmenter.tensors(tiny_segmenter.semi_batch(model.config))
    tf.function(model.train_step, autograph=False).get_concrete_function(batch)
    images, _ = seen["student"]
    _, outputs = seen["teacher"]
    assert outputs["logits"].op in ancestors(images)


def test_thresholds_follow_eq_6():
    settings = small()
    model = prepared(settings)
    batch = tiny_segmenter.semi_batch(settings)
    expected = np.full(NUM_CLASSES, settings.method.dcrs_start)
    for _ in range(2):
        step(model, batch)
        logits = reference_step.full_size_logits(model.teacher, batch.u_w)
        expected = references.update_thresholds(
            expected, references.softmax(logits), batch.u_valid, ratio=0.8, decay=0.9
        )
        np.testing.assert_allclose(model.thresholds, expected, rtol=0, atol=1e-4)
    assert np.abs(model.thresholds.numpy() - settings.method.dcrs_start).max() > 1e-3


def test_lambda1_ramps_from_the_end_of_the_supervised_phase():
    settings = small(consistency_weight=50.0, consistency_ramp_steps=2)
    model = prepared(settings)
    batch = tiny_segmenter.semi_batch(settings)
    seen = [step(model, batch)["lambda1"] for _ in range(4)]
    expected = [50 * references.sigmoid_ramp(t, 2) for t in range(4)]
    np.testing.assert_allclose(seen, expected, rtol=1e-12)
    assert int(model.optimizer.iterations) == settings.first_semi_step + 4


def test_supervised_phase_trains_the_segmentation_alone():
    settings = small()
    model = tiny_segmenter.segmenter(settings)
    before, teacher = weights(model.student), weights(model.teacher)
    batch = tiny_segmenter.semi_batch(settings)
    expected, _ = references.supervised_loss(
        batch.y, reference_step.full_size_logits(model.student, batch.x)
    )
    logs = model.train_step(tiny_segmenter.labeled(batch))
    assert float(logs["loss"]) == pytest.approx(expected, rel=1e-12)
    assert float(logs["supervised"]) == float(logs["loss"])
    for variable, old in zip(model.student.weights, before, strict=True):
        fixed = "projection" in variable.path or "norm" in variable.path
        assert (variable.numpy() == old).all() == fixed, variable.path
    for new, old in zip(weights(model.teacher), teacher, strict=True):
        np.testing.assert_array_equal(new, old)
    # Keras reads the constant of an initializer as float32.
    np.testing.assert_array_equal(model.thresholds, np.float32(settings.method.dcrs_start))


@pytest.mark.parametrize("method", ["c3", "classmix"])
def test_class_weights_are_of_the_supervised_loss_alone(method):
    settings = small() if method == "c3" else small(method=method)
    batch = tiny_segmenter.semi_batch(settings)
    plain, model = prepared(settings), prepared(settings)
    model.class_weights = np.array([2.0, 0.0, 0.5, 1.0, 3.0])
    before, logs = step(plain, batch), step(model, batch)
    targets = references.one_hot(batch.y, NUM_CLASSES) * model.class_weights
    student = tiny_segmenter.network("student", seed=1)
    if method == "c3":
        order = batch.mix_order.reshape(-1, 4), batch.mix_boxes.reshape(-1, 2, 4)
        mixed = references.mix_groups(batch.x, batch.u_s, *order)
        source = references.sources(*order, batch.y.shape[1], batch.y.shape[2])
        logits = references.take_apart(reference_step.full_size_logits(student, mixed), source)
        logits = logits[: len(batch.x)]
    else:
        logits = reference_step.full_size_logits(student, batch.x)
    expected, _ = references.masked_cross_entropy(
        targets, logits, batch.y != IGNORE, settings.averaging
    )
    assert logs["supervised"] == pytest.approx(expected, rel=1e-9)
    assert logs["supervised"] != pytest.approx(before["supervised"], rel=1e-3)
    for name in before.keys() - {"loss", "supervised"}:
        assert logs[name] == before[name], name
    change = logs["supervised"] - before["supervised"]
    assert logs["loss"] - before["loss"] == pytest.approx(change, rel=1e-9)


@pytest.mark.parametrize("aligned", [False, True])
def test_supervised_phase_with_the_authors_contrast(aligned):
    settings = small(
        labeled_keys="student",
        contrast_from_start=True,
        contrast_ramp_steps=4,
        contrast_weight=0.7,
        contrast_exclude_self=True,
        align_corners=aligned,
    )
    model = tiny_segmenter.segmenter(settings)
    batches = [tiny_segmenter.semi_batch(settings, seed) for seed in range(2)]
    before = {v.path: v.numpy() for v in model.student.trainable_variables}
    for done, batch in enumerate(batches):
        expected = reference_step.supervised_loss(model.student, batch, settings)
        lambda2 = 0.7 * references.sigmoid_ramp(done, 4)
        expected["loss"] = expected["supervised"] + lambda2 * expected["contrast"]
        logs = model.train_step(tiny_segmenter.labeled(batch))
        counts = logs.pop(statistics.NAME)
        assert float(tf.reduce_sum(counts[statistics.ANCHORS])) == expected["anchors"]
        assert logs.keys() == expected.keys()
        for name, value in expected.items():
            assert float(logs[name]) == pytest.approx(value, rel=1e-9), name
        assert 0 < expected["hard_anchors"] < expected["anchors"]
    # The projection head is trained from the first step on.
    for variable in model.student.trainable_variables:
        assert (variable.numpy() != before[variable.path]).any(), variable.path


def test_phases_through_fit():
    """The compiled steps: the switch between them, and the same losses as eagerly."""
    settings = small(supervised_steps=1)
    batches = [tiny_segmenter.semi_batch(settings, seed) for seed in range(2)]
    model = tiny_segmenter.segmenter(settings)
    model.fit(tiny_segmenter.dataset(batches[:1], supervised=True), verbose=0, shuffle=False)
    student = weights(model.student)
    model.begin_semi_supervised(copy_student=True)
    for new, old in zip(weights(model.teacher), student, strict=True):
        np.testing.assert_array_equal(new, old)
    history = model.fit(tiny_segmenter.dataset(batches), verbose=0, shuffle=False).history
    assert int(model.optimizer.iterations) == 3

    eager = tiny_segmenter.segmenter(settings)
    eager.train_step(tiny_segmenter.labeled(batches[0]))
    eager.begin_semi_supervised(copy_student=True)
    logs = [step(eager, batch) for batch in batches]
    # Keras keeps the scalars of an epoch's last step.
    assert {name: history[name][-1] for name in logs[-1]} == pytest.approx(logs[-1], rel=1e-9)
    for one, other in zip(weights(model.teacher), weights(eager.teacher), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-12)


def test_the_baseline_has_no_teacher():
    settings = small(method="supervised")
    model = tiny_segmenter.segmenter(settings)
    batch = tiny_segmenter.semi_batch(settings)
    logs = model.train_step(tiny_segmenter.labeled(batch))
    expected, _ = references.supervised_loss(
        batch.y,
        reference_step.full_size_logits(tiny_segmenter.network("student", 1), batch.x),
    )
    assert float(logs["loss"]) == pytest.approx(expected, rel=1e-12)
    assert model.teacher is None


def test_nothing_labeled_and_nothing_confident_changes_no_weight():
    settings = small(dcrs_start=1.0, dcrs_decay=0.999)
    model = prepared(settings)
    before = weights(model.student)
    batch = tiny_segmenter.semi_batch(settings)
    logs = step(model, batch._replace(y=np.full_like(batch.y, IGNORE)))
    assert {logs[name] for name in ("loss", "supervised", "consistency", "contrast")} == {0.0}
    assert logs["confident"] == logs["anchors"] == 0
    for new, old in zip(weights(model.student), before, strict=True):
        np.testing.assert_array_equal(new, old)


def _labels(batch, rows, values):
    y = batch.y.copy()
    y[rows] = values
    return batch._replace(y=y)


EDGES = {
    "no labeled pixel in a mix": lambda b: _labels(b, slice(0, 2), IGNORE),
    "no labeled pixel in an image": lambda b: _labels(b, 1, IGNORE),
    "one class only": lambda b: _labels(b, slice(None), 3),
    "class 0 only": lambda b: _labels(b, slice(None), 0),
    "a class in one image only": lambda b: _labels(_labels(b, slice(None), 1), 2, 4),
    "no pixel of one unlabeled image": lambda b: b._replace(
        u_valid=b.u_valid & (np.arange(len(b.u_valid)) != 1)[:, None, None]
    ),
    "one labeled pixel": lambda b: _labels(_labels(b, slice(None), IGNORE), (0, 12, 12), 2),
}


@pytest.mark.parametrize("authors", [False, True])
@pytest.mark.parametrize("change", EDGES.values(), ids=EDGES)
def test_step_is_eq_7_at_the_edges(change, authors):
    options = {"loss_averaging": "group", "labeled_keys": "student", "contrast_exclude_self": True}
    settings = tiny_segmenter.config(**options if authors else {})
    model = prepared(settings)
    student = tiny_segmenter.network("student", seed=1)
    batch = change(tiny_segmenter.semi_batch(settings))
    logs = step(model, batch)
    expected = reference_step.total_loss(
        student, model.teacher, model.thresholds.numpy(), batch, settings, phase_step=0
    )
    for name, value in expected.items():
        assert logs[name] == pytest.approx(value, rel=1e-9), name


def test_padding_only_is_finite():
    settings = small()
    batch = tiny_segmenter.semi_batch(settings)
    logs = step(prepared(settings), batch._replace(u_valid=np.zeros_like(batch.u_valid)))
    assert logs["consistency"] == logs["confident"] == 0
    assert all(np.isfinite(value) for value in logs.values())


def test_one_device_has_all_keys_anyway():
    settings = small(gather_contrast_keys=False)
    logs = step(prepared(settings, 5), tiny_segmenter.semi_batch(settings))
    assert logs["loss"] == loss_of_the_paper()


def test_draws_come_from_the_batch_alone():
    settings = small(contrast_samples=2)
    batch = tiny_segmenter.semi_batch(settings)
    first, again = (step(prepared(settings), batch) for _ in range(2))
    assert first == again
    other = step(prepared(settings), batch._replace(seed=batch.seed + 1))
    assert other["contrast"] != first["contrast"]
    assert other["supervised"] == first["supervised"]


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="paper"),
        pytest.param(VARIANTS["authors"], id="authors", marks=pytest.mark.slow),
    ],
)
def test_losses_stay_in_float32_under_half_precision(policy, options):
    settings = small(**options)
    batch = tiny_segmenter.semi_batch(settings)
    with tiny_segmenter.precision("float32"):
        reference = step(prepared(settings), batch)
    with tiny_segmenter.precision(policy):
        model = prepared(settings)
        assert model.student(batch.x)["logits"].dtype.name == policy.removeprefix("mixed_")
        supervised, _ = model.supervised_step(tiny_segmenter.labeled(batch))
        model.optimizer.iterations.assign(settings.first_semi_step)
        teacher_u = model.teacher_outputs(tiny_segmenter.tensors(batch))[1]
        pseudo = model.pseudo_labels(teacher_u["logits"], tf.constant(batch.u_valid))
        assert pseudo.probabilities.dtype == tf.float32
        np.testing.assert_allclose(tf.reduce_sum(pseudo.probabilities, axis=2), 1, atol=1e-6)
        model = prepared(settings)
        logs = model.train_step(tiny_segmenter.tensors(batch))
        logs.pop(statistics.NAME)
    assert {value.dtype for value in [*supervised.values(), *logs.values()]} == {tf.float32}
    assert all(np.isfinite(value) for value in [*supervised.values(), *logs.values()])
    assert model.thresholds.dtype == "float32"
    for name in ("supervised", "consistency"):
        assert float(logs[name]) == pytest.approx(reference[name], rel=0.05)
    assert all(np.isfinite(weight).all() for weight in weights(model.student))
