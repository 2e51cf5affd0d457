"""The configuration of a run: every option with its default, help, range and meaning."""

from c3tf.config.checks import ALL, ConfigError
from c3tf.config.schema import (
    SECTIONS,
    AugmentConfig,
    Config,
    DataConfig,
    MethodConfig,
    NetworkConfig,
    TrainingConfig,
)

__all__ = [
    "ALL",
    "SECTIONS",
    "AugmentConfig",
    "Config",
    "ConfigError",
    "DataConfig",
    "MethodConfig",
    "NetworkConfig",
    "TrainingConfig",
]
