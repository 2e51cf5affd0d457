"""A run directory: it belongs to one configuration and is never overwritten by another."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from typing import Any

from c3tf.config import OPTIONS, Config, Resume, with_present_names
from c3tf.errors import UserError
from c3tf.io import json_files, leftovers, locks, run_files, schema
from c3tf.io.run_files import CONFIG, EVALUATIONS, evaluation
from c3tf.runs import configs, journal
from c3tf.versions import versions

# What `config.json` holds.
FACTS = schema.record(
    {"config": schema.named(schema.thing)},
    {"split": schema.text, "data": schema.text, "versions": schema.named(schema.text)},
)
# All that a run has before its first checkpoint: nothing to go on from, so nothing to protect.
_OF_A_BEGINNING = frozenset(
    {
        CONFIG,
        run_files.CHECKPOINTS,
        run_files.EVENTS,
        run_files.METRICS,
        run_files.NATIVE_LOG,
        run_files.TENSORBOARD,
    }
)


class RunDirError(UserError):
    """A directory cannot be used for this run."""


@dataclasses.dataclass(frozen=True)
class Change:
    """An option whose value is not the one a run was begun with."""

    name: str
    before: Any
    now: Any

    def __str__(self) -> str:
        return f"{self.name}: {_plain(self.before)} -> {_plain(self.now)}"


def check(output: str, config: Config, **hashes: str) -> None:
    """Checks that a directory is free, or belongs to a run of this configuration.

    Args:
        output: the run directory.
        config: the run's configuration.
        **hashes: those of its `split` and its `data`, where they are known.

    Raises:
        RunDirError: the directory holds something else, or a run of another configuration that
            has a checkpoint and whose differences `--allow_changed_flags` does not cover.
    """
    _check(output, {"config": config.to_dict(), **hashes}, config.training.allow_changed_flags)


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[Change]:
    """Lists what decides a run's weights and is not what it was.

    An option that came after the run has its default there, which is what c3tf did before. One that
    means nothing to the run does not count.

    Args:
        before: the run's `"config"`, as `Config.to_dict` gives it, and the hashes of its
            `"split"` and its `"data"`.
        now: the same; a hash that is not known is left out.
    """
    earlier, default = with_present_names(before["config"]), Config().to_dict()
    method = now["config"]["method"]
    found = [
        Change(f"--{flag}", was, value)
        for flag, (section, field) in OPTIONS.items()
        if field.metadata["resume"] is not Resume.FREE
        and not (section == "method" and configs.is_idle(field.name, method))
        and (was := earlier.get(section, {}).get(field.name, default[section][field.name]))
        != (value := now["config"][section][field.name])
    ]
    return found + [
        Change(name, before.get(name), now[name])
        for name in ("split", "data")
        if name in now and before.get(name) != now[name]
    ]


def claim(output: str, config: Config, split_hash: str, data_hash: str) -> list[Change]:
    """Makes a directory this run's, or checks that it is already.

    Args:
        output: the run directory.
        config: the run's configuration, written there in full.
        split_hash: identity of the labeled/unlabeled split.
        data_hash: identity of the data set's contents.

    Returns:
        What differs from the configuration that the run was begun with, where that is allowed or
        the run has no checkpoint yet: `record` makes it the run's own, once it has proved fit.

    Raises:
        RunDirError: the directory holds something else, or a run of another configuration.
    """
    identity = {"config": config.to_dict(), "split": split_hash, "data": data_hash}
    changes = _check(output, identity, config.training.allow_changed_flags)
    if not os.path.exists(os.path.join(output, CONFIG)):
        record(output, config, split_hash, data_hash)
    return changes


def record(output: str, config: Config, split_hash: str, data_hash: str) -> None:
    """Writes a run's configuration and identity, see `claim`, to its directory.

    Raises:
        RunDirError: the directory cannot be written to.
    """
    identity = {"config": config.to_dict(), "split": split_hash, "data": data_hash}
    try:
        json_files.write(os.path.join(output, CONFIG), {**identity, "versions": versions()})
    except OSError as error:
        raise RunDirError(f"Cannot write to {output!r}: {error}") from error


def below(path: str) -> list[str]:
    """Returns the run directories right below a path, in the order of their names."""
    names = sorted(os.listdir(path)) if os.path.isdir(path) else []
    found = [os.path.join(path, name) for name in names]
    return [run for run in found if os.path.isfile(os.path.join(run, CONFIG))]


def evaluation_path(output: str, step: int, weights: str) -> str:
    """Returns where a run keeps what was measured of one of its networks after a step."""
    return os.path.join(output, EVALUATIONS, evaluation(step, weights))


@contextlib.contextmanager
def locked(output: str) -> Iterator[None]:
    """Keeps other processes out of a run directory, and removes what a killed one left half-done.

    Args:
        output: the run directory, which is made where it is missing. The lock lies on the
            directory itself and is gone with the process, however that ends.

    Raises:
        RunDirError: another process trains there, or the directory cannot be made.
    """
    try:
        os.makedirs(output, exist_ok=True)
    except OSError as error:
        raise RunDirError(f"Cannot write to {output!r}: {error}") from error
    with locks.alone(output, _busy(output), "start only one run there."):
        leftovers.sweep(output)
        yield


def check_unlocked(output: str) -> None:
    """Refuses a directory in which another process trains just now."""
    if locks.is_held(output):
        raise _busy(output)


def _busy(output: str) -> RunDirError:
    return RunDirError(
        f"Another process trains in {output!r}. Wait for it, or choose another --output."
    )


def _check(output: str, facts: dict[str, Any], allow: bool) -> list[Change]:
    """Refuses a directory that holds something else than what `facts` describe."""
    if os.path.exists(output) and not os.path.isdir(output):
        raise RunDirError(f"`--output` must be a directory, but {output!r} is a file.")
    path = os.path.join(output, CONFIG)
    if os.path.exists(path):
        begun = _read(path)
        changes = differences(begun, facts)
        # Of a run that goes on as it was begun nothing needs to be looked at.
        if changes and _has_something_to_lose(output, begun["config"]):
            _refuse(output, changes, allow)
        return changes
    # A run that was killed while it wrote its first file has left only a part of it.
    if os.path.isdir(output) and not all(map(leftovers.is_leftover, os.listdir(output))):
        raise RunDirError(
            f"{output!r} is not empty and holds no run. Choose another --output, or remove it."
        )
    return []


def _has_something_to_lose(output: str, begun: dict[str, Any]) -> bool:
    """Whether a run's directory holds more than what is there before the first checkpoint.

    A run that has trained for longer had one. Where none is found, its disk is not mounted, say.
    """
    folder = os.path.join(output, run_files.CHECKPOINTS)
    if os.path.lexists(folder) and not os.path.isdir(folder):
        return True
    default = Config().training.checkpoint_every
    first = begun.get("training", {}).get("checkpoint_every", default)
    entries = journal.read(os.path.join(output, run_files.METRICS))
    if any(entry.get("step", 0) >= first for entry in entries):
        return True
    names = [*os.listdir(output), *_in_checkpoints(output)]
    return any(name not in _OF_A_BEGINNING and not leftovers.is_leftover(name) for name in names)


def _in_checkpoints(output: str) -> list[str]:
    folder = os.path.join(output, run_files.CHECKPOINTS)
    return os.listdir(folder) if os.path.isdir(folder) else []


def _read(path: str) -> dict[str, Any]:
    text = "{path} cannot be read: {reason}. Choose another --output."
    return json_files.read(path, check=FACTS, error=RunDirError, text=text)


def _refuse(output: str, changes: list[Change], allow: bool) -> None:
    listed = "; ".join(map(str, changes))
    if not any(name.endswith(run_files.CHECKPOINT_SUFFIX) for name in _in_checkpoints(output)):
        raise RunDirError(
            f"{output!r} holds a run of another configuration ({listed}), of which no checkpoint "
            "is found to go on from. Choose another --output, or remove the directory if nothing "
            "in it is needed."
        )
    if not allow:
        raise RunDirError(
            f"{output!r} holds a run of another configuration ({listed}). Choose another "
            "--output, the same flags to continue that run, or add --allow_changed_flags to "
            "continue it with the new ones."
        )
    if fixed := [str(change) for change in changes if _is_fixed(change)]:
        raise RunDirError(
            f"{output!r} holds a run of another network ({'; '.join(fixed)}), which "
            "--allow_changed_flags cannot continue. Choose another --output."
        )


def _is_fixed(change: Change) -> bool:
    option = OPTIONS.get(change.name.removeprefix("--"))
    return option is not None and option.field.metadata["resume"] is Resume.NEVER


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(map(str, value)) or "(empty)"
    return "(not set)" if value is None or value == "" else str(value)
