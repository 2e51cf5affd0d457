"""What is exported gives the checkpoint's class maps in processes that know nothing of c3tf."""

import hashlib
import json
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf

import alone
import tiny_network
import tiny_segmenter
from c3tf import export, models
from c3tf.errors import UserError
from c3tf.inference import networks
from c3tf.io import locks
from c3tf.nets import deeplab
from c3tf.runs import checkpoints, run_dir
from c3tf.serving import keras_archive, model_card, runtimes, saved_model
from c3tf.serving import options as serving_options
from c3tf.serving.options import ExportOptions
from c3tf.training import optimizer
from c3tf.training.step import C3Trainer
from tiny_network import LABEL_MAP
from untrained import randomise

SETTINGS = tiny_segmenter.config()
SIZE = (64, 96)
# What requirements.txt can write; `tests/serving/test_runtimes.py` has the others.
BUILT_IN = (serving_options.SAVED_MODEL, serving_options.KERAS, serving_options.LITERT)
STEP = 0


def lite(name, seed):
    """A real network whose batch norm is not what it begins with."""
    network = deeplab.build(
        "efficientnet_lite0", LABEL_MAP.num_classes, 16, 8, "random", seed=seed, name=name
    )
    return randomise(network, seed)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run directory with one checkpoint and what was measured of its two networks."""
    folder = tmp_path_factory.mktemp("run")
    run_dir.claim(str(folder), SETTINGS, "5b117", "da7a")
    model = C3Trainer(lite("student", 1), lite("teacher", 2), LABEL_MAP.num_classes, SETTINGS)
    adam = optimizer.build(SETTINGS, deeplab.is_backbone, deeplab.is_projection)
    adam.build(model.student.trainable_variables)
    model.compile(optimizer=adam, jit_compile=False)
    model.begin_semi_supervised(copy_student=False)
    facts = {
        "config": SETTINGS.to_dict(),
        "label_map": LABEL_MAP.to_json(),
        "network": model.student.to_json(),
        "split": "5b117",
        "image_height": 16,
        "has_teacher": True,
    }
    checkpoints.CheckpointStore(str(folder), keep=1).save(model, facts)
    for index, weights in enumerate(("student", "teacher")):
        path = folder / f"evaluations/step-{STEP:08d}-{weights}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(result(weights, STEP, 0.25 + index)))
    return folder


def result(weights, step, mean_iou, label_map=LABEL_MAP):
    """What `c3tf.evaluate` writes, as far as it matters here."""
    return {
        "images": 3,
        "protocol": {"weights": weights, "step": step},
        "metrics": {"mean_iou_cityscapes": mean_iou},
        "label_map": label_map.to_json(),
    }


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "model"
    options = ExportOptions(BUILT_IN, size=SIZE)
    models.export(str(run), "teacher", str(path), options=options)
    return path


@pytest.fixture(scope="module")
def given(run, tmp_path_factory):
    """Images and the class maps that the checkpoint gives for them, in a file."""
    predict = networks.predictor(checkpoints.load_network(str(run), "teacher").model)
    images = tiny_network.noise(5, *SIZE, batch=3)
    class_map = predict(tf.constant(images), tf.constant(SIZE)).numpy()
    assert len(np.unique(class_map)) >= 3, "the case should not be trivial"
    student = networks.predictor(checkpoints.load_network(str(run), "student").model)
    other = student(tf.constant(images), tf.constant(SIZE)).numpy()
    assert np.mean(other == class_map) < 0.9, "student and teacher should differ"
    path = tmp_path_factory.mktemp("given") / "given.npz"
    np.savez(path, images=images, class_map=class_map)
    return path


def in_a_fresh_process(code, *arguments):
    """Runs code that sees `arguments` as `sys.argv[1:]`, outside the repository."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    return done.stdout


COMPARE = """
import numpy as np

given = np.load(sys.argv[2])
images, expected = given["images"], given["class_map"]

def compare(class_map, least=0.999):
    class_map = np.asarray(class_map)
    assert class_map.shape == expected.shape, class_map.shape
    equal = np.mean(class_map == expected)
    assert equal >= least, equal
"""

TENSORFLOW = (
    alone.PRELUDE
    + COMPARE
    + """
import tensorflow as tf

module = tf.saved_model.load(sys.argv[1])
serve = module.signatures["serving_default"]
compare(serve(images=tf.constant(images))["class_map"])
files = tf.data.Dataset.from_tensor_slices([tf.io.encode_png(image) for image in images])
by_bytes = module.signatures["image_bytes"]
mapped = files.batch(2).map(lambda data: by_bytes(image_bytes=data)["class_map"])
compare(np.concatenate(list(mapped.as_numpy_iterator())))
unbatched = tf.data.Dataset.from_tensor_slices(images).map(lambda x: serve(images=x[None]))
compare([one["class_map"][0] for one in unbatched.as_numpy_iterator()])
"""
)

KERAS = (
    alone.without("c3tf", "keras_cv")
    + COMPARE
    + """
import keras
import tensorflow as tf

served = keras.layers.TFSMLayer(sys.argv[1], call_endpoint="probabilities")
image = keras.Input((None, None, 3), dtype="uint8")
confident = keras.layers.Lambda(lambda x: x["probabilities"])(served(image))
around = keras.Model(image, keras.layers.AveragePooling2D(1)(confident))
compare(around.predict(images, verbose=0).argmax(-1))

model = keras.saving.load_model(sys.argv[1] + "/model.keras", safe_mode=True)
assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)
assert not keras.saving.get_custom_objects()
assert not [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
logits = model.predict(images, verbose=0)
compare(logits.argmax(-1))
np.testing.assert_allclose(around.predict(images, verbose=0), keras.ops.softmax(logits), atol=1e-5)
odd = model.predict(images[:, :50, :81], verbose=0)
assert odd.shape[1:3] == (64, 96), odd.shape
mapped = tf.data.Dataset.from_generator(
    lambda: iter(images[:, None]), output_signature=tf.TensorSpec([None, None, None, 3], tf.uint8)
).map(lambda image: model(image, training=False))
compare(np.concatenate(list(mapped.as_numpy_iterator())).argmax(-1))

before = [v.numpy() for v in model.trainable_variables]
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True, ignore_class=255)
model.compile(keras.optimizers.SGD(1e-5), loss)
first = model.train_on_batch(images, (expected + 1) % 4)
second = model.test_on_batch(images, (expected + 1) % 4)
assert second < first, (first, second)
changed = [np.any(old != v.numpy()) for old, v in zip(before, model.trainable_variables)]
assert len(changed) > 60 and np.mean(changed) > 0.95, (len(changed), np.mean(changed))
model.export(sys.argv[3], verbose=False)
again = tf.saved_model.load(sys.argv[3]).signatures["serving_default"]
(tuned,) = again(tf.constant(images, tf.float32)).values()
np.testing.assert_allclose(tuned, model.predict(images, verbose=0), atol=1e-4)
"""
)

LITERT = (
    alone.without("c3tf", "keras", "tensorflow")
    + COMPARE
    + """
from ai_edge_litert.interpreter import Interpreter

for kind, least in (("float32", 0.999), ("float16", 0.99)):
    run = Interpreter(f"{sys.argv[1]}/model_{kind}.tflite").get_signature_runner("serving_default")
    details = run.get_input_details()["images"]
    assert details["dtype"] == np.uint8 and list(details["shape"]) == [1, *images.shape[1:]]
    compare([run(images=image[None])["class_map"][0] for image in images], least)
"""
)


@pytest.mark.parametrize(
    "code",
    [
        pytest.param(TENSORFLOW, id="tensorflow"),
        pytest.param(KERAS, id="keras", marks=pytest.mark.slow),
        pytest.param(LITERT, id="litert"),
    ],
)
def test_fresh_processes_give_the_checkpoints_class_maps(exported, given, tmp_path, code):
    in_a_fresh_process(code, exported, given, tmp_path / "fine_tuned")


def test_the_card_tells_where_the_model_comes_from(run, exported):
    card = json.loads((exported / "model_card.json").read_text())
    assert card["metrics"]["mean_iou_cityscapes"] == 1.25, "the teacher's, not the student's"
    assert card["metrics"]["images"] == 3
    assert card["data"] == {"data": "da7a", "split": "5b117"}
    assert card["input"]["image_height"] == 16
    assert models.open_model(exported).image_height == 16
    assert models.open_model(run).image_height == 16
    assert card["configuration"] == SETTINGS.to_dict()
    assert card["source"] == {"checkpoint": str(run), "weights": "teacher", "step": STEP}
    assert card["artifacts"]["output_stride"] == 16
    assert card["artifacts"]["batch_norm_folded"]
    assert card["artifacts"]["litert"]["size"] == list(SIZE)
    assert set(BUILT_IN) < set(card["artifacts"])


def test_the_card_holds_the_checksum_of_every_file(exported):
    card = json.loads((exported / "model_card.json").read_text())
    files = [path for path in exported.rglob("*") if path.is_file()]
    found = {
        path.relative_to(exported).as_posix(): {
            "bytes": path.stat().st_size,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        }
        for path in files
        if path.name != "model_card.json"
    }
    assert card["files"] == found
    assert {"saved_model.pb", "model.keras", *runtimes.LITERT_FILES.values()} < set(found)
    assert model_card.read(exported) == card


def test_a_checkpoint_file_and_a_result_of_its_own(run, tmp_path):
    measured = tmp_path / "result.json"
    measured.write_text(json.dumps(result("student", STEP, 0.75)))
    (file,) = (run / "checkpoints").glob("step-*.npz")
    options = ExportOptions([serving_options.KERAS], fold=False)
    output = tmp_path / "out"
    models.export(str(file), "student", str(output), options=options, metrics=str(measured))
    assert sorted(path.name for path in output.iterdir()) == [
        "label_map.json",
        "model.keras",
        "model_card.json",
    ]
    card = model_card.read(output)
    assert card["metrics"]["mean_iou_cityscapes"] == 0.75
    assert not card["artifacts"]["batch_norm_folded"]
    kept = keras.saving.load_model(output / "model.keras", safe_mode=True)
    assert [x for x in kept.layers if isinstance(x, keras.layers.BatchNormalization)]
    assert not [v.path for v in kept.variables if "projection" in v.path]
    with pytest.raises(serving_options.ServingError, match="is no SavedModel"):
        saved_model.load(output)
    with pytest.raises(UserError, match="exported without a SavedModel"):
        models.open_model(output)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "There is no file"),
        ("[]", "cannot be read: it holds no object"),
        ("{", "cannot be read"),
        ("{}", "Not a result"),
        (json.dumps(result("student", STEP, 0.5)), "measured with weights student"),
        (json.dumps(result("teacher", STEP + 1, 0.5)), f"measured with step {STEP + 1}"),
        (json.dumps({**result("teacher", STEP, 0.5), "label_map": {}}), "network's classes"),
    ],
)
def test_results_of_something_else_are_refused(run, tmp_path, content, message):
    path = tmp_path / "result.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(UserError, match=message):
        models.export(str(run), "teacher", str(tmp_path / "out"), metrics=str(path))
    assert not (tmp_path / "out").exists()


def test_overwriting_goes_from_format_to_format(tmp_path):
    path, network = tmp_path / "model", tiny_network.build()
    keras_only = ExportOptions([serving_options.KERAS])
    again = ExportOptions([serving_options.SAVED_MODEL])
    saved_model.save(network, LABEL_MAP, path, options=keras_only)
    with pytest.raises(serving_options.ServingError, match="exists"):
        saved_model.save(network, LABEL_MAP, path, options=again)
    saved_model.save(network, LABEL_MAP, path, options=again, overwrite=True)
    assert not (path / "model.keras").exists()
    assert saved_model.load(path).label_map == LABEL_MAP


def test_what_is_no_export_or_holds_more_is_never_overwritten(tmp_path):
    path, network = tmp_path / "model", tiny_network.build()
    saved_model.save(network, LABEL_MAP, path)
    (path / ".DS_Store").write_text("")
    saved_model.save(network, LABEL_MAP, path, overwrite=True)
    (path / "variables/notes.txt").write_text("mine")
    with pytest.raises(serving_options.ServingError, match=r"holds variables/notes\.txt, which is"):
        saved_model.save(network, LABEL_MAP, path, overwrite=True)
    assert (path / "variables/notes.txt").read_text() == "mine"
    (path / "variables/notes.txt").unlink()
    # As another program writes one.
    (path / "model_card.json").unlink()
    with pytest.raises(serving_options.ServingError, match="is no export"):
        saved_model.save(network, LABEL_MAP, path, overwrite=True)
    assert (path / "saved_model.pb").exists()


def test_an_export_that_was_killed_is_put_back_and_a_second_one_waits(tmp_path):
    path, network = tmp_path / "model", tiny_network.build()
    saved_model.save(network, LABEL_MAP, path)
    aside = tmp_path / (".model.earlier-" + "0" * 32)
    path.rename(aside)
    (tmp_path / (".partial-" + "0" * 32 + "-model")).mkdir()
    with pytest.raises(UserError, match="left the earlier one in"):
        models.open_model(path)
    with pytest.raises(UserError, match="exists"):
        saved_model.check_target(path)
    assert [found.name for found in tmp_path.iterdir()] == ["model"]
    other = tmp_path / (".partial-" + "1" * 32 + "-model")
    other.mkdir()
    with (
        locks.alone(other, UserError("busy"), ""),
        pytest.raises(UserError, match="Another process exports to"),
    ):
        saved_model.save(network, LABEL_MAP, path, overwrite=True)


@pytest.mark.parametrize("change", ["damage", "remove"])
def test_files_are_checked_on_loading(tmp_path, change):
    path = saved_model.save(tiny_network.build(), LABEL_MAP, tmp_path / "model")
    data = path / "variables/variables.data-00000-of-00001"
    held = bytearray(data.read_bytes())
    held[len(held) // 2] ^= 1
    data.write_bytes(held) if change == "damage" else data.unlink()
    with pytest.raises(serving_options.ServingError, match=r"variables\.data.* (damaged|missing)"):
        saved_model.load(path)


@pytest.mark.parametrize(
    ("formats", "size", "message"),
    [
        (
            ["pickle"],
            None,
            "`--format` must list some of saved_model, keras, litert, onnx, openvino",
        ),
        (["keras", "tflite"], None, "`--format=tflite` is called `--format=litert` now"),
        ([], None, "`--format` must list"),
        (["keras"], "64x64", "`--size` needs a --format of litert, onnx, openvino"),
        (["litert"], "64", "height x width in pixels"),
        (["litert"], "0x64", "height x width in pixels"),
        (["litert"], "64x-1", "height x width in pixels"),
    ],
)
def test_options_are_refused_at_the_start(formats, size, message):
    with pytest.raises(UserError, match=message):
        export.parse_options(formats, True, size)


def test_options_are_read():
    assert export.parse_options(["keras"], False, None) == ExportOptions(["keras"], fold=False)
    assert export.parse_options(["saved_model"], True, None, True).half
    with pytest.raises(UserError, match="`--half` needs --format=saved_model"):
        export.parse_options(["litert"], True, "64x96", True)
    assert export.parse_options(["litert"], True, "64x96").size == (64, 96)
    assert export.parse_options(["litert"], True, None).size is None


def test_an_export_is_made_of_no_export(tmp_path):
    saved_model.save(tiny_network.build(), tiny_network.LABEL_MAP, tmp_path / "saved")
    with pytest.raises(UserError, match=r"`--model` must name a run's folder .* another export"):
        models.export(str(tmp_path / "saved"), "student", str(tmp_path / "again"))
    assert os.listdir(tmp_path) == ["saved"]


def test_the_command_complains_in_one_line(run, tmp_path, repository):
    command = [sys.executable, "-m", "c3tf.export", f"--model={run}", f"--output={tmp_path}/out"]
    done = subprocess.run(
        [*command, "--format=saved_model,pickle"], cwd=repository, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "c3tf.export: error: `--format` must list some of" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("size", [(24, 40), (4, 4), (17, 33)])
def test_the_archive_upsamples_as_the_savedmodel_does(tmp_path, size):
    network = tiny_network.build()
    keras_archive.write_keras(networks.logits_network(network), tmp_path / "model.keras")
    images = tiny_network.noise(3, *size, batch=2).astype(np.float32)
    found = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)(images)
    rounded = [-(-n // 4) * 4 for n in size]
    expected = tf.image.resize(network(images)["logits"], rounded)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_the_output_stride_is_that_of_the_network():
    assert networks.output_stride(networks.logits_network(tiny_network.build())) == 4
    image = keras.Input((None, None, 3))
    uneven = keras.Model(image, keras.layers.Conv2D(1, 3, strides=(1, 2), padding="same")(image))
    assert networks.output_stride(uneven) is None


def test_what_built_in_layers_cannot_upsample_is_no_archive(tmp_path):
    network = deeplab.build("efficientnet_lite0", 4, 16, 8, "random", align_corners=True)
    for formats in (["keras"], ["saved_model", "keras"]):
        with pytest.raises(UserError, match="built-in layers cannot bring its logits"):
            saved_model.save(network, LABEL_MAP, tmp_path / "model", options=ExportOptions(formats))
    assert not list(tmp_path.iterdir())


def test_tensorflow_lite_takes_its_own_size_alone(exported):
    for name in runtimes.LITERT_FILES.values():
        for shape in ([1, 96, 64], [1, 32, 192], [1, 1, 96], [1, 64, 1], [2, 64, 96], [1, 65, 96]):
            interpreter = tf.lite.Interpreter(str(exported / name))
            interpreter.resize_tensor_input(0, [*shape, 3])
            with pytest.raises((RuntimeError, ValueError)):
                interpreter.allocate_tensors()
