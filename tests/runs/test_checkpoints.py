"""Checkpoints: what is saved comes back bit for bit, and nothing else is taken for one."""

import hashlib
import json
import os
import pickle
import shutil
import zipfile

import numpy as np
import pytest
import tensorflow as tf

import memory_peak
import tiny_segmenter
from c3tf.errors import StorageError
from c3tf.labels import LabelMap
from c3tf.runs import checkpoint_file, checkpoints
from c3tf.runs.checkpoints import CheckpointError, CheckpointStore
from c3tf.runs.nonfinite import NonFiniteError

LABEL_MAP = LabelMap("five", tuple("abcde"), tuple((i, i, i) for i in range(5)), tuple(range(5)))
SETTINGS = tiny_segmenter.config(global_batch_size=4, supervised_steps=0)


def batch(step):
    return tiny_segmenter.tensors(tiny_segmenter.semi_batch(SETTINGS, step))


def facts_of(model):
    return {
        "config": SETTINGS.to_dict(),
        "label_map": LABEL_MAP.to_json(),
        "network": model.student.to_json(),
        "has_teacher": model.semi_supervised,
        "best": 0.25,
    }


def started(steps=0):
    """A segmenter in its semi-supervised phase after some steps."""
    model = tiny_segmenter.segmenter(SETTINGS)
    model.begin_semi_supervised(copy_student=False)
    for step in range(steps):
        model.train_step(batch(step))
    return model


def values(model):
    """Every number that training changes, by place, without the module's own naming."""
    variables = [
        *model.student.weights,
        *model.teacher.weights,
        model.thresholds,
        *model.optimizer.variables,
    ]
    return [tf.convert_to_tensor(variable).numpy() for variable in variables]


def assert_equal(first, second):
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)


@pytest.fixture(scope="module")
def trained():
    return started(steps=3)


@pytest.fixture
def saved(trained, tmp_path):
    """A store with one checkpoint, and its path."""
    store = CheckpointStore(str(tmp_path), keep=2)
    return store, store.save(trained, facts_of(trained))


def fill(store, *steps):
    """Puts files of the names of checkpoints into a store."""
    os.makedirs(store.folder, exist_ok=True)
    for step in steps:
        with open(store.path(step), "w", encoding="utf-8") as file:
            file.write(str(step))


def contents(path):
    with open(path, "rb") as file:
        return file.read()


def rewrite(path, change):
    """Changes the arrays of a checkpoint."""
    with np.load(path) as archive:
        arrays = dict(archive)
    change(arrays)
    np.savez(path, **arrays)


@pytest.mark.smoke
def test_restored_training_continues_bit_for_bit(trained, saved):
    store, path = saved
    model = started()
    assert not np.array_equal(values(model)[0], values(trained)[0])
    facts = store.restore(model)
    assert os.path.basename(path) == "step-00000003.npz"
    assert facts == {**facts_of(trained), "step": 3}
    assert int(model.optimizer.iterations) == 3
    moments = [v for v in model.optimizer.variables if "momentum" in v.path or "velocity" in v.path]
    assert len(moments) == 2 * len(model.student.trainable_variables)
    assert all(np.any(moment.numpy() != 0) for moment in moments)
    assert_equal(values(model), values(trained))
    undisturbed = started(steps=4)
    model.train_step(batch(3))
    assert_equal(values(model), values(undisturbed))


def test_a_run_without_a_teacher_comes_back_too(tmp_path):
    settings = tiny_segmenter.config(global_batch_size=4, method="supervised")
    labeled = next(
        iter(tiny_segmenter.dataset([tiny_segmenter.semi_batch(settings)], supervised=True))
    )
    model, again = (tiny_segmenter.segmenter(settings) for _ in range(2))
    model.train_step(labeled)
    store = CheckpointStore(str(tmp_path), keep=1)
    store.save(model, facts_of(model))
    assert store.restore(again)["has_teacher"] is False
    for one, other in zip(again.student.weights, model.student.weights, strict=True):
        np.testing.assert_array_equal(one, other)
    loaded = checkpoints.load_network(str(tmp_path))
    assert loaded.thresholds is None
    with pytest.raises(CheckpointError, match=r"holds no teacher: .*Use the student"):
        checkpoints.load_network(str(tmp_path), "teacher")


@pytest.mark.parametrize(
    ("method", "steps", "restored"),
    # Of the supervised phase and of a rival no step has moved them: they are the new options'.
    [("c3", 0, 0.25), ("classmix", 1, 0.25), ("c3", 1, None)],
)
def test_thresholds_that_were_moved_come_back_and_others_are_those_asked_for(
    tmp_path, method, steps, restored
):
    option = {"c3": "dcrs_start", "classmix": "classmix_threshold"}[method]
    settings = [
        tiny_segmenter.config(method=method, mix_group=2, **{option: value})
        for value in (0.9, 0.25)
    ]
    model, again = map(tiny_segmenter.segmenter, settings)
    if steps:
        model.begin_semi_supervised(copy_student=False)
        model.train_step(tiny_segmenter.tensors(tiny_segmenter.semi_batch(settings[0])))
    store = CheckpointStore(str(tmp_path), keep=1)
    store.save(model, facts_of(model))
    store.restore(again)
    expected = model.thresholds.numpy() if restored is None else np.full(5, restored, "float32")
    np.testing.assert_array_equal(again.thresholds.numpy(), expected)


@pytest.mark.parametrize(
    ("old", "new"), [('"epsilon": 0.001', '"epsilon": 0.01'), ('"scale": ', '"scale": 2')]
)
def test_weights_do_not_go_to_a_network_of_another_scaling(trained, tmp_path, old, new):
    """Other `--backbone_weights` bring constants with them, and all shapes fit."""
    store, facts = CheckpointStore(str(tmp_path), keep=1), facts_of(trained)
    assert old in facts["network"]
    store.save(trained, {**facts, "network": facts["network"].replace(old, new, 1)})
    model = started()
    before = values(model)
    with pytest.raises(CheckpointError, match=r"scales its input, .*`--backbone_weights`"):
        store.restore(model)
    assert_equal(values(model), before)


def test_a_new_run_has_nothing_to_restore(tmp_path):
    model = started()
    before = values(model)
    store = CheckpointStore(str(tmp_path), keep=2)
    assert store.steps() == []
    assert store.restore(model) is None
    assert_equal(values(model), before)


def test_the_newest_are_kept_and_what_is_no_checkpoint_is_left_alone(trained, tmp_path):
    store = CheckpointStore(str(tmp_path), keep=2)
    fill(store, 0, 1, 2)
    strange = [".step-00000007.npz.partial-1", "step-7.npz", "step-00000009.npz.bak", "notes.txt"]
    for name in strange:
        with open(os.path.join(store.folder, name), "w", encoding="utf-8") as file:
            file.write("x")
    store.save(trained, facts_of(trained))
    assert store.steps() == [2, 3]
    assert set(strange) <= set(os.listdir(store.folder))
    assert len(os.listdir(store.folder)) == 2 + len(strange)
    assert store.restore(started())["step"] == 3
    assert checkpoints.find(str(tmp_path)) == store.path(3)


def test_the_best_outlives_the_newest(trained, tmp_path):
    store = CheckpointStore(str(tmp_path), keep=1)
    fill(store, 1)
    store.mark_best(store.path(1))
    best = os.path.join(store.folder, "best.npz")
    store.save(trained, facts_of(trained))
    assert store.steps() == [3]
    with open(best, encoding="utf-8") as file:
        assert file.read() == "1"
    store.mark_best(store.path(3))
    assert checkpoints.read(best)[0]["step"] == 3
    assert checkpoints.load_network(best).step == 3
    assert sorted(os.listdir(store.folder)) == ["best.npz", "step-00000003.npz"]


def test_a_write_that_fails_leaves_the_checkpoints_before_it(saved, monkeypatch):
    store, path = saved
    before = contents(path)

    def full(file, **arrays):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint_file.np, "savez", full)
    model = started(steps=1)
    with pytest.raises(
        StorageError,
        match=r"Cannot write .*step-00000001\.npz: No space left.*up to step 3 are whole.*same",
    ) as caught:
        store.save(model, facts_of(model))
    assert caught.value.exit_code == 74
    monkeypatch.undo()
    assert os.listdir(store.folder) == ["step-00000003.npz"]
    assert contents(path) == before
    assert store.restore(started())["step"] == 3


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "text", "array", "foreign", "facts"])
def test_a_damaged_or_foreign_file_is_named(saved, damage):
    store, path = saved
    data = bytearray(contents(path))
    if damage == "cut":
        data = data[: len(data) // 2]
    elif damage == "empty":
        data = b""
    elif damage == "flipped":
        data[len(data) // 2] ^= 1
    elif damage == "text":
        data = b"<html>404</html>"
    with open(path, "wb") as file:
        file.write(data)
        if damage == "array":
            file.truncate(0)
            file.seek(0)
            np.save(file, np.zeros(3))
    if damage == "foreign":
        np.savez(path, weights=np.zeros(3))
    elif damage == "facts":
        np.savez(path, facts=np.array(json.dumps(["not", "ours"])))
    model = started()
    before = values(model)
    for use in (lambda: store.restore(model), lambda: checkpoints.load_network(path)):
        with pytest.raises(
            CheckpointError, match=r"step-00000003\.npz is damaged or no checkpoint"
        ):
            use()
    assert_equal(values(model), before)


def test_pickled_content_is_refused_and_never_run(saved, tmp_path):
    _, path = saved
    ran = tmp_path / "ran"

    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(ran),)

    rewrite(path, lambda arrays: arrays.update(evil=np.array([Attack()], dtype=object)))
    with pytest.raises(CheckpointError, match="is damaged or no checkpoint"):
        checkpoints.read(path)
    with open(path, "wb") as file:
        pickle.dump(Attack(), file)
    with pytest.raises(CheckpointError, match="is damaged or no checkpoint"):
        checkpoints.load_network(path)
    assert not ran.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("student/backbone_stem/kernel"), "it lacks student/backbone_stem/kernel"),
        (
            lambda a: a.update({"teacher/classifier/bias": np.zeros(7)}),
            r"teacher/classifier/bias has shape \(7,\), expected \(5,\)",
        ),
        (
            lambda a: a.update({"student/third_head/bias": np.zeros(2)}),
            "it holds student/third_head/bias, which is not expected",
        ),
        (lambda a: a.pop("thresholds"), "it lacks thresholds"),
    ],
)
def test_another_architecture_is_refused_by_its_first_difference(saved, change, message):
    store, path = saved
    rewrite(path, change)
    model = started()
    before = values(model)
    with pytest.raises(CheckpointError, match=rf"step-00000003\.npz does not fit: {message}"):
        store.restore(model)
    assert_equal(values(model), before)


def test_load_network_gives_the_live_networks_outputs(trained, saved, tmp_path):
    _, path = saved
    images = np.random.default_rng(0).uniform(0, 255, (2, 40, 72, 3)).astype(np.float32)
    outputs = {}
    for weights, live in (("student", trained.student), ("teacher", trained.teacher)):
        loaded = checkpoints.load_network(str(tmp_path), weights)
        assert (loaded.step, loaded.label_map) == (3, LABEL_MAP)
        assert loaded.config == SETTINGS.to_dict()
        np.testing.assert_array_equal(loaded.thresholds, trained.thresholds.numpy())
        expected, found = live(images, training=False), loaded.model(images, training=False)
        assert set(found) == {"logits", "embedding"}
        for name, output in found.items():
            np.testing.assert_array_equal(output, expected[name])
        outputs[weights] = found["logits"].numpy()
    assert not np.array_equal(outputs["student"], outputs["teacher"])
    elsewhere = shutil.copy(path, tmp_path / "renamed.npz")
    assert checkpoints.load_network(elsewhere).step == 3


def test_load_network_refuses_weights_that_do_not_fit_their_description(saved):
    _, path = saved
    rewrite(path, lambda arrays: arrays.pop("teacher/projection/bias"))
    checkpoints.load_network(path, "student")
    with pytest.raises(CheckpointError, match="it lacks teacher/projection/bias"):
        checkpoints.load_network(path, "teacher")


def test_a_network_of_foreign_layers_is_refused_and_not_built(saved):
    _, path = saved
    facts = checkpoints.read(path).facts
    hostile = facts["network"].replace('"Conv2D"', '"TFSMLayer"', 1)
    assert hostile != facts["network"]
    text = json.dumps({**facts, "network": hostile})
    rewrite(path, lambda arrays: arrays.update(facts=np.array(text)))
    with pytest.raises(CheckpointError, match=r"step-00000003\.npz: .* holds .*'TFSMLayer'"):
        checkpoints.load_network(path)


def test_a_compressed_checkpoint_is_refused_before_it_is_unpacked(saved):
    """8 GB of zeros have 8 MB when they are compressed."""
    _, path = saved
    np.savez_compressed(path, facts=np.array("{}"), zeros=np.zeros(1 << 24))
    with (
        memory_peak.below(16 << 20),
        pytest.raises(CheckpointError, match=r"npz is damaged or no checkpoint: .*not compressed"),
    ):
        checkpoints.read(path)


def test_load_network_names_what_is_missing(saved, tmp_path):
    with pytest.raises(CheckpointError, match=r"No checkpoint at .*absent.*run directory"):
        checkpoints.load_network(str(tmp_path / "absent"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError, match="No checkpoint at"):
        checkpoints.find(str(tmp_path / "empty"))
    with pytest.raises(CheckpointError, match="There is no checkpoint"):
        checkpoints.read(str(tmp_path / "absent.npz"))
    with pytest.raises(CheckpointError, match=r"`weights` must be .* Received: weights='best'"):
        checkpoints.load_network(str(tmp_path), "best")


def test_a_damaged_newest_checkpoint_is_passed_over(saved, trained):
    store, path = saved
    newest = store.path(4)
    shutil.copyfile(path, newest)
    with open(newest, "r+b") as file:
        file.truncate(1000)
    again = started()
    assert store.restore(again)["step"] == 3
    assert_equal(values(again), values(trained))


def test_every_byte_is_covered_by_the_checksum(saved):
    _, path = saved
    data = contents(path)
    rng = np.random.default_rng(0)
    # Among them places that NumPy and zipfile do not look at.
    for place in [0, 10, len(data) - 1, len(data) - 80, *rng.integers(0, len(data), 60)]:
        broken = bytearray(data)
        broken[place] ^= 1 << int(rng.integers(8))
        with open(path, "wb") as file:
            file.write(broken)
        with pytest.raises(CheckpointError, match="is damaged or no checkpoint"):
            checkpoints.read(path)
    for cut in (data + b"x", data[:-1], data[:-71], data[1:]):
        with open(path, "wb") as file:
            file.write(cut)
        with pytest.raises(CheckpointError, match="is damaged or no checkpoint"):
            checkpoints.read(path)


def test_the_checksum_is_that_of_the_plain_archive(saved, tmp_path):
    _, path = saved
    with zipfile.ZipFile(path) as archive:
        comment = archive.comment
    plain = contents(path)[: -len(comment) - 2] + bytes(2)
    assert comment.decode() == "sha256:" + hashlib.sha256(plain).hexdigest()
    (tmp_path / "plain.npz").write_bytes(plain)
    with np.load(tmp_path / "plain.npz") as one, np.load(path) as other:
        assert set(one.files) == set(other.files)
    # What names the network elsewhere is that of the file as it lies there.
    for file in (path, tmp_path / "plain.npz"):
        whole = hashlib.sha256(contents(file)).hexdigest()
        assert checkpoints.load_network(str(file)).sha256 == whole


def test_a_file_of_before_there_were_checksums_is_read_with_a_warning(saved, caplog):
    _, path = saved
    rewrite(path, lambda arrays: None)
    assert checkpoints.read(path)[0]["step"] == 3
    assert "has no checksum" in caplog.text


@pytest.mark.parametrize("damage", ["cut", "empty", "flipped", "foreign"])
def test_the_newest_whole_one_of_a_run_is_used_everywhere(saved, trained, damage, caplog):
    store, path = saved
    data = bytearray(contents(path))
    data[len(data) // 3] ^= 16
    harm = {"cut": data[:5000], "empty": b"", "flipped": data, "foreign": b"GIF89a"}
    with open(store.path(9), "wb") as file:
        file.write(harm[damage])
    model = started()
    assert store.restore(model)["step"] == 3
    assert_equal(values(model), values(trained))
    assert "step-00000009.npz is damaged" in caplog.text
    assert "The checkpoint before it is tried" in caplog.text
    assert checkpoints.load_network(os.path.dirname(store.folder)).step == 3


def test_a_damaged_one_does_not_push_out_a_whole_one(trained, tmp_path):
    store = CheckpointStore(str(tmp_path), keep=1)
    fill(store, 2, 7)
    store.save(trained, facts_of(trained))
    assert store.steps() == [3]


def test_weights_that_are_not_finite_are_never_saved(saved):
    store, path = saved
    model = started(steps=1)
    bias = next(v for v in model.student.weights if "classifier/bias" in v.path)
    bias.assign(np.full(bias.shape, np.nan))
    with pytest.raises(NonFiniteError, match=r"After step 1 student/classifier/bias is not"):
        store.save(model, facts_of(model))
    assert os.listdir(store.folder) == [os.path.basename(path)]
