"""The error of a loss or weight that is not finite, and the file that helps to find out why."""

import json
import math
import os
from typing import Any

import numpy as np
import tensorflow as tf

from c3tf.data.batch import SemiBatch, SupervisedBatch
from c3tf.errors import UserError
from c3tf.io import files, run_files
from c3tf.runs import journal


class NonFiniteError(UserError):
    """A loss or a weight became infinite or not a number."""

    exit_code = 3

    def __init__(self, message: str, step: int, parts: dict[str, float]) -> None:
        """Describes what happened at a step, with the numbers of that step by name."""
        super().__init__(message)
        self.step, self.parts = step, parts

    @classmethod
    def of_loss(cls, step: int, parts: dict[str, float]) -> "NonFiniteError":
        """Makes the error of a step, given its loss and the loss's parts."""
        broken = [f"{name} = {value}" for name, value in parts.items() if not math.isfinite(value)]
        return cls(f"At step {step} the loss is not finite: {', '.join(broken)}.", step, parts)


def write(
    folder: str,
    error: NonFiniteError,
    batch: SupervisedBatch | SemiBatch,
    arrays: dict[str, np.ndarray],
    facts: dict[str, Any],
) -> NonFiniteError:
    """Writes the batch of a step and what was computed from it to `nonfinite-step-N.npz`.

    Args:
        folder: the run directory.
        error: names the step, N, and its loss parts.
        batch: its global batch.
        arrays: further arrays by name.
        facts: JSON data, stored as text under the name `facts`; `newest_checkpoint` is the step
            of the newest checkpoint, or None.

    Returns:
        The error, which also says where the file is and what to do.

    Raises:
        StorageError: it cannot be written.
    """
    path = os.path.join(folder, run_files.nonfinite_batch(error.step))
    held = {name: tf.convert_to_tensor(part).numpy() for name, part in batch._asdict().items()}
    parts = {name: str(value) for name, value in error.parts.items()}
    text = json.dumps({"step": error.step, "error": str(error), "parts": parts, **facts})
    with journal.writing(path), files.whole(path) as file:
        np.savez_compressed(file, facts=np.array(text), **held, **arrays)
    saved = facts["newest_checkpoint"]
    kept = "There is no checkpoint yet." if saved is None else f"Step {saved} is saved."
    return NonFiniteError(
        f"{error} {kept} The step's batch is in {path}; the same command with "
        f"--checkpoint_every=1 also keeps the weights of step {error.step - 1}. To train on, try "
        "a lower --learning_rate in another --output.",
        error.step,
        error.parts,
    )
