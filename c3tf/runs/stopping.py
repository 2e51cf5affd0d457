"""The stop request of SIGTERM, SIGINT or SIGHUP: once to save first, twice to stop at once."""

import os
import signal
import sys
import threading
from types import FrameType, TracebackType

_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# What a shell reports of a process that a signal ended.
_SIGNALLED = 128
# Written into the pipe to end the watching thread; no signal has this number.
_END = 0


class StopRequest:
    """Catches the first SIGTERM, SIGINT or SIGHUP as a request to stop; the second ends all.

    SIGHUP, the closing of the terminal, is left alone where `nohup` has it ignored.

    A training step may run for many seconds inside TensorFlow, where Python does not get to its
    signal handlers, so a thread of its own listens for them.
    """

    def __init__(self) -> None:
        """Creates a request that nobody has made; `with` makes it listen."""
        self.received: signal.Signals | None = None
        self._handlers: dict[int, object] = {}

    @property
    def requested(self) -> bool:
        """Whether the process was asked to stop."""
        return self.received is not None

    def __enter__(self) -> "StopRequest":
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        self._wakeup = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        self._handlers = {
            number: signal.signal(number, _ignore)
            for number in _SIGNALS
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN
        }
        self._thread = threading.Thread(target=self._listen, name="stop-request", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup)
        os.write(self._write, bytes([_END]))
        self._thread.join()
        os.close(self._read)
        os.close(self._write)

    def _listen(self) -> None:
        while (number := os.read(self._read, 1)[0]) != _END:
            if number not in _SIGNALS:
                continue
            if self.requested:
                os._exit(_SIGNALLED + number)
            self.received = signal.Signals(number)
            message = f"{self.received.name}: saves and stops after this step; again stops at once"
            print(message, file=sys.stderr, flush=True)


def _ignore(number: int, frame: FrameType | None) -> None:
    """Does nothing: the listening thread has the number already."""
