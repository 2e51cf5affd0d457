"""Names of the files in a run's directory."""

import re

CONFIG = "config.json"
METRICS = "metrics.jsonl"
EVENTS = "events.jsonl"
RESULTS = "results.json"
CHECKPOINTS, CHECKPOINT_SUFFIX = "checkpoints", ".npz"
BEST_CHECKPOINT = f"best{CHECKPOINT_SUFFIX}"
EVALUATIONS = "evaluations"
EXAMPLES = "examples"
TENSORBOARD = "tensorboard"
SAVED_MODEL = "saved_model"
# What TensorFlow printed below Python.
NATIVE_LOG = "tensorflow.log"
# Of the runs of one command it lies in the last one's directory.
PREDICTIONS = "predictions.png"

_CHECKPOINT = re.compile(rf"^step-(\d{{8}}){re.escape(CHECKPOINT_SUFFIX)}$")
_EVALUATION = re.compile(r"^step-(\d+)-(\w+)\.json$")


def checkpoint(step: int) -> str:
    """Returns the name of a step's file in `CHECKPOINTS`."""
    return f"step-{step:08d}{CHECKPOINT_SUFFIX}"


def checkpoint_step(name: str) -> int | None:
    """Returns the step of a file in `CHECKPOINTS`; None for the best one, and for other files."""
    match = _CHECKPOINT.match(name)
    return int(match[1]) if match else None


def evaluation(step: int, network: str) -> str:
    """Returns the name of the file in `EVALUATIONS` that measures a network after a step."""
    return f"step-{step:08d}-{network}.json"


def evaluated(name: str) -> tuple[int, str] | None:
    """Returns step and network of a file in `EVALUATIONS`; None for other files."""
    match = _EVALUATION.match(name)
    return (int(match[1]), match[2]) if match else None


def nonfinite_batch(step: int) -> str:
    """Returns the name of the file with the batch of a step whose loss was not finite."""
    return f"nonfinite-step-{step:08d}.npz"
