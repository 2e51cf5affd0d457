"""What a run needs before its first step: the embedded data, the split, durations that fit."""

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from c3tf.config import Config, ConfigError, parse_labeled
from c3tf.data import manifest as manifests
from c3tf.data import splits
from c3tf.errors import UserError
from c3tf.io import native_log

# The folder that holds this package and the data tools.
_ROOT = Path(__file__).resolve().parents[2]
# The raw scenes lie beside the data set made from them, under its name with this ending.
_RAW = "_raw"


def ensure_data(config: Config) -> None:
    """Runs the commands that make `--data`, where `--prepare` asks for it and it is absent.

    They run as commands, not as functions: their workers then start without TensorFlow, and the
    user sees what to type for other data.

    Raises:
        UserError: one of them failed, or `--data` is empty.
    """
    data = config.data.data
    if config.data.prepare == "none" or os.path.exists(os.path.join(data, manifests.FILE_NAME)):
        return
    if not data:
        raise UserError("`--data` must name the directory that --prepare makes. Received: nothing")
    raw = os.path.normpath(data) + _RAW
    if not os.path.exists(raw):
        _run("data_tools.street_scenes", f"--output={raw}")
    _run("data_tools.bdd100k", f"--source={raw}", f"--output={data}")


def open_split(manifest: manifests.Manifest, config: Config) -> splits.Split:
    """Reads or draws the labeled/unlabeled split of a run.

    Raises:
        DataError: it does not fit the data set.
    """
    names = manifest.names("train")
    if config.data.labeled_list:
        return splits.read(
            config.data.labeled_list, names, str(manifest.options.get("image_suffix", ""))
        )
    count = parse_labeled(config.data.labeled, len(names))
    return splits.draw(names, count, config.data.split_seed)


def check_continues(config: Config, step: int, has_teacher: bool) -> None:
    """Refuses durations that a run has left behind.

    Args:
        config: the run's configuration, perhaps with changed flags.
        step: steps that the run has done.
        has_teacher: whether its semi-supervised phase has begun.

    Raises:
        ConfigError: names the flag and the least or largest value.
    """
    if step > config.training.steps:
        raise ConfigError(
            f"`--steps` must be at least {step}, which the run has done. "
            f"Received: --steps={config.training.steps}"
        )
    if has_teacher and step < config.first_semi_step:
        method = config.method
        share = f" --supervised_share={method.supervised_share}"
        share = share if method.supervised_share != 1 else ""
        times = " times `--supervised_share`" if share else ""
        raise ConfigError(
            f"`--supervised_steps`{times} must be at most {step}: the run's teacher has begun. "
            f"Received: --supervised_steps={method.supervised_steps}{share}"
        )


def check_class_weights(
    config: Config, before: Sequence[float] | None, now: np.ndarray | None
) -> bool:
    """Refuses a file of class weights whose contents are not those the run was begun with.

    Args:
        config: the run's configuration.
        before: the weights of the checkpoint that the run goes on from.
        now: those of today.

    Returns:
        Whether they differ, where that is allowed.

    Raises:
        ConfigError: they differ, and `--allow_changed_flags` does not allow it.
    """
    same = now is None if before is None else now is not None and list(before) == now.tolist()
    if not same and not config.training.allow_changed_flags:
        raise ConfigError(
            "`--class_weights` must be those that the run was begun with, or go with "
            "`--allow_changed_flags`; the weights have changed. "
            f"Received: --class_weights={config.method.class_weights}"
        )
    return not same


def _run(module: str, *arguments: str) -> None:
    """Runs a command of this project, and prints how it was called."""
    print("$", "python -m", module, *arguments, flush=True)
    command = [sys.executable, "-m", module, *arguments]
    done = subprocess.run(command, env=_environment(), stderr=native_log.past_the_log())
    if done.returncode:
        raise UserError(f"`python -m {module} {' '.join(arguments)}` failed; see above.")


def _environment() -> dict[str, str]:
    """Returns the environment of a process that is to find this project's modules.

    Only a checkout has to be named. A folder of installed packages must not be: Python would look
    there before its own library, which old backports (`typing`) then stand in for.
    """
    environment = dict(os.environ)
    if (_ROOT / "pyproject.toml").is_file():
        held = environment.get("PYTHONPATH")
        environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(_ROOT), held]))
    return environment
