"""The configuration of a run: all options, checked, to and from plain data."""

import dataclasses
from typing import Any

from c3tf.config.checks import check_combination
from c3tf.config.option import ConfigError, check_values
from c3tf.config.renamed import new_name
from c3tf.config.schema import OPTIONS, SECTIONS, Sections


@dataclasses.dataclass(frozen=True)
class Config(Sections):
    """Everything that decides what a run does.

    Raises:
        ConfigError: a value is out of range, or two values contradict each other.
    """

    def __post_init__(self) -> None:
        for section in SECTIONS:
            check_values(getattr(self, section))
        check_combination(self)

    def to_dict(self) -> dict[str, dict[str, Any]]:
        """Returns plain data that `from_dict` turns back into an equal configuration."""
        plain = dataclasses.asdict(self)
        return {
            section: {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in options.items()
            }
            for section, options in plain.items()
        }

    @classmethod
    def from_dict(cls, data: dict[str, dict[str, Any]]) -> "Config":
        """Builds a configuration from what `to_dict` returned, now or in an older version.

        Raises:
            ConfigError: an option is unknown, or a value is refused.
        """
        sections = {}
        for section, options in with_present_names(data).items():
            if section not in SECTIONS:
                raise ConfigError(f"Unknown section of the configuration: {section!r}.")
            names = {field.name for field in dataclasses.fields(SECTIONS[section])}
            if unknown := sorted(set(options) - names):
                raise ConfigError(f"Unknown options in section {section!r}: {unknown}.")
            sections[section] = SECTIONS[section](
                **{k: tuple(v) if isinstance(v, list) else v for k, v in options.items()}
            )
        return cls(**sections)

    def with_options(self, **options: Any) -> "Config":
        """Returns a copy with options, of whichever section, replaced; named as their flags."""
        data = self.to_dict()
        for name, value in options.items():
            if name not in OPTIONS:
                raise ConfigError(f"Unknown option: {name!r}.")
            section, field = OPTIONS[name]
            data[section][field.name] = value
        return Config.from_dict(data)


def with_present_names(data: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Translates the configuration of an older run, as `Config.to_dict` gave it then.

    Returns:
        The same values under the names of today; what is unknown stays as it is.
    """
    return {
        section: {_present_name(section, name): value for name, value in options.items()}
        for section, options in data.items()
    }


def by_flag(data: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Returns the values of a configuration's plain data under the names of their flags."""
    flags = {(at.section, at.field.name): flag for flag, at in OPTIONS.items()}
    return {
        flags.get((section, name), name): value
        for section, options in with_present_names(data).items()
        for name, value in options.items()
    }


def _present_name(section: str, name: str) -> str:
    own = {flag: at.field.name for flag, at in OPTIONS.items() if at.section == section}
    if name in own.values():
        return name
    # The method's name bore the name of its flag once.
    return own.get(name) or own.get(new_name(name, own) or "", name)
