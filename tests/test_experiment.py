"""The front door: what a notebook or a program imports."""

import dataclasses
import shutil
import subprocess
import sys

import keras
import numpy as np
import pytest

import c3tf
import tiny_command
from c3tf.config import ConfigError
from c3tf.data import manifest
from c3tf.errors import UserError
from c3tf.evaluation.options import EvaluationOptions
from c3tf.evaluation.split import evaluate_split
from c3tf.inference import networks
from c3tf.inference.model import InferenceModel
from c3tf.models import open_model
from c3tf.runs import run_dir
from c3tf.training import builder

DOOR = """
import sys
import c3tf
import c3tf.train
assert c3tf.train.main
assert set(dir(c3tf)) == set(c3tf.__all__)
print(c3tf.__version__, "tensorflow" in sys.modules, c3tf.Config().training.steps)
assert "tensorflow" not in sys.modules
"""


class Scalars(keras.callbacks.Callback):
    """Records the scalars of every interval."""

    def __init__(self):
        super().__init__()
        self.losses, self.scores, self.ended = {}, [], False

    def on_epoch_end(self, epoch, logs=None):
        assert all(isinstance(value, float) for value in logs.values())
        self.losses[epoch] = logs["loss"]

    def on_test_end(self, logs=None):
        self.scores.append(logs)

    def on_train_end(self, logs=None):
        self.ended = True


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("door") / "data"
    tiny_command.write_data(folder)
    return folder


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """A trained experiment with its result and what a callback was told."""
    output = tmp_path_factory.mktemp("trained") / "run"
    options = tiny_command.options(data, output, steps=8, evaluate_every=8, baseline=True)
    experiment = c3tf.Experiment(c3tf.Config().with_options(**options))
    seen = Scalars()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "build_model", tiny_command.build_model)
        return experiment, experiment.train(callbacks=[seen]), seen


def test_the_door_opens_without_tensorflow(repository):
    done = subprocess.run(
        [sys.executable, "-c", DOOR], cwd=repository, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"{c3tf.__version__} False 25000\n"


def test_every_name_of_the_door_is_there():
    for name in c3tf.__all__:
        assert getattr(c3tf, name).__doc__ or name == "__version__"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = c3tf.nothing
    network = c3tf.build_network("resnet50", 5, backbone_weights="random")
    assert network.output["logits"].shape[-1] == 5


def test_flag_files_and_options(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = c3tf.Experiment.from_flags("configs/demo.flags", steps=200, scales=(0.5, 1)).config
    assert (config.training.steps, config.augment.scales) == (200, (0.5, 1.0))
    assert config.network.backbone == "efficientnet_lite0"
    own = tmp_path / "own.flags"
    own.write_text("--flagfile=configs/demo.flags\n--noflip\n")
    config = c3tf.Experiment.from_flags(own, baseline=False).config
    assert (config.augment.flip, config.training.baseline) == (False, False)
    assert c3tf.Experiment.from_flags(own, scales=np.array([0.5, 1.0])).config.augment.scales == (
        0.5,
        1.0,
    )
    home = str(tmp_path / "home")
    monkeypatch.setenv("HOME", home)
    own.write_text("--data=~/data\n")
    config = c3tf.Experiment.from_flags("~/../own.flags", output="~/run").config
    assert (config.data.data, config.training.output) == (f"{home}/data", f"{home}/run")
    own.write_text("--flagfile=configs/demo.flags\n--noflip\n")
    # None is the default, also of what a file says.
    config = c3tf.Experiment.from_flags("configs/demo.flags", output=None, labeled_list=None).config
    assert (config.training.output, config.data.labeled_list) == ("", "")
    # The two of one process do not share flags.
    assert c3tf.Experiment.from_flags().config == c3tf.Config()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"stepz": 3}, "stepz"),
        ({"steps": 0}, "`--steps` must be at least 1"),
        ({"backbone_rate": 0.1}, "`--backbone_rate` is called `--backbone_lr_multiplier` now"),
        ({"steps": "many"}, "many"),
    ],
)
def test_wrong_options_are_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        c3tf.Experiment.from_flags(**options)


def test_preview_is_a_picture_of_so_many_rows(data, tmp_path):
    options = tiny_command.options(data, tmp_path)
    experiment = c3tf.Experiment(c3tf.Config().with_options(**options))
    one, two = experiment.preview(rows=1), experiment.preview(rows=2)
    assert one.mode == "RGB"
    assert one.width == two.width
    assert one.height < two.height
    with pytest.raises(UserError, match="`--rows` must be at least 1"):
        experiment.preview(rows=0)
    with pytest.raises(UserError, match="`--at_step` must be 0 to 19"):
        experiment.preview(at_step=20)
    with pytest.raises(UserError, match=r"`--rows` must be a whole number\. Received: '2'"):
        experiment.preview(rows="2")


def test_classmix_is_drawn_by_the_classes_of_its_networks_or_of_a_model(
    data, tmp_path, monkeypatch
):
    monkeypatch.setattr(builder, "build_model", tiny_command.build_model)
    options = tiny_command.options(data, tmp_path, method="classmix", mix_group=2)
    experiment = c3tf.Experiment(c3tf.Config().with_options(**options))
    seen = []

    def draw(batches, *facts):
        images = next(iter(batches)).u_w
        seen.append(facts[-1](images).numpy())

    monkeypatch.setattr("c3tf.training.preview.draw", draw)
    experiment.preview()
    network = tiny_command.build_model(experiment.config, tiny_command.LABEL_MAP).teacher
    assert len(np.unique(seen[0])) > 1

    def opened(path, names=tiny_command.LABEL_MAP.class_names):
        label_map = dataclasses.replace(tiny_command.LABEL_MAP, class_names=names)
        return InferenceModel(networks.predictor(network), None, label_map, {"model": path})

    monkeypatch.setattr("c3tf.models.open_model", opened)
    experiment.preview(model="run")
    np.testing.assert_array_equal(*seen)
    monkeypatch.setattr("c3tf.models.open_model", lambda path: opened(path, tuple("abcde")))
    with pytest.raises(UserError, match="`--model` must have the classes of --data"):
        experiment.preview(model="run")
    other = c3tf.Experiment(c3tf.Config().with_options(**tiny_command.options(data, tmp_path)))
    with pytest.raises(UserError, match="`--model` must go with --method=classmix, which mixes"):
        other.preview(model="run")


def test_training_returns_results_and_tells_callbacks(trained):
    experiment, result, seen = trained
    assert list(result.results) == ["supervised", "c3"]
    assert result.own is result.results["c3"]
    assert "mIoU: supervised baseline" in result.table()
    assert result.outputs["c3"] == experiment.output
    # Every fourth step, and every checkpoint.
    assert list(seen.losses) == [2, 4, 6, 8]
    (scores,) = seen.scores
    assert scores["mean_iou_student"] == result.own.student.mean_iou()
    assert seen.ended


def test_a_finished_experiment_gives_its_results_again(trained):
    experiment, result, _ = trained
    again = experiment.train()
    assert list(again.finished) == ["supervised", "c3"]
    assert again.table() == result.table()


def test_evaluation_is_that_of_the_run_and_of_the_command(trained, data):
    experiment, result, _ = trained
    student = experiment.evaluate()
    np.testing.assert_array_equal(student.confusion, result.own.student.confusion)
    teacher = experiment.evaluate(weights="teacher", options=EvaluationOptions(batch_size=1))
    np.testing.assert_array_equal(teacher.confusion, result.own.teacher.confusion)
    command = evaluate_split(lambda: open_model(experiment.output, "teacher"), str(data))
    np.testing.assert_array_equal(teacher.confusion, command.confusion)


def test_every_kind_of_model_predicts_arrays(trained, tmp_path):
    experiment, result, _ = trained
    exported = experiment.export(tmp_path / "exported", weights="student")
    images = np.random.default_rng(0).integers(0, 256, (2, 33, 50, 3), np.uint8)
    run = c3tf.load(experiment.output, "student")
    height = manifest.load(experiment.config.data.data).image_height()
    assert height == tiny_command.SIZE[0]
    class_maps = run.predict(images)
    assert (class_maps.shape, class_maps.dtype) == ((2, 33, 50), np.uint8)
    np.testing.assert_array_equal(run.predict(images[1]), class_maps[1])
    probabilities = run.predict(images, probabilities=True)
    assert probabilities.shape == (2, 33, 50, run.label_map.num_classes)
    np.testing.assert_allclose(probabilities.sum(-1), 1, atol=1e-5)
    np.testing.assert_array_equal(probabilities.argmax(-1), class_maps)
    for other in (exported, result.own.saved_model):
        opened = c3tf.load(other)
        assert opened.image_height == run.image_height == height
        found = opened.predict(images)
        # Batch norm is folded, so rounding may differ.
        assert np.mean(found == class_maps) > 0.99
    flipped = run.predict(images, options=c3tf.InferenceOptions(tta_flip=True))
    mirrored = run.predict(images[:, :, ::-1], options=c3tf.InferenceOptions(tta_flip=True))
    assert np.mean(flipped == mirrored[:, :, ::-1]) > 0.99


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((8, 8, 3), np.float32),
        np.zeros((8, 8), np.uint8),
        np.zeros((8, 8, 4), np.uint8),
        np.zeros((1, 1, 8, 8, 3), np.uint8),
        np.zeros((0, 8, 3), np.uint8),
        np.zeros((0, 8, 8, 3), np.uint8),
    ],
)
def test_what_is_no_image_is_refused(trained, images):
    with pytest.raises(UserError, match="`images` must be RGB, uint8"):
        c3tf.load(trained[0].output).predict(images)


def test_images_of_two_sizes_are_refused(trained):
    images = [np.zeros((8, 8, 3), np.uint8), np.zeros((9, 8, 3), np.uint8)]
    with pytest.raises(UserError, match="`images` must be of one size"):
        c3tf.load(trained[0].output).predict(images)


def test_options_of_another_kind_are_refused(trained, tmp_path):
    experiment = trained[0]
    model = c3tf.load(experiment.output)
    image = np.zeros((8, 8, 3), np.uint8)
    for call in (
        lambda: model.predict(image, options={}),
        lambda: model.evaluate(experiment.config.data.data, options={}),
        lambda: experiment.export(tmp_path / "out", options={}),
    ):
        with pytest.raises(UserError, match=r"`options` must be a c3tf\..*Options. Received: {}"):
            call()
    assert not (tmp_path / "out").exists()


def test_a_model_is_measured_as_it_was_opened_whatever_its_run_writes_since(
    trained, data, tmp_path
):
    run = tmp_path / "run"
    shutil.copytree(trained[0].output, run)
    newest = run / "checkpoints/step-00000008.npz"
    newest.rename(tmp_path / newest.name)
    model = c3tf.load(run)
    assert model.source["step"] < 8
    before = model.evaluate(data)
    (tmp_path / newest.name).rename(newest)
    after = model.evaluate(data)
    np.testing.assert_array_equal(after.confusion, before.confusion)
    assert after.protocol["step"] == before.protocol["step"] == model.source["step"]
    assert c3tf.load(run).source["step"] == 8


def test_what_the_own_run_refuses_is_refused_before_the_baseline_trains(trained, tmp_path):
    config = trained[0].config
    own = config.with_options(output=str(tmp_path), steps=6, allow_changed_flags=True)
    shutil.copytree(trained[0].output, tmp_path / "c3")
    for name in ("results.json", "saved_model"):
        path = tmp_path / "c3" / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "build_model", tiny_command.build_model)
        with pytest.raises(UserError, match="`--steps` must be at least 8"):
            c3tf.Experiment(own).train()
        with (
            run_dir.locked(str(tmp_path / "c3")),
            pytest.raises(UserError, match="Another process trains in"),
        ):
            c3tf.Experiment(own.with_options(steps=8)).train()
    assert not (tmp_path / "supervised").exists()


def test_a_run_of_another_configuration_is_not_taken_for_ones_own(trained, tmp_path):
    config = trained[0].config
    other = c3tf.Experiment(config.with_options(learning_rate=2 * config.training.learning_rate))
    for call in (
        other.load,
        other.evaluate,
        lambda: other.export(tmp_path / "out"),
        lambda: other.suggest(tmp_path, tmp_path / "out"),
    ):
        with pytest.raises(UserError, match=r"holds a run of another config.*--learning_rate"):
            call()
    assert not (tmp_path / "out").exists()
    # What decides no weights may be another.
    c3tf.Experiment(config.with_options(log_every=7)).load()


def test_a_model_says_what_it_is(trained):
    text = repr(c3tf.load(trained[0].output))
    assert trained[0].output in text
    assert trained[1].own.label_map.class_names[-1] in text


def test_what_is_no_configuration_or_callback_is_refused_before_anything_runs(data, tmp_path):
    with pytest.raises(ConfigError, match=r"`config` must be a c3tf\.Config"):
        c3tf.Experiment({"steps": 3})
    options = tiny_command.options(data, tmp_path / "run")
    experiment = c3tf.Experiment(c3tf.Config().with_options(**options))
    with pytest.raises(ConfigError, match="`callbacks` must be Keras callbacks"):
        experiment.train(callbacks=[print])
    with pytest.raises(ConfigError, match="`callbacks` must be Keras callbacks"):
        experiment.train(callbacks=3)
    for callback, instead in (
        (keras.callbacks.EarlyStopping(), "EarlyStopping acts on it.* --steps"),
        ([keras.callbacks.ModelCheckpoint("x.keras")], "ModelCheckpoint .* --checkpoint_every"),
        ([keras.callbacks.TensorBoard()], "TensorBoard .* tensorboard/"),
    ):
        with pytest.raises(ConfigError, match=instead):
            experiment.train(callbacks=callback)
    assert not (tmp_path / "run").exists()
