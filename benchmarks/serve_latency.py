"""Measures images per second of exported SavedModels, beside PyTorch.

    pip install -r benchmarks/requirements-torch.txt   # or without, see --nopytorch
    python benchmarks/serve_latency.py
    python benchmarks/serve_latency.py --quick --json=latency.json

Compared are, for ResNet-101 at output stride 8 and EfficientNet-Lite0 at output stride 16:

    folded        the SavedModel as `c3tf.export` writes it: batch norm folded into convolutions
    unfolded      the same with `--fold=false`
    pytorch       the same network in PyTorch, eager, under `torch.inference_mode`
    channels_last the same with PyTorch's other memory format

All take uint8 images in memory and give uint8 class maps of the same size, preprocessing and
upsampling included, in float32. `--threads=0` leaves the numbers of threads to the libraries. With
`--threads=1` no thread waits for another, so that processor times mean something on a machine that
is busy with other things; threads that wait for each other do so by spinning. Weights are random,
the same for all, and before anything is timed PyTorch's logits are compared with Keras'. Each
contestant has a process of its own and loads nothing that it would not have in production. They
take turns, and the least time of each counts, because what disturbs a turn only makes it longer.
The processor time of all threads is given beside it: on a shared machine it moves less.
"""

import json
import multiprocessing
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags, logging

FULL_SIZE, QUICK_SIZE, CHECK_SIZE = (512, 1024), (128, 256), (128, 256)
OUTPUT_STRIDES = {"resnet101": 8, "efficientnet_lite0": 16}
TORCH = ("pytorch", "channels_last")
TOLERANCE = 1e-3


def define_flags() -> None:
    """Defines the command's flags."""
    flags.DEFINE_bool("quick", False, "Small images, batch 1 and few rounds: to see it work.")
    flags.DEFINE_integer("rounds", 5, "Turns of each contestant.", lower_bound=1)
    flags.DEFINE_multi_enum("backbone", list(OUTPUT_STRIDES), list(OUTPUT_STRIDES), "Networks.")
    flags.DEFINE_multi_integer("batch", [1, 4], "Images at once.", lower_bound=1)
    flags.DEFINE_integer("threads", 0, "Threads of each; 0 leaves it to them.", lower_bound=0)
    flags.DEFINE_bool("pytorch", True, "Compare with PyTorch.")
    flags.DEFINE_string("json", None, "File to write the results to.")


class Contestant:
    """A process that computes class maps when it is told to."""

    def __init__(self, context: Any, serve: Callable[..., None], *arguments: Any) -> None:
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=serve, args=(theirs, *arguments), daemon=True)
        self._process.start()
        theirs.close()

    def ask(self, question: str, images: np.ndarray) -> Any:
        """Sends images; returns logits for `"logits"`, `(class_map, times)` for `"run"`."""
        self._pipe.send((question, images))
        return self._pipe.recv()

    def stop(self) -> None:
        """Ends the process."""
        self._pipe.close()
        self._process.join()


def serve_saved_model(pipe: Connection, threads: int, path: str) -> None:
    """Answers questions with a SavedModel, in a process that has TensorFlow alone."""
    import tensorflow as tf

    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    module = tf.saved_model.load(path)
    run = module.signatures["serving_default"]
    _answer(pipe, {"run": lambda images: run(images=tf.constant(images))["class_map"].numpy()})


def serve_torch(
    pipe: Connection, threads: int, description: dict, weights: str, channels_last: bool
) -> None:
    """Answers questions with PyTorch."""
    import torch

    import torch_deeplab

    if threads:
        torch.set_num_threads(threads)
    network = torch_deeplab.DeepLab(**description).eval()
    torch_deeplab.assign(network, dict(np.load(weights)))
    if channels_last:
        network = network.to(memory_format=torch.channels_last)
    with torch.inference_mode():
        _answer(
            pipe,
            {
                "run": lambda images: network(torch.from_numpy(images)).numpy(),
                "logits": lambda images: (
                    network.logits(torch.from_numpy(images)).permute(0, 2, 3, 1).numpy()
                ),
            },
        )


def _answer(pipe: Connection, answers: dict[str, Callable[[np.ndarray], np.ndarray]]) -> None:
    while True:
        try:
            question, images = pipe.recv()
        except EOFError:
            return
        start, cpu_start = time.perf_counter(), time.process_time()
        result = answers[question](images)
        times = time.perf_counter() - start, time.process_time() - cpu_start
        pipe.send((result, times) if question == "run" else result)


def start(backbone: str, folder: Path, threads: int, with_torch: bool) -> dict[str, Contestant]:
    """Exports a random network in all forms and starts a process for each."""
    from c3tf.labels import CITYSCAPES
    from c3tf.nets import backbones, deeplab
    from c3tf.serving import saved_model

    output_stride = OUTPUT_STRIDES[backbone]
    network = deeplab.build(backbone, CITYSCAPES.num_classes, output_stride, None, "random")
    _randomize(network)
    context = multiprocessing.get_context("spawn")
    contestants = {}
    for name in ("folded", "unfolded"):
        options = saved_model.ExportOptions(fold=name == "folded")
        path = saved_model.save(network, CITYSCAPES, folder / f"{backbone}_{name}", options=options)
        contestants[name] = Contestant(context, serve_saved_model, threads, str(path))
    if not with_torch:
        return contestants
    weights = folder / f"{backbone}.npz"
    np.savez(weights, **{w.path.removeprefix(backbones.PREFIX): w.numpy() for w in network.weights})
    layout = backbones.torch_layout(backbone)
    description = {
        "backbone": backbone,
        "num_classes": CITYSCAPES.num_classes,
        "output_stride": output_stride,
        "scale": layout.scale,
        "offset": layout.offset,
        "epsilon": layout.epsilon,
    }
    images = _noise(1, CHECK_SIZE)
    expected = network(images)["logits"].numpy()
    for name in TORCH:
        other = Contestant(
            context, serve_torch, threads, description, str(weights), name == TORCH[1]
        )
        difference = np.abs(other.ask("logits", images) - expected).max()
        if not difference <= TOLERANCE * max(1.0, np.abs(expected).max()):
            raise RuntimeError(f"{name} {backbone} differs from Keras by {difference}")
        contestants[name] = other
    return contestants


def measure(
    contestants: dict[str, Contestant], batch: int, size: tuple[int, int], rounds: int
) -> dict[str, list[tuple[float, float]]]:
    """Lets contestants take turns; returns the seconds passed and computed of every turn."""
    images = _noise(batch, size)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in contestants}
    class_maps = {name: c.ask("run", images)[0] for name, c in contestants.items()}
    for name, class_map in class_maps.items():
        same = np.mean(class_map == class_maps["folded"])
        if same < 0.999:
            raise RuntimeError(f"{name} gives the same class at only {same:.2%} of the pixels")
    for index in range(rounds):
        # Each is first, last and in between in turn.
        names = list(contestants)
        for name in names[index % len(names) :] + names[: index % len(names)]:
            times[name].append(contestants[name].ask("run", images)[1])
    return times


def row(backbone: str, batch: int, times: dict[str, list[tuple[float, float]]]) -> dict[str, Any]:
    """Summarises the turns of one network at one batch size."""
    least = {name: np.min(turns, axis=0) for name, turns in times.items()}
    ratios = {name: value / least["folded"] for name, value in least.items() if name != "folded"}
    return {
        "backbone": backbone,
        "batch": batch,
        "images_per_second": {name: batch / wall for name, (wall, _) in least.items()},
        "times_as_fast": {name: wall for name, (wall, _) in ratios.items()},
        "times_less_processor": {name: cpu for name, (_, cpu) in ratios.items()},
        "seconds": times,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """Renders rows as Markdown."""
    names = list(rows[0]["images_per_second"])
    head = ["network", "batch", *(f"{name}, images/s" for name in names)]
    head += [f"folded / {name} (processor)" for name in rows[0]["times_as_fast"]]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join(["---"] * len(head)) + " |"]
    for one in rows:
        cells = [one["backbone"], str(one["batch"])]
        cells += [f"{one['images_per_second'][name]:.3g}" for name in names]
        cells += [
            f"{ratio:.2f} ({one['times_less_processor'][name]:.2f})"
            for name, ratio in one["times_as_fast"].items()
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main(_: list[str]) -> None:
    """Runs the command from its flags."""
    logging.set_verbosity(logging.WARNING)
    values = flags.FLAGS
    size = QUICK_SIZE if values.quick else FULL_SIZE
    batches = [1] if values.quick else values.batch
    rounds = min(values.rounds, 3) if values.quick else values.rounds
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for backbone in values.backbone:
            contestants = start(backbone, Path(folder), values.threads, values.pytorch)
            for batch in batches:
                rows.append(row(backbone, batch, measure(contestants, batch, size, rounds)))
                print(table(rows[-1:]), flush=True)
            for contestant in contestants.values():
                contestant.stop()
    threads = f"{values.threads} threads" if values.threads else "threads as the libraries choose"
    cores = multiprocessing.cpu_count()
    print(f"\n{size[0]}x{size[1]}, {rounds} rounds, {cores} cores, {threads}")
    print(table(rows))
    if values.json:
        Path(values.json).write_text(json.dumps({"size": size, "rows": rows}, indent=2) + "\n")


def _randomize(network: Any) -> None:
    """Gives batch norm statistics that folding cannot leave out."""
    rng = np.random.default_rng(0)
    for weight in network.weights:
        kind = weight.path.split("/")[-1]
        if kind in ("gamma", "moving_variance"):
            weight.assign(rng.uniform(0.7, 1.3, weight.shape))
        elif kind in ("beta", "moving_mean"):
            weight.assign(rng.normal(0, 0.1, weight.shape))


def _noise(batch: int, size: tuple[int, int]) -> np.ndarray:
    limit = np.iinfo(np.uint8).max + 1
    return np.random.default_rng(0).integers(0, limit, (batch, *size, 3)).astype(np.uint8)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    define_flags()
    app.run(main)
