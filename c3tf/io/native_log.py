"""What native libraries print: held back in a log, and shown when a command fails.

TensorFlow's C++ writes its banner, device discovery and compiler notes to file descriptor 2,
whatever TF_CPP_MIN_LOG_LEVEL says. A `NativeLog` puts a small process between that descriptor and
the terminal. Python's own standard error goes past it. Lines in the form of TensorFlow's log are
held back, everything else is passed on at once. The lines held back are printed when the command
fails, and also when it is killed or crashes: a process of its own outlives it.

This file is also the program of that process, which is why it imports so little.
"""

import contextlib
import os
import re
import select
import signal
import sys
from collections import deque

# `I0000 00:00:17 ...`, `2026-01-31 12:00:00.123: W ...`, and lines that go with them. F, a fatal
# line, is not among them.
_HELD_BACK = re.compile(
    rb"[IWE]\d{4} \d\d:\d\d"
    rb"|\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+: [IWE] "
    rb"|WARNING: All log messages before absl::InitializeLog"
    rb"|To enable the following instructions: "
    rb"|Skipping registering GPU devices"
    rb"|\s*$"
)
# A GPU that cannot be used for want of a library is news to its owner.
_TELLING = re.compile(rb"Cannot dlopen some GPU libraries")
# Lines that are kept to be shown; a run of days must not fill the memory.
_KEPT = 5000
_BYTES = 1 << 16
_DONE, _FAILED = b"d", b"f"
_SECONDS_TO_SHOW = 5


def past_the_log() -> int | None:
    """Returns the descriptor of Python's standard error, for commands that this process starts.

    They hold back what their own libraries print, and see whether a person watches.
    """
    try:
        return sys.stderr.fileno()
    except (AttributeError, OSError, ValueError):
        # A notebook's, or that of a test: what descriptor 2 leads to will do.
        return None


class NativeLog:
    """Holds back what native code prints, from `start` to the end of the process."""

    def __init__(self) -> None:
        """Creates a log that holds nothing back yet."""
        self._process = None
        self._control = -1

    def start(self) -> None:
        """Puts the process between file descriptor 2 and where it leads to."""
        # Imported here: the process itself must start fast.
        import subprocess

        from absl import logging

        from c3tf.io.streams import Steadfast

        sys.stderr.flush()
        past = os.dup(2)
        data, into = os.pipe()
        told, self._control = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", os.path.abspath(__file__), str(told)],
            stdin=data,
            stdout=subprocess.DEVNULL,
            stderr=past,
            pass_fds=(told,),
            # Ctrl-C and a closed terminal are for the command, whose last words it must see.
            start_new_session=True,
        )
        os.dup2(into, 2)
        for descriptor in (data, into, told):
            os.close(descriptor)
        sys.stderr = Steadfast(past, sys.stderr.encoding or "utf-8")
        logging.get_absl_handler().python_handler.setStream(sys.stderr)

    def end(self, path: str = "") -> None:
        """Says that the command has done its work.

        Args:
            path: file that gets the lines held back, where there are any; empty for none.
        """
        if self._process:
            self._tell(_DONE + os.fsencode(path))

    def show(self) -> None:
        """Prints the lines held back: the command has failed. What comes is passed on."""
        if not self._process:
            return
        sys.stderr.flush()
        self._tell(_FAILED)
        # It answers by ending; descriptor 2 leads past it again.
        os.dup2(sys.stderr.fileno(), 2)
        self._process.wait(_SECONDS_TO_SHOW)
        self._process = None

    def _tell(self, what: bytes) -> None:
        # The process may have been killed: its log is lost, the command's work is not.
        with contextlib.suppress(OSError):
            os.write(self._control, what + b"\n")


class _Filter:
    """The process: reads what native code prints, and what the command says of its end."""

    def __init__(self) -> None:
        self._held: deque[bytes] = deque(maxlen=_KEPT)
        self._begun = b""
        self._done = False

    def run(self, control: int) -> None:
        """Works until nobody can print any more, or the command has failed."""
        sources = [0, control]
        while 0 in sources:
            for source in select.select(sources, [], [])[0]:
                data = os.read(source, _BYTES)
                if source == 0:
                    self._take(data)
                elif data.startswith(_DONE):
                    self._done = True
                    self._write(data[len(_DONE) :].strip())
                elif not self._done:
                    # It failed, or was killed and says nothing more.
                    self._show()
                if not data:
                    sources.remove(source)
                if data.startswith(_FAILED) and source == control:
                    return

    def _take(self, data: bytes) -> None:
        """Holds back or passes on each line that is complete; all at the end."""
        *lines, self._begun = (self._begun + data).split(b"\n")
        if not data and self._begun:
            lines, self._begun = [self._begun], b""
        for line in lines:
            if _HELD_BACK.match(line) and not _TELLING.search(line):
                self._held.append(line + b"\n")
            else:
                _print(line + b"\n")

    def _show(self) -> None:
        """Prints the lines held back, with those that are still on their way."""
        while select.select([0], [], [], 0)[0] and (data := os.read(0, _BYTES)):
            self._take(data)
        if any(line.strip() for line in self._held):
            _print(b"What TensorFlow printed before:\n" + b"".join(self._held))
        self._held.clear()

    def _write(self, path: bytes) -> None:
        if not path or not any(line.strip() for line in self._held):
            return
        # The log of a command that succeeded is not worth an error.
        with contextlib.suppress(OSError), open(path, "ab") as file:
            file.writelines(self._held)


def _print(text: bytes) -> None:
    # Nobody may be there to read it, or no room; the command's libraries must not notice.
    with contextlib.suppress(OSError):
        os.write(2, text)


if __name__ == "__main__":
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _Filter().run(int(sys.argv[1]))
