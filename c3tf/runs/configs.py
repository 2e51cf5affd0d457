"""The configurations of an experiment's runs: the method's own, and its baseline's."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from c3tf.config import Config, ConfigError, MethodConfig
from c3tf.config.methods import SUPERVISED

BASELINE = SUPERVISED


def configs_of(config: Config) -> list[Config]:
    """Returns the configuration of every run of an experiment, its own one last.

    Raises:
        ConfigError: there is no `--output`.
    """
    runs = [config]
    if config.method.name == BASELINE:
        # Asked for by itself it is the same run as beside its method, in the same folder.
        runs = [baseline_of(config)]
    elif config.training.baseline:
        runs = [baseline_of(config), config]
    return [in_its_folder(run) for run in runs]


def baseline_of(settings: Config) -> Config:
    """Returns the supervised baseline of a run: the same labels, steps and schedule."""
    own: dict[str, Any] = {
        name: getattr(settings.method, name) for name in _read_by_baseline(settings.averaging)
    }
    own["loss_averaging"] = settings.averaging
    # Nothing else of the method matters to it, so none of it ties the baseline's directory.
    return dataclasses.replace(
        settings,
        method=MethodConfig(name=BASELINE, **own),
        training=dataclasses.replace(settings.training, baseline=False, export_weights="student"),
    )


def is_idle(name: str, method: Mapping[str, Any]) -> bool:
    """Tells whether an option of a method means nothing to a run.

    Args:
        name: of the option, in `MethodConfig`.
        method: the run's options of its method, plain data.
    """
    if method.get("name") != BASELINE:
        return False
    return name not in ("name", *_read_by_baseline(method.get("loss_averaging")))


def _read_by_baseline(averaging: str | None) -> tuple[str, ...]:
    """Names what the supervised loss reads of a method's options."""
    groups = ("mix_group",) if averaging == "group" else ()
    return ("loss_averaging", "class_weights", *groups)


def in_its_folder(settings: Config) -> Config:
    """Returns the run with its own directory below `--output`, named after the method.

    So one switch, `--method=supervised`, gives the baseline of a configuration beside it.
    """
    output = settings.training.output
    if not output:
        raise ConfigError("`--output` must name a directory. Received: nothing")
    return settings.with_options(output=os.path.join(output, settings.method.name))
