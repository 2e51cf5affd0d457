"""Compares the exported formats of one network: size, latency, pixels that differ, mIoU.

    pip install -r requirements-runtimes.txt
    PYTHONPATH=. python benchmarks/runtimes.py --model=runs/camvid_1_8/c3 --data=data/camvid
    PYTHONPATH=. python benchmarks/runtimes.py --model=RUN --data=data/camvid --images=10

Every format is run by its own runtime on the validation images, one at a time, with as many threads
as the library chooses. The least time of an image counts, because what disturbs it only makes it
longer. The checkpoint's own class maps are what pixels are compared with. The integer file is
calibrated on training images.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from absl import app, flags

Predict = Callable[[np.ndarray], np.ndarray]


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_string("model", None, "Folder of a run, or one checkpoint.", required=True)
    flags.DEFINE_enum("weights", "student", ("student", "teacher"), "Which of the two networks.")
    flags.DEFINE_string("data", None, "Data set with images of one size.", required=True)
    flags.DEFINE_integer("images", 0, "Validation images; 0 takes all.", lower_bound=0)


def runtimes_of(folder: Path) -> dict[str, tuple[list[str], Predict]]:
    """Opens every format in its runtime: the files that it reads, and its function."""
    import onnxruntime
    import openvino
    import tensorflow as tf
    from ai_edge_litert.interpreter import Interpreter

    from c3tf.serving import runtimes

    module = tf.saved_model.load(str(folder))
    serve = module.signatures["serving_default"]
    session = onnxruntime.InferenceSession(folder / runtimes.ONNX_FILE)
    compiled = openvino.Core().compile_model(
        folder / runtimes.OPENVINO_FILES[0], "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    variables = [path.relative_to(folder).as_posix() for path in (folder / "variables").iterdir()]
    opened: dict[str, tuple[list[str], Predict]] = {
        "saved_model": (
            ["saved_model.pb", *variables],
            lambda x: serve(images=tf.constant(x))["class_map"].numpy(),
        ),
        "onnx": (
            [runtimes.ONNX_FILE],
            lambda x: session.run(["class_map"], {"images": x})[0],
        ),
        "openvino": (
            list(runtimes.OPENVINO_FILES),
            lambda x: compiled({"images": x})["class_map"],
        ),
    }
    for kind, name in {**runtimes.LITERT_FILES, "int8": runtimes.INT8_FILE}.items():
        run = Interpreter(str(folder / name)).get_signature_runner("serving_default")
        opened[f"litert {kind}"] = [name], lambda x, run=run: run(images=x)["class_map"]
    return opened


def main(_: list[str]) -> None:
    """Exports, runs every format, and prints a table in Markdown."""
    import tensorflow as tf

    from c3tf import models
    from c3tf.data import manifest, validation
    from c3tf.evaluation import metrics
    from c3tf.inference import networks
    from c3tf.runs import checkpoints
    from c3tf.serving.options import LITERT, ONNX, OPENVINO, SAVED_MODEL, ExportOptions

    values = flags.FLAGS
    taken = values.images or manifest.load(values.data).count("val")
    batches = list(validation.val_dataset(values.data, "val", 1).take(taken).as_numpy_iterator())
    size = batches[0]["image"].shape[1:3]
    options = ExportOptions(
        [SAVED_MODEL, ONNX, OPENVINO, LITERT],
        size=size,
        quantize="int8",
        representative=values.data,
    )
    loaded = checkpoints.load_network(values.model, weights=values.weights)
    predict = networks.predictor(loaded.model)
    right = [predict(tf.constant(b["image"]), tf.constant(size)).numpy() for b in batches]
    classes = loaded.label_map.num_classes
    print(f"{len(batches)} images of {size[0]}x{size[1]}, {sum(r.size for r in right)} pixels\n")
    print(
        "| format | MB | ms an image | pixels that differ | mIoU |\n| --- | --- | --- | --- | --- |"
    )
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "exported"
        models.export(values.model, values.weights, str(path), options=options)
        for name, (held, run) in runtimes_of(path).items():
            run(batches[0]["image"])
            different, best, counts = 0, np.inf, np.zeros((classes, classes), np.int64)
            for batch, expected in zip(batches, right, strict=True):
                began = time.perf_counter()
                found = run(batch["image"])
                best = min(best, time.perf_counter() - began)
                different += int(np.sum(found != expected))
                counts += counted(batch["label"][..., 0], found, classes)
            megabytes = sum((path / one).stat().st_size for one in held) / 1e6
            print(
                f"| {name} | {megabytes:.1f} | {1000 * best:.1f} | {different} "
                f"| {100 * metrics.mean_iou(counts):.2f} |",
                flush=True,
            )


def counted(label: np.ndarray, found: np.ndarray, classes: int) -> np.ndarray:
    """Counts pixels by their class and the one that was found, `(C, C)`; ignored ones are not."""
    known = label < classes
    pairs = label[known].astype(np.int64) * classes + found[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


if __name__ == "__main__":
    define_flags()
    app.run(main)
