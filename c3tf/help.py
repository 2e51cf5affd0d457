"""The help texts of commands: what a command is for, an example, and its flags in groups."""

import re
import shutil
import textwrap
from collections.abc import Iterable, Sequence

from absl import flags

# Flags of absl itself.
_FOREIGN = "absl."
_OWN = "Flags"
_ANSWERED = {
    "flagfile": "File with flags, one a line; `configs/...` come with c3tf.",
    "verbosity": "0 shows what TensorFlow prints below Python as it comes.",
    "helpshort": "This text, the flags that people use first.",
    "helpfull": "Every flag.",
    "version": "The version.",
}
_INDENT = " " * 6
_VALUES = re.compile(r"^<[^>]*>: ")
# What absl says of a flag that has to be given.
_MISSING = "must have a value other than None"


def example(document: str, program: str) -> str:
    """Returns the first example in a command's docstring, called as the user called the command.

    Args:
        document: the docstring; an example is a line that begins with `python -m`, and those that
            continue it behind a backslash.
        program: what the user typed, such as `c3tf train`.
    """
    lines = (line.split() for line in document.replace("\\\n", " ").splitlines())
    found = next((words for words in lines if words[:2] == ["python", "-m"]), [])
    return " ".join([program, *found[3:]]) if found else ""


def text(document: str, program: str, first: Sequence[str], full: bool) -> str:
    """Lays out the help of a command whose flags are defined.

    Args:
        document: its docstring.
        program: what the user typed.
        first: the grouped flags that are shown when `full` is false; all others have no group.
        full: shows every flag.
    """
    own, groups, foreign = [], {}, []
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        if name != flag.name:
            continue
        if group := getattr(flag, "group", ""):
            groups.setdefault(group, []).append(flag)
        elif _is_foreign(flag):
            foreign.append(flag)
        else:
            own.append(flag)
    title = document.strip().partition("\n")[0]
    lines = [title, "", f"  {example(document, program) or program}"]
    for name in first if not full else ():
        own.append(flags.FLAGS[name])
    shown = {_OWN: own, **(groups if full else {})}
    for heading, members in shown.items():
        if members:
            lines += ["", f"{heading}:", *_listed(members)]
    lines += ["", "For every command:"]
    for name in ("flagfile", "verbosity", "helpshort", "helpfull", "version"):
        also = "  (also -h, --help)" if name == "helpshort" else ""
        lines += [f"  --{name}{also}", *_wrapped(_ANSWERED[name])]
    if full:
        kept = [flag for flag in foreign if flag.name not in _ANSWERED]
        lines += ["", "Of absl, which reads the flags:", *_listed(kept)]
    elif groups:
        hidden = sum(len(members) for members in groups.values()) - len(first)
        lines += ["", f"`{program} --helpfull` lists {hidden} more."]
    return "\n".join(lines)


def missing(error: flags.Error) -> list[str]:
    """Returns the names of the flags that absl misses, in the order of their definition."""
    if _MISSING not in str(error):
        return []
    return [name for name in flags.FLAGS if flags.FLAGS[name].value is None and is_required(name)]


def is_required(name: str) -> bool:
    """Says whether a flag has to be given."""
    return any(_MISSING in validator.message for validator in flags.FLAGS[name].validators)


def _is_foreign(flag: flags.Flag) -> bool:
    module = flags.FLAGS.find_module_defining_flag(flag.name) or ""
    return module.startswith(_FOREIGN) or flag.name in ("flagfile", "undefok")


def _listed(members: Iterable[flags.Flag]) -> list[str]:
    lines = []
    for flag in members:
        # absl begins the help of a choice with the values, which stand in the line above.
        lines += [f"  {_called(flag)}", *_wrapped(_VALUES.sub("", flag.help))]
    return lines


def _called(flag: flags.Flag) -> str:
    """Shows how a flag is given: its default, or the values that it takes."""
    if flag.boolean:
        return f"--[no]{flag.name}  [{'true' if flag.default else 'false'}]"
    if values := getattr(flag.parser, "enum_values", None):
        shown = f"--{flag.name}={'|'.join(values)}"
    else:
        shown = f"--{flag.name}=..."
    if is_required(flag.name):
        return f"{shown}  (required)"
    default = flag.default_as_str.strip("'") if flag.default not in (None, "", []) else ""
    return f"{shown}  [{default}]" if default else shown


def _wrapped(paragraph: str) -> list[str]:
    width = min(shutil.get_terminal_size((100, 24)).columns, 100)
    # absl puts line breaks and indents of its own into what it adds to a help text.
    paragraph = " ".join(paragraph.split())
    return textwrap.wrap(
        paragraph, max(width, 40), initial_indent=_INDENT, subsequent_indent=_INDENT
    )
