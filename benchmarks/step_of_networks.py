"""Times the train step of other networks and other methods beside the first one's.

    python benchmarks/step_of_networks.py
    python benchmarks/step_of_networks.py --backbone=resnet50 --head=deeplab_v2 --method=unimatch
    python benchmarks/step_of_networks.py --quick

Rows are c3 with every head on every backbone, then every method with the first of both, random
weights, in the semi-supervised phase. Each takes turns with c3 on the first head and backbone in
one process, and the least of the turns counts; the ratio is what a row costs of that. The first row
is the compared step built once more: how far its ratio is from 1 is what the machine disturbs. The
batch is `train_step`'s of Lite0: 4 + 4 crops of 176x240.
"""

import dataclasses
import gc
import json
import math
import os
from collections.abc import Callable, Sequence

import numpy as np
from absl import app, flags

import side_by_side
import train_step
import train_step_ours
from c3tf.config import methods
from c3tf.config.networks import BACKBONES, HEADS

DEFAULT_BACKBONES = (
    "efficientnet_lite0",
    "mobilenetv3_small",
    "efficientnetv2_b0",
    "resnet50v2",
    "convnext_tiny",
)
OTHERS = tuple(name for name in methods.METHODS if name != methods.C3)


def define_flags() -> None:
    """Defines the benchmark's flags."""
    flags.DEFINE_multi_enum(
        "backbone",
        list(DEFAULT_BACKBONES),
        list(BACKBONES),
        "Backbones; the first is compared with.",
    )
    flags.DEFINE_multi_enum("head", list(HEADS), list(HEADS), "Heads, likewise.")
    flags.DEFINE_multi_enum("method", list(OTHERS), list(OTHERS), "Methods beside c3.")
    flags.DEFINE_integer("turns", 4, "Turns that count.", lower_bound=1)
    flags.DEFINE_bool("quick", False, "Tiny crops and one turn: shows that it runs.")
    flags.DEFINE_string("json", None, "File to write the results to.")


def rows_of(
    backbones: Sequence[str], heads: Sequence[str], others: Sequence[str]
) -> list[tuple[str, str, str]]:
    """Returns backbone, head and method of every row; the first one is compared with."""
    rows = [(backbone, head, methods.C3) for head in heads for backbone in backbones]
    return rows + [(backbones[0], heads[0], method) for method in others]


def step(case: train_step.Case, head: str, method: str) -> tuple[Callable[[], object], int]:
    """Builds a trainer and compiles its step.

    Returns:
        A function that makes one step and waits for it; and the parameters of the network that is
        kept, without the projection head.
    """
    import tensorflow as tf

    from c3tf.nets import deeplab

    model = train_step_ours.build(dataclasses.asdict(case), head=head, method=method)
    batch = train_step_ours.batch_for(model, train_step.draw_batch(case))
    compiled = tf.function(model.train_step, autograph=False)
    kept = [x for x in model.student.variables if not deeplab.is_projection(x)]
    parameters = sum(math.prod(x.shape) for x in kept)
    return lambda: tf.nest.map_structure(np.asarray, compiled(batch)), parameters


def main(_: list[str]) -> None:
    """Runs the benchmark and prints its table in Markdown."""
    options = flags.FLAGS
    case = (train_step.QUICK if options.quick else train_step.CASES)["lite0"]
    rows = rows_of(options.backbone, options.head, options.method)
    first = rows[0]
    reference, _ = step(dataclasses.replace(case, backbone=first[0]), *first[1:])
    found = []
    print("| backbone | head | method | M parameters | s a step | of the first |")
    print("| --- | --- | --- | --- | --- | --- |")
    for backbone, head, method in rows:
        run, parameters = step(dataclasses.replace(case, backbone=backbone), head, method)
        turns = 1 if options.quick else options.turns
        seconds = side_by_side.race({"first": reference, "row": run}, turns)
        ratio = seconds["row"] / seconds["first"]
        cells = f"{parameters / 1e6:.2f} | {seconds['row']:.3f} | {ratio:.2f}"
        print(f"| `{backbone}` | `{head}` | `{method}` | {cells} |", flush=True)
        found.append(
            {"backbone": backbone, "head": head, "method": method, "parameters": parameters}
            | {"seconds": seconds["row"], "ratio": ratio}
        )
        del run
        gc.collect()
    if options.json:
        settings = {"cores": os.cpu_count(), "quick": options.quick}
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump({"settings": settings, "rows": found}, file, indent=1)


if __name__ == "__main__":
    side_by_side.restart_with_malloc()
    define_flags()
    app.run(main)
