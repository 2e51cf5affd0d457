"""What TensorBoard events hold, read back from the files."""

import json
import time

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.util import event_pb2

import tiny_command
from c3tf.config import Config
from c3tf.data import pipeline
from c3tf.runs.logging.tensorboard import EventLog
from c3tf.runs.run import Run
from c3tf.training import builder
from c3tf.visualization import drawing


def read(folder):
    """Scalars and pictures by (step, name), and the plugin of every name, by TensorBoard's rules.

    A start says that its run has not got to its step yet, whatever was told before.
    """
    held, plugins = {}, {}
    for file in sorted(folder.glob("events.out.tfevents.*")):
        for index, record in enumerate(tf.data.TFRecordDataset(str(file))):
            event = event_pb2.Event.FromString(record.numpy())
            assert index or event.file_version == "brain.Event:2"
            if event.session_log.status == event_pb2.SessionLog.START:
                held = {key: value for key, value in held.items() if key[0] < event.step}
            for value in event.summary.value:
                if value.metadata.plugin_data.plugin_name:
                    plugins[value.tag] = value.metadata.plugin_data.plugin_name
                held[event.step, value.tag] = tf.make_ndarray(value.tensor)
    return held, plugins


def test_scalars_and_pictures_come_back(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 256, (3, 5, 7, 3), np.uint8)
    log = EventLog(str(tmp_path), 0)
    log(10, {"loss": 1.5, "threshold/road": 0.25})
    log(20, {"loss": 1.25})
    log.pictures(20, {"mixed/image": pictures})
    log(30, {"loss": 1.0})
    log.close()
    held, plugins = read(tmp_path / "tensorboard")
    assert plugins == {"loss": "scalars", "threshold/road": "scalars", "mixed/image": "images"}
    shown = held.pop((20, "mixed/image"))
    assert {key: float(value) for key, value in held.items()} == {
        (10, "loss"): 1.5,
        (10, "threshold/road"): 0.25,
        (20, "loss"): 1.25,
        (30, "loss"): 1.0,
    }
    assert [int(size) for size in shown[:2]] == [7, 5]
    for encoded, picture in zip(shown[2:], pictures, strict=True):
        np.testing.assert_array_equal(tf.io.decode_png(encoded), picture)


@pytest.mark.parametrize("step", [20, 0])
def test_what_a_killed_run_told_beyond_its_checkpoint_is_taken_back(tmp_path, step):
    log = EventLog(str(tmp_path), 0)
    for told in (10, 20, 25, 30):
        log(told, {"loss": float(told)})
    log.close()
    EventLog(str(tmp_path), step).close()
    again = EventLog(str(tmp_path), step)
    again(30, {"loss": 0.5})
    again.close()
    held = {key: float(value) for key, value in read(tmp_path / "tensorboard")[0].items()}
    kept = {(told, "loss"): float(told) for told in (10, 20) if told <= step}
    assert held == {**kept, (30, "loss"): 0.5}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run whose input is slowed down by a known time, its directory and its first batch."""
    root = tmp_path_factory.mktemp("events")
    tiny_command.write_data(root / "data")
    options = {"steps": 6, "supervised_steps": 2, "log_every": 2, "evaluate_every": 6}
    options |= {"image_log_interval": 3, "mix_group": 2}
    words = tiny_command.options(root / "data", root / "run", **options)
    config = Config().with_options(**words)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(builder, "build_model", tiny_command.build_model)
        patch.setattr(pipeline, "semi_supervised_batches", slowed)
        run = Run(config, "c3")
        run.train()
    batch = next(iter(original(run.data, config, 2)))
    return root / "run", run, batch


WAIT = 0.3
original = pipeline.semi_supervised_batches


def slowed(data, config, step, worker):
    def wait(batch):
        tf.numpy_function(lambda: time.sleep(WAIT), [], [])
        return batch

    return original(data, config, step, worker).map(wait)


def test_a_run_writes_the_same_scalars_to_both_files(trained):
    output, _, _ = trained
    held, _ = read(output / "tensorboard")
    lines = [json.loads(line) for line in (output / "metrics.jsonl").open()]
    assert [line["step"] for line in lines] == [2, 4, 6]
    for line in lines:
        step = line.pop("step")
        for name, value in line.items():
            assert held[step, name] == pytest.approx(value, rel=1e-6), name
    scalars = {"loss", "supervised", "consistency", "contrast", "lambda1", "learning_rate"}
    scalars |= {"confident", "agreement", "hard_share", "anchors", "input_wait", "seconds_per_step"}
    per_class = {
        f"{what}/{name}"
        for what in ("threshold", "anchors")
        for name in tiny_command.LABEL_MAP.class_names
    }
    assert scalars | per_class <= lines[-1].keys()
    assert any(name.startswith("confident/") for name in lines[-1])
    assert {"mean_iou/student", "mean_iou/teacher"} <= {name for step, name in held if step == 6}


def test_the_wait_for_input_is_seen(trained):
    lines = [json.loads(line) for line in (trained[0] / "metrics.jsonl").open()]
    assert WAIT / 2 < lines[-1]["input_wait"] < lines[-1]["seconds_per_step"]


def test_pictures_show_the_first_batch_and_what_the_networks_make_of_it(trained):
    output, run, batch = trained
    held, _ = read(output / "tensorboard")
    names = {name for step, name in held if step == 3 and "/" in name and held[step, name].ndim}
    assert names == {
        *(f"labeled/{what}" for what in ("weak", "target", "prediction", "error")),
        *(
            f"unlabeled/{w}"
            for w in ("weak", "strong", "target", "confident", "prediction", "error")
        ),
        "mixed/image",
        "mixed/prediction",
    }

    def shown(name):
        return np.stack([tf.io.decode_png(encoded) for encoded in held[6, name][2:]])

    np.testing.assert_array_equal(shown("labeled/weak"), batch.x[:2])
    np.testing.assert_array_equal(shown("unlabeled/weak"), batch.u_w[:2])
    np.testing.assert_array_equal(shown("unlabeled/strong"), batch.u_s[:2])
    labels = [drawing.colorize(y.numpy(), tiny_command.LABEL_MAP) for y in batch.y[:2]]
    np.testing.assert_array_equal(shown("labeled/target"), labels)
    logits = run.model.student(tf.cast(batch.x[:2], tf.float32), training=False)["logits"]
    logits = tf.image.resize(logits, batch.x.shape[1:3])
    classes = np.argmax(logits, axis=-1).astype(np.uint8)
    colored = [drawing.colorize(c, tiny_command.LABEL_MAP) for c in classes]
    np.testing.assert_array_equal(shown("labeled/prediction"), colored)
    confident = shown("unlabeled/confident")
    assert set(np.unique(confident)) <= {0, np.iinfo(np.uint8).max}
    mixed = shown("mixed/image")
    assert mixed.shape[0] == 4
    # Every pixel of a mix comes from one of its images.
    sources = np.concatenate([batch.x[:2], batch.u_s[:2]])
    assert all((mixed[i] == sources).all(-1).any(0).all() for i in range(4))
