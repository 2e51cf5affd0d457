"""Training end to end, as a user runs it: from drawn scenes to a served model."""

import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

import alone
import loopback
from c3tf import train
from c3tf.config import Config
from c3tf.data import manifest
from c3tf.data.validation import val_dataset
from c3tf.errors import DataError, UserError
from c3tf.evaluation.evaluator import Evaluator
from c3tf.labels import CITYSCAPES
from c3tf.runs import checkpoints, run_dir
from c3tf.runs.run import Run
from c3tf.runs.run_dir import RunDirError
from c3tf.serving.saved_model import load
from data_tools import bdd100k
from data_tools.conversion import convert
from data_tools.conversion.example import ConversionOptions
from data_tools.conversion.runners import LocalRunner
from data_tools.street_scenes.tree import Plan, write_tree

# Serves JPEGs and counts the confusion matrix, in a process without this project and Keras.
_SERVE = (
    alone.PRELUDE
    + """
import numpy as np, tensorflow as tf
model = tf.saved_model.load(sys.argv[1])
serve = model.signatures["image_bytes"]
counts = np.zeros((int(sys.argv[3]),) * 2, np.int64)
for example in tf.data.TFRecordDataset(sys.argv[2]):
    record = tf.io.parse_single_example(example, {
        key: tf.io.FixedLenFeature([], tf.string) for key in ("image/encoded", "label/encoded")
    })
    label = tf.io.decode_png(record["label/encoded"])[..., 0].numpy()
    found = serve(image_bytes=record["image/encoded"][None])["class_map"][0].numpy()
    valid = label < len(counts)
    np.add.at(counts, (label[valid], found[valid]), 1)
np.save(sys.argv[4], counts)
for size in ((40, 60), (33, 47)):
    images = tf.zeros((2, *size, 3), tf.uint8)
    assert model.signatures["serving_default"](images=images)["class_map"].shape == (2, *size)
"""
)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A converted set of 4 labeled, 6 unlabeled and 3 validation scenes."""
    root = tmp_path_factory.mktemp("scenes")
    raw = write_tree(root / "raw", Plan(4, 6, 3, width=96, height=64))
    options = ConversionOptions(
        dataset="bdd100k", label_map=CITYSCAPES, label_ids="train", height=0
    )
    found = bdd100k.discover(str(raw))
    convert.convert(found, str(root / "data"), options, "tests", runner=LocalRunner(1))
    return root


def settings(root, output, **options) -> Config:
    return Config().with_options(
        **{
            "data": str(root / "data"),
            "labeled_list": str(root / "raw" / "splits" / "labeled.txt"),
            "output": str(output),
            "backbone": "efficientnet_lite0",
            "backbone_weights": "random",
            "output_stride": 16,
            "crop_height": 48,
            "crop_width": 64,
            "global_batch_size": 4,
            "mix_group": 2,
            "steps": 6,
            "supervised_steps": 2,
            "consistency_ramp_steps": 2,
            "learning_rate": 1e-3,
            "log_every": 2,
            "checkpoint_every": 2,
            "evaluate_every": 6,
            **options,
        }
    )


@pytest.fixture(scope="module")
def trained(data, tmp_path_factory):
    """An undisturbed run."""
    config = settings(data, tmp_path_factory.mktemp("run") / "run")
    return config, Run(config, "c3").train()


def arrays(config: Config) -> dict[str, np.ndarray]:
    return checkpoints.read(checkpoints.find(config.training.output))[1]


def test_a_run_leaves_what_the_readme_says(trained):
    config, result = trained
    held = set(os.listdir(config.training.output))
    assert held == {
        "checkpoints",
        "config.json",
        "evaluations",
        "events.jsonl",
        "examples",
        "metrics.jsonl",
        "results.json",
        "saved_model",
        "tensorboard",
    }
    with open(os.path.join(config.training.output, "config.json")) as file:
        assert Config.from_dict(json.load(file)["config"]) == config
    with open(os.path.join(config.training.output, "metrics.jsonl")) as file:
        lines = [json.loads(line) for line in file]
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert "consistency" not in lines[0]
    assert {"supervised", "consistency", "contrast", "lambda1", "confident"} <= set(lines[1])
    assert result.student.images == result.teacher.images == 3


def test_checkpoint_gives_the_evaluated_networks_again(trained):
    config, result = trained
    for weights, expected in (("student", result.student), ("teacher", result.teacher)):
        loaded = checkpoints.load_network(config.training.output, weights)
        again = Evaluator(loaded.model, loaded.label_map).run(val_dataset(config.data.data))
        np.testing.assert_array_equal(again.confusion, expected.confusion)
    assert loaded.step == 6
    assert loaded.thresholds.shape == (CITYSCAPES.num_classes,)


def test_saved_model_serves_without_this_package(trained, tmp_path):
    config, result = trained
    shard = manifest.load(config.data.data).shards("val")[0]
    counts = tmp_path / "counts.npy"
    command = [sys.executable, "-c", _SERVE, result.saved_model, shard]
    subprocess.run([*command, str(CITYSCAPES.num_classes), str(counts)], check=True, cwd=tmp_path)
    # Folding batch norm rounds, which decides a pixel between two nearly equal logits.
    moved = np.abs(np.load(counts) - result.student.confusion).sum() / 2
    assert moved <= 0.001 * result.student.confusion.sum()
    assert load(result.saved_model).label_map == CITYSCAPES


@pytest.mark.slow
@pytest.mark.parametrize("stop", [2, 5])
def test_a_stopped_run_ends_as_the_undisturbed_one(trained, tmp_path, monkeypatch, stop):
    config, _ = trained
    again = config.with_options(output=str(tmp_path / "run"))
    run = Run(again, "c3")
    calls = []

    def interrupted(*hooks):
        class Stop(tf.keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                calls.append(batch)
                if len(calls) == stop:
                    raise KeyboardInterrupt

        return [*original(*hooks), Stop()]

    original = run._log.callbacks
    monkeypatch.setattr(run._log, "callbacks", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run.train()
    Run(again, "c3").train()
    expected, found = arrays(config), arrays(again)
    assert set(expected) == set(found)
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


def test_the_baseline_has_no_teacher_and_sees_the_same_labels(data, tmp_path):
    config = settings(data, tmp_path / "run", method="supervised", steps=2, evaluate_every=2)
    result = Run(config, "baseline").train()
    assert result.teacher is None
    with pytest.raises(UserError, match="holds no teacher"):
        checkpoints.load_network(config.training.output, "teacher")


def test_bad_input_is_refused_before_time_is_spent(data, tmp_path, monkeypatch):
    def refused(message, **options):
        with pytest.raises(UserError, match=message):
            Run(settings(data, tmp_path / "run", **options), "c3")
        assert not (tmp_path / "run").exists()

    refused("There is no data set directory", data=str(tmp_path / "absent"))
    refused("has no dataset.json", data=str(data))
    refused(
        "`--labeled` must be at most 10, .* Received: --labeled=11", labeled_list="", labeled="11"
    )
    refused("no split list", labeled_list=str(tmp_path / "absent.txt"))
    (tmp_path / "empty.txt").write_text("# nothing\n")
    refused("names no image", labeled_list=str(tmp_path / "empty.txt"))
    (tmp_path / "foreign.txt").write_text("aachen_000000_000019\n")
    refused("does not hold", labeled_list=str(tmp_path / "foreign.txt"))
    refused("absent.weights.h5", backbone_weights=str(tmp_path / "absent.weights.h5"))
    refused("replicas", strategy="mirrored", replicas=64)
    cut = tmp_path / "cut"
    shutil.copytree(data / "data", cut)
    shard = next(cut.glob("train-*"))
    shard.write_bytes(shard.read_bytes()[:-100])
    refused("bytes instead of", data=str(cut))


def test_another_run_is_not_overwritten(trained, data, tmp_path):
    config, _ = trained
    before = (config.training.output, sorted(os.listdir(config.training.output)))
    with pytest.raises(RunDirError, match=r"--learning_rate: 0\.001 -> 0\.01"):
        Run(config.with_options(learning_rate=0.01), "c3")
    assert sorted(os.listdir(config.training.output)) == before[1]
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(RunDirError, match="not empty"):
        Run(settings(data, tmp_path / "mine"), "c3")


def test_a_directory_is_not_claimed_while_another_process_has_it(data, tmp_path):
    """Both found it free; the other one is to write its configuration next."""
    run = Run(settings(data, tmp_path / "run"), "c3")
    with run_dir.locked(str(tmp_path / "run")), pytest.raises(RunDirError, match="Another proc"):
        run.train()
    assert not os.listdir(tmp_path / "run")


@pytest.mark.slow
def test_a_record_with_a_damaged_image_names_itself(data, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(data / "data", broken)
    described = json.loads((broken / "dataset.json").read_text())
    shard = broken / described["splits"]["train"]["shards"][0]["file"]
    examples = [tf.train.Example.FromString(r.numpy()) for r in tf.data.TFRecordDataset(str(shard))]
    for example in examples:
        example.features.feature["image/encoded"].bytes_list.value[0] = b"no image"
    with tf.io.TFRecordWriter(str(shard)) as writer:
        for example in examples:
            writer.write(example.SerializeToString())
    described["splits"]["train"]["shards"][0]["bytes"] = shard.stat().st_size
    (broken / "dataset.json").write_text(json.dumps(described))
    run = Run(settings(data, tmp_path / "run", data=str(broken)), "c3")
    named = rf"{shard.name}, record 0, image '.*': TensorFlow cannot decode its image\. .*verify"
    with pytest.raises(DataError, match=rf"a record cannot be used: {named}"):
        run.train()


def test_damaged_validation_images_are_named_before_training(data, tmp_path):
    broken = tmp_path / "broken"
    shutil.copytree(data / "data", broken)
    (shard,) = broken.glob("val-*.tfrecord")
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DataError, match=rf"{shard.name} is damaged: its checksum"):
        Run(settings(data, tmp_path / "run", data=str(broken)), "c3")
    assert not (tmp_path / "run").exists()


def test_labels_are_judged_before_training(data, tmp_path):
    odd = tmp_path / "odd"
    shutil.copytree(data / "data", odd)
    described = json.loads((odd / "dataset.json").read_text())
    val = described["splits"]["val"]
    for counts, ignored in ((val["class_pixels"], 10**9), ([0] * len(val["class_pixels"]), 1)):
        val |= {"class_pixels": counts, "ignored_pixels": ignored}
        (odd / "dataset.json").write_text(json.dumps(described))
        config = settings(data, tmp_path / "run", data=str(odd))
        if any(counts):
            (line,) = [t for t in Run(config, "c3").describe().splitlines() if "% of the pix" in t]
            assert line.startswith("warning: ")
        else:
            with pytest.raises(DataError, match="No pixel of the labels of split 'val'"):
                Run(config, "c3")


def test_command_refuses_with_one_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "c3tf.train", "--data=absent", f"--output={tmp_path / 'run'}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 2
    assert "python -m c3tf.train: error: There is no data set directory 'absent'" in done.stderr
    assert "Traceback" not in done.stderr


def run_on(replicas, processes, config, repository, folder):
    """Trains in processes of their own, which see each other as hosts."""
    path = os.pathsep.join([str(repository), str(repository / "tests" / "support")])
    description = folder / f"{replicas}_{processes}.json"
    description.write_text(json.dumps(config.to_dict()))
    script = repository / "tests" / "support" / "mirrored_run.py"
    command = [sys.executable, str(script), str(replicas), str(description)]
    return [
        subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": path, **place},
            stderr=subprocess.PIPE,
            text=True,
        )
        for place in loopback.places(processes)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("source", ["stream", "memory"])
def test_replicas_and_hosts_train_as_one_device(data, repository, tmp_path, source):
    setups = {(1, 1): {}, (1, 2): {}}
    if source == "memory":
        setups[2, 1] = {"strategy": "mirrored", "replicas": 2}
    configs, processes = [], []
    for (replicas, hosts), strategy in setups.items():
        output = tmp_path / f"{replicas}_{hosts}"
        options = {"steps": 4, "mix_group": 1, "unlabeled_source": source, **strategy}
        configs.append(settings(data, output, **options))
        processes += run_on(replicas, hosts, configs[-1], repository, tmp_path)
    errors = [process.communicate(timeout=300)[1] for process in processes]
    assert not any(process.returncode for process in processes), "\n".join(errors)
    one = arrays(configs[0])
    for config in configs[1:]:
        other = arrays(config)
        assert set(one) == set(other)
        for name in one:
            np.testing.assert_allclose(other[name], one[name], rtol=1e-9, atol=1e-9, err_msg=name)


@pytest.mark.slow
def test_hosts_that_do_not_see_one_output_do_not_train(data, repository, tmp_path):
    """The second host's output holds a checkpoint that the first one's does not."""
    options = {"steps": 2, "supervised_steps": 1, "mix_group": 1}
    begun = settings(data, tmp_path / "begun", **options)
    Run(begun, "c3").train()
    places = loopback.places(2)
    path = os.pathsep.join([str(repository), str(repository / "tests" / "support")])
    processes = []
    for place, output in zip(places, ("new", "begun"), strict=True):
        config = settings(data, tmp_path / output, **options)
        description = tmp_path / f"{output}.json"
        description.write_text(json.dumps(config.to_dict()))
        script = str(repository / "tests" / "support" / "mirrored_run.py")
        processes.append(
            subprocess.Popen(
                [sys.executable, script, "1", str(description)],
                env={**os.environ, "PYTHONPATH": path, **place},
                stderr=subprocess.PIPE,
                text=True,
            )
        )
    errors = [process.communicate(timeout=120)[1] for process in processes]
    assert all(process.returncode for process in processes)
    for error in errors:
        assert "The hosts begin after different steps, [0, 2]" in error


@pytest.mark.slow
def test_one_step_of_the_papers_own_network_on_this_machine(data, tmp_path):
    config = settings(
        data,
        tmp_path / "run",
        backbone="resnet101",
        output_stride=8,
        crop_height=256,
        crop_width=512,
        global_batch_size=2,
        mix_group=1,
        steps=1,
        supervised_steps=0,
        log_every=1,
        checkpoint_every=1,
        evaluate_every=1,
    )
    result = Run(config, "c3").train()
    assert result.teacher.images == 3


@pytest.mark.slow
def test_command_prints_the_baseline_alone(data, tmp_path, monkeypatch, capsys):
    config = settings(data, tmp_path, method="supervised", steps=2, evaluate_every=2)
    monkeypatch.setattr(train.absl_flags, "from_flags", lambda: config)
    train.main()
    printed = capsys.readouterr().out
    assert "mean IoU (cityscapes rule)" in printed
    assert os.path.isfile(tmp_path / "supervised" / "predictions.png")
    assert str(tmp_path / "supervised" / "saved_model") in printed
