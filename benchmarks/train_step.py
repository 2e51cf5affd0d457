"""Times the whole semi-supervised train step beside the same step written for PyTorch.

    pip install -r benchmarks/requirements-torch.txt   # or --torch_python of another environment
    python benchmarks/train_step.py
    python benchmarks/train_step.py --quick --json=step.json

A step is: moving average, teacher forward, thresholds and confident region, CutMix, student
forward, the three losses, backward, Adam. Compared are `c3tf` and PyTorch in the ways its users
know: `eager`, `channels_last`, and `compile` where a C++ compiler is there; the fastest counts.
All start from the same weights and see the same batch, and before a time is taken their losses are
compared.

Every side has a process of its own, which tells its peak memory; they take turns, one step each,
and the least of the turns counts, because what disturbs a turn only makes it longer. Where the time
goes is measured by itself afterwards, one part at a time.
"""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import side_by_side
from absl import app, flags

HERE = Path(__file__).resolve().parent
IGNORE = 255
PARTS = ("teacher", "student forward", "backward", "losses", "optimizer", "rest")
TORCH_WAYS = ("eager", "channels_last", "compile")
# Losses of both sides, relative; in half precision the networks agree to two digits.
TOLERANCES = {"float32": 2e-3, "mixed_bfloat16": 5e-2}


@dataclasses.dataclass(frozen=True)
class Case:
    """One step to time.

    Attributes:
        backbone: as `--backbone`.
        output_stride: as `--output_stride`.
        pairs: labeled images, and as many unlabeled ones.
        height: rows of the crop.
        width: columns of the crop.
        num_classes: C.
        precision: as `--precision`.
    """

    backbone: str
    output_stride: int
    pairs: int
    height: int
    width: int
    num_classes: int
    precision: str = "float32"

    def __str__(self) -> str:
        size = f"{self.pairs} + {self.pairs} at {self.height}x{self.width}"
        return f"{self.backbone}, stride {self.output_stride}, {size}, {self.precision}"


CASES = {
    "lite0": Case("efficientnet_lite0", 16, 4, 176, 240, 11),
    "resnet101-1x128": Case("resnet101", 8, 1, 128, 256, 19),
    "resnet101-2x128": Case("resnet101", 8, 2, 128, 256, 19),
    "resnet101-1x256": Case("resnet101", 8, 1, 256, 512, 19),
    "resnet101-2x256": Case("resnet101", 8, 2, 256, 512, 19),
}
QUICK = {"lite0": Case("efficientnet_lite0", 16, 2, 32, 64, 11)}


class Side:
    """A process that makes one step whenever it is told to."""

    def __init__(self, python: str, way: str, case: Case, folder: Path) -> None:
        program = "train_step_ours.py" if way == "c3tf" else "train_step_torch.py"
        self.way = way
        environment = os.environ | side_by_side.MALLOC | {"TF_CPP_MIN_LOG_LEVEL": "2"}
        self._process = subprocess.Popen(
            [python, str(HERE / program), way, json.dumps(dataclasses.asdict(case)), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self.ready = self._answer()

    def ask(self, question: str) -> Any:
        """Sends a line and returns the JSON of the answer."""
        self._process.stdin.write(question + "\n")
        self._process.stdin.flush()
        return self._answer()

    def stop(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> Any:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"The process of {self.way!r} ended: {self._process.wait()}")
        return json.loads(line)


def define_flags() -> None:
    """Defines the benchmark's flags."""
    flags.DEFINE_bool("quick", False, "One tiny case and few turns: shows that it runs.")
    flags.DEFINE_multi_enum("case", None, list(CASES), "Cases; all when absent.")
    flags.DEFINE_multi_enum(
        "precision", ["float32", "mixed_bfloat16"], list(TOLERANCES), "Precisions of both sides."
    )
    flags.DEFINE_integer("turns", 10, "Turns of each side.", lower_bound=1)
    flags.DEFINE_multi_enum("torch", list(TORCH_WAYS), [*TORCH_WAYS, "none"], "Ways of PyTorch.")
    flags.DEFINE_string("torch_python", sys.executable, "Python that has PyTorch.")
    flags.DEFINE_string("json", None, "File to write the results to.")


def draw_batch(case: Case) -> dict[str, np.ndarray]:
    """Draws a batch as the input pipeline makes it, the images in coarse blobs."""
    rng = np.random.default_rng(0)
    rows, height, width = case.pairs, case.height, case.width
    cells = (rows, -(-height // 8), -(-width // 8))

    def full_size(x: np.ndarray) -> np.ndarray:
        return x.repeat(8, axis=1).repeat(8, axis=2)[:, :height, :width]

    y = full_size(rng.integers(0, case.num_classes, cells).astype(np.uint8))
    y[rng.random(y.shape) < 0.1] = IGNORE
    # The rectangles of CutMix, half of the image each: top, left, height, width.
    tall = 0.5 ** rng.random(rows)
    size = np.round(np.stack([tall * height, 0.5 / tall * width], axis=1))
    corner = np.round((np.array([height, width]) - size) * rng.random((rows, 2)))
    return {
        "x": full_size(rng.integers(0, 256, (*cells, 3)).astype(np.uint8)),
        "y": y,
        "u_w": full_size(rng.integers(0, 256, (*cells, 3)).astype(np.uint8)),
        "u_s": full_size(rng.integers(0, 256, (*cells, 3)).astype(np.uint8)),
        "u_valid": rng.random((rows, height, width)) < 0.95,
        "mix_order": rng.permutation(2 * rows).reshape(rows, 2).astype(np.int32),
        "mix_boxes": np.concatenate([corner, size], axis=1).astype(np.int32),
        "seed": rng.integers(0, 2**31, (rows, 2)),
    }


def measure(case: Case, turns: int, ways: list[str], torch_python: str) -> dict[str, Any]:
    """Times one case on all sides.

    Args:
        case: the step.
        turns: turns that count; one before them does not.
        ways: of PyTorch.
        torch_python: the interpreter that has it.

    Returns:
        By side: least seconds of a step and of its parts, and peak bytes.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "batch.npz", **draw_batch(case))
        # Ours comes first: it leaves its weights in the folder for the others.
        sides = [Side(sys.executable, "c3tf", case, folder)]
        sides += [Side(torch_python, way, case, folder) for way in ways]
        try:
            compare_losses(case, sides)
            seconds = {side.way: [] for side in sides}
            for _ in range(turns + 1):
                for side in sides:
                    seconds[side.way].append(side.ask("step")["seconds"])
            results = {
                side.way: {
                    "seconds": min(seconds[side.way][1:]),
                    "first": side.ready["first"],
                    "peak": side.ask("peak")["bytes"],
                }
                for side in sides
            }
            for side in sides:
                results[side.way]["parts"] = side.ask("parts")
        finally:
            for side in sides:
                side.stop()
    return results


def compare_losses(case: Case, sides: list[Side]) -> None:
    """Refuses to race sides whose first step does not compute the same losses.

    The contrast is left out: its samples are drawn by each side's own generator.
    """
    ours = sides[0].ready["losses"]
    for side in sides[1:]:
        for name in ("supervised", "consistency"):
            theirs = side.ready["losses"][name]
            if abs(theirs - ours[name]) > TOLERANCES[case.precision] * abs(ours[name]):
                raise RuntimeError(f"{side.way}: {name} is {theirs}, ours is {ours[name]}")


def show(case: Case, results: dict[str, Any]) -> None:
    """Prints the sides of one case and the ratio to the fastest way of PyTorch."""
    print(f"\n{case}")
    print(" | ".join(["side", "step", "first step", "peak", *PARTS]))
    for way, result in results.items():
        cells = [f"{result['seconds']:.3f} s", f"{result['first']:.1f} s"]
        cells.append(f"{result['peak'] / 1e9:.2f} GB")
        cells += [f"{result['parts'][part]:.3f}" for part in PARTS]
        print(" | ".join([way, *cells]))
    if len(results) > 1:
        ours, *others = results.values()
        seconds, peak = (min(o[key] for o in others) for key in ("seconds", "peak"))
        print(
            f"PyTorch's best / c3tf: {seconds / ours['seconds']:.2f} in time, "
            f"{peak / ours['peak']:.2f} in memory",
            flush=True,
        )


def main(_: list[str]) -> None:
    """Runs the benchmark."""
    options = flags.FLAGS
    cases = QUICK if options.quick else CASES
    ways = [way for way in options.torch if way != "none"]
    if "compile" in ways and not any(map(shutil.which, ("c++", "g++", "clang++"))):
        ways.remove("compile")
    rows = []
    for name in cases if options.quick else (options.case or cases):
        for precision in options.precision:
            case = dataclasses.replace(cases[name], precision=precision)
            turns = 2 if options.quick else options.turns
            results = measure(case, turns, ways, options.torch_python)
            show(case, results)
            rows.append({"case": dataclasses.asdict(case), "sides": results})
    if options.json:
        settings = {"cores": os.cpu_count(), "malloc": side_by_side.MALLOC, "quick": options.quick}
        text = json.dumps({"settings": settings, "rows": rows}, indent=1)
        Path(options.json).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    define_flags()
    app.run(main)
