"""Configurations as the commands read them from flags and flag files, many in one process."""

import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from c3tf.config import OPTIONS, Config

_READ = """
import json, sys
from absl import flags
from c3tf.config import absl_flags, flag_files
from c3tf.errors import UserError

absl_flags.define_flags()
answers = []
for words in json.load(sys.stdin):
    for name in flags.FLAGS:
        flags.FLAGS[name].unparse()
    try:
        flags.FLAGS(["train", *flag_files.expand(words)])
        answers.append(absl_flags.from_flags().to_dict())
    except (UserError, flags.Error) as error:
        answers.append(str(error))
json.dump(answers, sys.stdout)
"""


def read(repository: Path, *command_lines: Sequence[str]) -> list[Config | str]:
    """Returns what each command line configures, or the message that refuses it.

    Absl's flags are global, so the parsing has a process of its own.
    """
    done = subprocess.run(
        [sys.executable, "-c", _READ],
        input=json.dumps([list(map(str, words)) for words in command_lines]),
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    )
    answers = json.loads(done.stdout)
    return [Config.from_dict(a) if isinstance(a, dict) else a for a in answers]


def named(repository: Path, path: str) -> dict[str, str]:
    """Returns the flags in one file by name, without those of the files that it includes."""
    lines = (repository / path).read_text().splitlines()
    words = [line[2:].split("=", 1) for line in lines if line.startswith("--")]
    words = [(name, value) for name, value in words if name != "flagfile"]
    assert len(dict(words)) == len(words), f"{path} names a flag twice"
    return dict(words)


def included(text: str) -> list[str]:
    """Returns the paths of the files that the text of a flag file includes."""
    return re.findall(r"^--flagfile=(.*)$", text, re.M)


def value(config: Config, flag: str) -> object:
    """Returns the value of an option by the name of its flag."""
    section, field = OPTIONS[flag]
    return getattr(getattr(config, section), field.name)


def differences(one: Config, other: Config) -> dict[str, object]:
    """Returns the flags in which two configurations differ, with the second one's values."""
    return {flag: value(other, flag) for flag in OPTIONS if value(one, flag) != value(other, flag)}
