"""Times the whole semi-supervised train step beside the same step written for PyTorch.

    pip install -r benchmarks/requirements-torch.txt   # or --torch_python of another environment
    python benchmarks/train_step.py
    python benchmarks/train_step.py --cases=lite0 --seconds=300 --json=step.json
    python benchmarks/train_step.py --quick

A step is: moving average, teacher forward, thresholds and confident region, CutMix, student
forward, the three losses, backward, Adam. Compared are `c3tf` and PyTorch in the ways its users
know: `eager`, `channels_last`, and `compile` where a C++ compiler is there (compiling takes
minutes, so only in the cases of `--compile`). All start from the same weights and see the same
batch, and before a time is taken their losses are compared.

Every side has a process of its own, which tells its peak memory. The ways of PyTorch race each
other first; the fastest of them then takes turns with `c3tf`, one step each. The least of the turns
counts, because what disturbs a turn only makes it longer. Where the time goes is measured by itself
afterwards, one part at a time, in the cases of `--parts`.
"""

import dataclasses
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from absl import app, flags

import side_by_side

HERE = Path(__file__).resolve().parent
IGNORE = 255
PARTS = ("teacher", "student forward", "backward", "losses", "optimizer", "rest")
TORCH_WAYS = ("eager", "channels_last", "compile")
# Turns of the ways of PyTorch among themselves; no new one after so many seconds.
HEATS, HEATS_SECONDS = 3, 20.0
# Turns that there are however long they take.
FEWEST_TURNS = 2
# What a processor that computes with bfloat16 has, by its name in /proc/cpuinfo.
BF16_INSTRUCTIONS = re.compile(r"\b(avx512_bf16|amx_bf16|bf16|svebf16)\b")
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
        # Ours keeps freed memory by itself, as the command does.
        malloc = {} if way == "c3tf" else side_by_side.MALLOC
        environment = os.environ | malloc | {"TF_CPP_MIN_LOG_LEVEL": "2"}
        self._process = subprocess.Popen(
            [python, str(HERE / program), way, json.dumps(dataclasses.asdict(case)), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        self._answer()

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
    _define_cases("cases", list(CASES), "Cases to time.")
    _define_cases("parts", ["lite0", "resnet101-1x128"], "Cases whose parts are timed too.")
    _define_cases("compile", ["lite0"], "Cases in which PyTorch may compile.")
    flags.DEFINE_multi_enum(
        "precision",
        None,
        list(TOLERANCES),
        "Precisions of both sides; when absent float32, and mixed_bfloat16 where the processor "
        "has instructions for it.",
    )
    flags.DEFINE_integer("turns", 10, "Turns of each side at most.", lower_bound=FEWEST_TURNS)
    flags.DEFINE_float("seconds", 50.0, "Seconds of a case after which no new turn begins.")
    flags.DEFINE_multi_enum("torch", list(TORCH_WAYS), [*TORCH_WAYS, "none"], "Ways of PyTorch.")
    flags.DEFINE_string("torch_python", sys.executable, "Python that has PyTorch.")
    flags.DEFINE_string("json", None, "File to write the results to.")


def _define_cases(name: str, default: list[str], text: str) -> None:
    flags.DEFINE_list(name, default, text)
    known = ", ".join(CASES)
    flags.register_validator(
        name, lambda names: set(names) <= set(CASES), f"must be names of {known}."
    )


def default_precisions() -> list[str]:
    """Returns float32, and bfloat16 where the processor computes with it."""
    info = Path("/proc/cpuinfo")
    has = info.exists() and BF16_INSTRUCTIONS.search(info.read_text(encoding="utf-8"))
    return list(TOLERANCES) if has else ["float32"]


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


def measure(
    case: Case, turns: int, seconds: float, ways: list[str], torch_python: str, parts: bool
) -> dict[str, Any]:
    """Times one case on all sides.

    Args:
        case: the step.
        turns: turns that count, at most; one before them does not.
        seconds: after which no new turn begins.
        ways: of PyTorch.
        torch_python: the interpreter that has it.
        parts: whether to time the parts of a step too.

    Returns:
        By side: least seconds of a step and of its parts, and peak bytes.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.savez(folder / "batch.npz", **draw_batch(case))
        # Ours is built first: it leaves its weights in the folder for the others.
        sides = [Side(sys.executable, "c3tf", case, folder)]
        results = {"c3tf": {}}
        try:
            for way in ways:
                sides.append(Side(torch_python, way, case, folder))
                results[way] = first_step(sides[-1])
            if len(ways) > 1:
                for way, least in race(sides[1:], HEATS, HEATS_SECONDS):
                    results[way]["seconds"] = least
                sides[1:] = keep_fastest(sides[1:], results)
            results["c3tf"] = first_step(sides[0])
            compare_losses(case, results)
            for way, least in race(sides, turns, seconds):
                results[way]["seconds"] = least
            for side in sides:
                results[side.way]["peak"] = side.ask("peak")["bytes"]
                if parts:
                    results[side.way]["parts"] = side.ask("parts")
        finally:
            for side in sides:
                side.stop()
    return results


def first_step(side: Side) -> dict[str, Any]:
    """Makes the first step of a side; returns its seconds as "first", and its losses."""
    answer = side.ask("step")
    return {"first": answer["seconds"], "losses": answer["losses"]}


def race(sides: list[Side], turns: int, seconds: float) -> list[tuple[str, float]]:
    """Lets sides take turns, one step each, and returns the least seconds of each."""
    taken = {side.way: [] for side in sides}
    start = time.perf_counter()
    for turn in range(turns + 1):
        if turn > FEWEST_TURNS and time.perf_counter() - start > seconds:
            break
        for side in sides:
            taken[side.way].append(side.ask("step")["seconds"])
    # The first turn fills caches.
    return [(way, min(values[1:])) for way, values in taken.items()]


def keep_fastest(sides: list[Side], results: dict[str, Any]) -> list[Side]:
    """Ends all sides but the one whose step took least."""
    fastest = min(sides, key=lambda side: results[side.way]["seconds"])
    for side in sides:
        if side is not fastest:
            results[side.way]["peak"] = side.ask("peak")["bytes"]
            side.stop()
    return [fastest]


def compare_losses(case: Case, results: dict[str, Any]) -> None:
    """Refuses to race sides whose first step does not compute the same losses.

    The contrast is left out: its samples are drawn by each side's own generator.
    """
    ours, *others = results
    for way in others:
        for name in ("supervised", "consistency"):
            mine, theirs = results[ours]["losses"][name], results[way]["losses"][name]
            if abs(theirs - mine) > TOLERANCES[case.precision] * abs(mine):
                raise RuntimeError(f"{way}: {name} is {theirs}, ours is {mine}")


def show(case: Case, results: dict[str, Any]) -> None:
    """Prints the sides of one case and the ratio to the fastest way of PyTorch."""
    print(f"\n{case}")
    print(" | ".join(["side", "step", "first step", "peak", *PARTS]))
    for way, result in results.items():
        cells = [f"{result['seconds']:.3f} s", f"{result['first']:.1f} s"]
        cells.append(f"{result['peak'] / 1e9:.2f} GB")
        cells += [f"{result['parts'][part]:.3f}" for part in PARTS if "parts" in result]
        print(" | ".join([way, *cells]))
    ours, *others = results.values()
    if "parts" in ours:
        rest = sum(ours["parts"][part] for part in ("losses", "rest"))
        share = rest / (sum(ours["parts"].values()) - rest)
        print(f"c3tf: beside networks and Adam {share:.0%} of them")
    if others:
        best = min(others, key=lambda other: other["seconds"])
        print(
            f"PyTorch's best / c3tf: {best['seconds'] / ours['seconds']:.2f} in time, "
            f"{best['peak'] / ours['peak']:.2f} in memory"
        )
    sys.stdout.flush()


def main(_: list[str]) -> None:
    """Runs the benchmark."""
    options = flags.FLAGS
    ways = [way for way in options.torch if way != "none"]
    compiles = any(map(shutil.which, ("c++", "g++", "clang++")))
    cases = QUICK if options.quick else {name: CASES[name] for name in options.cases}
    rows = []
    for name, precision in itertools.product(cases, options.precision or default_precisions()):
        case = dataclasses.replace(cases[name], precision=precision)
        results = measure(
            case,
            FEWEST_TURNS if options.quick else options.turns,
            options.seconds,
            [w for w in ways if w != "compile" or (compiles and name in options.compile)],
            options.torch_python,
            name in options.parts,
        )
        show(case, results)
        rows.append({"case": dataclasses.asdict(case), "sides": results})
    if options.json:
        settings = {"cores": os.cpu_count(), "malloc": side_by_side.MALLOC, "quick": options.quick}
        text = json.dumps({"settings": settings, "rows": rows}, indent=1)
        Path(options.json).write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    define_flags()
    app.run(main)
