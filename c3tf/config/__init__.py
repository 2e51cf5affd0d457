"""The configuration of a run: every option with its default, help, range and meaning."""

from c3tf.config.config import Config, by_flag, with_present_names
from c3tf.config.option import ConfigError, Resume
from c3tf.config.schema import (
    OPTIONS,
    SECTIONS,
    AugmentConfig,
    DataConfig,
    MethodConfig,
    NetworkConfig,
    TrainingConfig,
)
from c3tf.config.values import ALL, parse_labeled, parse_size

__all__ = [
    "ALL",
    "OPTIONS",
    "SECTIONS",
    "AugmentConfig",
    "Config",
    "ConfigError",
    "DataConfig",
    "MethodConfig",
    "NetworkConfig",
    "Resume",
    "TrainingConfig",
    "by_flag",
    "parse_labeled",
    "parse_size",
    "with_present_names",
]
