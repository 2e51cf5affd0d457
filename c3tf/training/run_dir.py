"""A run directory: it belongs to one configuration and is never overwritten by another."""

import json
import os
from typing import Any

from c3tf.config import Config
from c3tf.errors import UserError
from c3tf.evaluation import writers
from c3tf.versions import versions

CONFIG = "config.json"
# Options that may change between a run and its continuation: they decide where things are and
# how often something is written, not what is learned.
_FREE = frozenset(
    {
        "data",
        "prepare",
        "output",
        "baseline",
        "log_every",
        "checkpoint_every",
        "evaluate_every",
        "keep_checkpoints",
        "export_weights",
        "strategy",
        "replicas",
    }
)


class RunDirError(UserError):
    """A directory cannot be used for this run."""


def check(output: str, config: Config) -> None:
    """Checks that a directory is free, or belongs to a run of this configuration.

    Args:
        output: the run directory.
        config: the run's configuration.

    Raises:
        RunDirError: the directory holds something else, or a run of another configuration.
    """
    _check(output, {"config": config.to_dict()})


def claim(output: str, config: Config, split_hash: str, data_hash: str) -> None:
    """Makes a directory this run's, or checks that it is already.

    Args:
        output: the run directory.
        config: the run's configuration, written there in full.
        split_hash: identity of the labeled/unlabeled split.
        data_hash: identity of the data set's contents.

    Raises:
        RunDirError: the directory holds something else, or a run of another configuration.
    """
    identity = {"config": config.to_dict(), "split": split_hash, "data": data_hash}
    _check(output, identity)
    path = os.path.join(output, CONFIG)
    if os.path.exists(path):
        return
    facts = {**identity, "versions": versions()}
    try:
        os.makedirs(output, exist_ok=True)
        writers.write_json(path, facts)
    except OSError as error:
        raise RunDirError(f"Cannot write to {output!r}: {error}") from error


def evaluation_path(output: str, step: int, weights: str) -> str:
    """Returns where a run keeps what was measured of one of its networks after a step."""
    return os.path.join(output, "evaluations", f"step-{step:08d}-{weights}.json")


def _check(output: str, facts: dict[str, Any]) -> None:
    """Refuses a directory that holds something else than what `facts` describe."""
    if os.path.exists(output) and not os.path.isdir(output):
        raise RunDirError(f"`--output` must be a directory, but {output!r} is a file.")
    path = os.path.join(output, CONFIG)
    if os.path.exists(path):
        _check_same(output, _read(path), facts)
    elif os.path.isdir(output) and os.listdir(output):
        raise RunDirError(
            f"{output!r} is not empty and holds no run. Choose another --output, or remove it."
        )


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            facts = json.load(file)
        if not isinstance(facts, dict) or not isinstance(facts.get("config"), dict):
            raise ValueError("it is no run's configuration")
    except (OSError, ValueError) as error:
        raise RunDirError(f"{path} cannot be read: {error}. Choose another --output.") from error
    return facts


def _check_same(output: str, before: dict[str, Any], now: dict[str, Any]) -> None:
    differences = [
        f"--{name}: {before['config'].get(section, {}).get(name)!r} then, {value!r} now"
        for section, options in now["config"].items()
        for name, value in options.items()
        if name not in _FREE and before["config"].get(section, {}).get(name) != value
    ]
    differences += [
        f"{name}: {before.get(name)} then, {now[name]} now"
        for name in ("split", "data")
        if name in now and before.get(name) != now[name]
    ]
    if differences:
        raise RunDirError(
            f"{output!r} holds a run of another configuration ({'; '.join(differences)}). "
            "Choose another --output, or the same flags to continue that run."
        )
