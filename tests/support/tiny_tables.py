"""Tables over a tiny experiment file, and runs that are finished without any training."""

import json
import os
from pathlib import Path

import numpy as np

from c3tf.config import Config
from c3tf.data import manifest as manifests
from c3tf.evaluation.result import EvaluationResult
from c3tf.io import json_files, run_files
from c3tf.labels import LabelMap
from c3tf.runs import configs, run_dir
from c3tf.runs.tables import table_file
from c3tf.runs.tables.plan import Job
from c3tf.runs.tables.table_file import Table

LABEL_MAP = LabelMap(
    "three", ("road", "tree", "sky"), tuple((50 * i, 9, 9) for i in range(3)), tuple(range(3))
)
FLAGS = "--data=somewhere/tiny\n--steps=40\n--supervised_steps=10%\n--labeled=8\n"
TEXT = """
title = "Tiny"
flagfile = "tiny.flags"
baseline = "Baseline"
seeds = [{ split_seed = 1, seed = 0 }, { split_seed = 2, seed = 1 }]
[columns]
few = { labeled = 2 }
many = { labeled = 8 }
[rows]
Baseline = { method = "supervised" }
Ours = {}
[paper.Ours]
few = "50.5 ± 0.25 (+4.0)"
"""


def write(folder: Path, text: str = TEXT, name: str = "tiny") -> str:
    """Writes a table's file, with its experiment file beside it; returns its path."""
    (folder / "tiny.flags").write_text(FLAGS)
    path = folder / f"{name}.toml"
    path.write_text(text)
    return str(path)


def read(folder: Path, text: str = TEXT, name: str = "tiny") -> Table:
    """Writes a table's file and reads it."""
    return table_file.read(write(folder, text, name))


def result(seed: int, step: int) -> EvaluationResult:
    """Makes up an evaluation."""
    counts = np.random.default_rng(seed).integers(1, 100, (3, 3))
    return EvaluationResult(counts, LABEL_MAP, 3, {"step": step}, confident=counts // 2)


def finish(job: Job, seed: int = 0, seconds: float = 3.6) -> dict[str, EvaluationResult]:
    """Writes what a run leaves that has trained and is measured; returns its evaluations."""
    found = write_results(configs.in_its_folder(job.config), seed, seconds)
    if job.confident:
        json_files.write(job.confident_file, found["teacher"].to_json())
    return found


def write_results(
    config: Config, seed: int = 0, seconds: float = 3.6
) -> dict[str, EvaluationResult]:
    """Writes what the training of a run leaves; returns its evaluations."""
    steps, names = config.training.steps, ["student"]
    if config.method.name == "c3":
        names.append("teacher")
    found = {name: result(100 * seed + i, steps) for i, name in enumerate(names)}
    folder = Path(config.training.output)
    if not (folder / run_files.CONFIG).exists():
        data = config.data.data
        described = os.path.exists(os.path.join(data, manifests.FILE_NAME))
        digest = manifests.load(data).digest() if described else "da7a"
        run_dir.record(str(folder), config, "5b117", digest)
    json_files.write(folder / "results.json", {n: r.to_json() for n, r in found.items()})
    entries = [{"step": 1}, {"step": steps, "seconds_per_step": seconds}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(e) + "\n" for e in entries))
    return found
