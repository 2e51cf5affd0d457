"""What the sides of `train_step` share: they answer its questions, one line each."""

import json
import sys
import time
from collections.abc import Callable, Mapping

import side_by_side


def least(run: Callable[[], object], repeats: int = 3) -> float:
    """Returns the least seconds of a function over some repetitions, the first not counted."""
    return side_by_side.race({"run": run}, repeats)["run"]


def serve(step: Callable[[], dict[str, float]], parts: Callable[[], Mapping[str, float]]) -> None:
    """Says that all is built, then answers the questions that come in.

    Args:
        step: makes one step and returns its losses.
        parts: returns the seconds of the parts of a step.
    """
    _say({})
    for line in sys.stdin:
        question = line.strip()
        if question == "step":
            start = time.perf_counter()
            losses = step()
            _say({"seconds": time.perf_counter() - start, "losses": losses})
        elif question == "peak":
            _say({"bytes": side_by_side.peak_memory()})
        elif question == "parts":
            _say(dict(parts()))


def _say(answer: dict) -> None:
    print(json.dumps(answer), flush=True)
