"""Every head on five kinds of backbones: train, go on, evaluate, export, fold, convert."""

import time
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf

import tiny_command
from c3tf.config import Config
from c3tf.config.networks import HEADS
from c3tf.data.validation import val_dataset
from c3tf.errors import Stopped
from c3tf.evaluation.evaluator import Evaluator
from c3tf.inference import networks
from c3tf.runs import checkpoints
from c3tf.runs.run import Run
from c3tf.serving import keras_archive, runtimes, saved_model
from c3tf.serving.options import FORMATS, PACKAGES, ExportOptions

pytestmark = pytest.mark.slow

BACKBONES = (
    "efficientnet_lite0",
    "resnet50v2",
    "mobilenetv3_small",
    "efficientnetv2_b0",
    "convnext_tiny",
)
STEPS = 50


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("networks") / "data"
    tiny_command.write_data(folder)
    return folder


@pytest.mark.parametrize("backbone", BACKBONES)
@pytest.mark.parametrize("head", HEADS)
def test_a_network_does_all_that_the_first_one_does(data, tmp_path, head, backbone):
    options = tiny_command.options(
        data,
        tmp_path / "run",
        head=head,
        backbone=backbone,
        output_stride=16,
        crop_height=32,
        crop_width=64,
        steps=STEPS,
        supervised_steps=20,
        checkpoint_every=25,
        evaluate_every=STEPS,
    )
    config = Config().with_options(**options)
    began, run = time.perf_counter(), Run(config, "c3")
    with pytest.raises(Stopped):
        run.train(tiny_command.StopAt(run, 25))
    result = Run(config, "c3").train()
    seconds = time.perf_counter() - began

    loaded = checkpoints.load_network(str(tmp_path / "run"), "student")
    found = Evaluator(loaded.model, loaded.label_map).run(val_dataset(str(data)))
    np.testing.assert_array_equal(found.confusion, result.student.confusion)

    installed = [name for name in FORMATS if all(map(find_spec, PACKAGES.get(name, ())))]
    folder, options = tmp_path / "exported", ExportOptions(installed, size=(48, 64))
    saved_model.save(loaded.model, loaded.label_map, folder, options=options)
    image = np.random.default_rng(0).integers(0, 256, (1, 48, 64, 3)).astype(np.uint8)
    expected = networks.class_map(loaded.model, tf.constant(image)).numpy()
    answers = {
        "saved_model": saved_model.load(folder).predict(image, np.array([48, 64], np.int32)),
        "litert": interpreted(folder / runtimes.LITERT_FILES["float32"], image),
    }
    archive = keras.saving.load_model(folder / keras_archive.KERAS_FILE, safe_mode=True)
    answers["keras"] = np.argmax(archive(image.astype(np.float32)), axis=-1)
    if "onnx" in installed:
        onnxruntime = pytest.importorskip("onnxruntime")
        session = onnxruntime.InferenceSession(folder / runtimes.ONNX_FILE)
        (answers["onnx"],) = session.run(["class_map"], {"images": image})
    for name, answer in answers.items():
        assert np.mean(np.asarray(answer) == expected) > 0.999, name
    kept = networks.logits_network(loaded.model).count_params()
    checkpoint = Path(checkpoints.find(str(tmp_path / "run")))
    print(f"\n{seconds:.0f} s:", row(f"| `{head}` | `{backbone}` |", kept, checkpoint, folder))


def row(name, parameters, checkpoint, exported):
    """A row of the table of sizes in docs/networks.md: millions of parameters, then MB."""
    files = {path.name: path.stat().st_size for path in exported.rglob("*.*")}
    saved = [files[name] for name in files if name.startswith(("saved_model.pb", "variables."))]
    parts = [checkpoint.stat().st_size, sum(saved), files[keras_archive.KERAS_FILE]]
    parts += [files[runtimes.LITERT_FILES[kind]] for kind in ("float32", "float16")]
    parts.append(files.get(runtimes.ONNX_FILE))
    cells = ["-" if part is None else f"{part / 1e6:.1f}" for part in parts]
    return f"{name} {parameters / 1e6:.2f} | {' | '.join(cells)} |"


def interpreted(path, image):
    interpreter = tf.lite.Interpreter(str(path))
    return interpreter.get_signature_runner()(images=image)["class_map"]
