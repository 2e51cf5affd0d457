"""Standard output and error of a command: what cannot be printed ends nothing.

A stream's encoding may lack a letter, its disk may be full, its reader gone, its terminal closed.
None of that is about the work, which goes on; what is lost is said at the end, where it can be.
Control characters, which names of files and records may hold, reach no terminal.
"""

import errno
import io
import os
import re
import select
import sys
from typing import TextIO

# What a terminal would obey; lines and columns are the programs' own. Half of a pair of bytes that
# are no text (`os.fsdecode`) is left to the encoding's own escape.
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_DESCRIPTORS = (0, 1, 2)
# The reader has seen enough, or the terminal was closed: nobody is left to be told.
_NOBODY = (errno.EPIPE, errno.EIO)


def shown(text: object) -> str:
    """Returns text of any origin, such as a name, as a part of one printable line."""
    return "".join(c if c.isprintable() else _escaped(c) for c in str(text))


class Steadfast(io.TextIOWrapper):
    """Text to a descriptor: escapes what it may not or cannot print, and outlives its reader.

    Attributes:
        for_terminal: the same stream with control characters let through, for what draws bars.
    """

    def __init__(self, descriptor: int, encoding: str = "utf-8", line_buffering: bool = True):
        """Writes to `descriptor`, which stays open."""
        self._raw = _Descriptor(descriptor)
        super().__init__(
            io.BufferedWriter(self._raw),
            encoding,
            errors="backslashreplace",
            line_buffering=line_buffering,
            write_through=False,
        )
        self.for_terminal: TextIO = _Unescaped(self)

    @property
    def lost(self) -> OSError | None:
        """The first error of writing, after which nothing is written any more."""
        return self._raw.lost

    def write(self, text: str) -> int:
        """Writes text; a control character becomes its escape."""
        return self.write_unescaped(_CONTROL.sub(lambda found: _escaped(found[0]), text))

    def write_unescaped(self, text: str) -> int:
        """Writes text as it is."""
        return super().write(text)


class _Unescaped:
    """A `Steadfast` stream for what draws on a terminal."""

    def __init__(self, stream: Steadfast) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write_unescaped(text)

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


class _Descriptor(io.FileIO):
    """A file descriptor whose errors are kept in place of being raised."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self.lost: OSError | None = None

    def write(self, data: bytes) -> int:
        while self.lost is None:
            try:
                if (written := super().write(data)) is not None:
                    return written
                # A pipe that its maker has set not to wait, and that is full.
                select.select([], [self], [])
            except OSError as error:
                self.lost = error
        return len(data)


def make_steadfast() -> None:
    """Puts `Steadfast` streams in place of standard output and error.

    A stream that is no file of the system, such as a notebook's, is left as it is.
    """
    _open_all()
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        try:
            descriptor = stream.fileno()
        except (AttributeError, OSError, ValueError):
            if stream is None:
                # Python found it closed; by now it leads nowhere.
                setattr(sys, name, Steadfast(_DESCRIPTORS[("stdout", "stderr").index(name) + 1]))
            continue
        if isinstance(stream, Steadfast):
            continue
        stream.flush()
        lines = name == "stderr" or stream.line_buffering
        setattr(sys, name, Steadfast(descriptor, stream.encoding or "utf-8", lines))


def report_lost() -> None:
    """Says on standard error that standard output took not all, where somebody may care."""
    out = sys.stdout
    if not isinstance(out, Steadfast):
        return
    out.flush()
    if out.lost and out.lost.errno not in _NOBODY:
        reason = out.lost.strerror or out.lost
        print(f"Not all output could be printed ({reason}); the work is done.", file=sys.stderr)


def _open_all() -> None:
    """Lets closed standard descriptors lead nowhere, so that no file is opened as one of them."""
    for descriptor in _DESCRIPTORS:
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)
            if nowhere != descriptor:
                os.dup2(nowhere, descriptor)
                os.close(nowhere)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")
