"""Signals of child processes, whatever the tests themselves were started under."""

import signal


def default() -> None:
    """Undoes what `nohup` and a shell's background have a process ignore: as `preexec_fn`."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
