"""The errors that a command turns into one line, and the exit codes that go with them."""


class UserError(ValueError):
    """Something given to a command is wrong; the message says what it was and what to do.

    Commands print the message as one line and exit with `exit_code`, without a traceback.
    """

    # What a shell reads as "used wrongly": bad flags, missing data, refused values.
    exit_code = 2


class DataError(UserError):
    """Data on disk is missing, damaged, or not what was asked for; the message names the file."""


class StorageError(UserError):
    """A result cannot be written: the disk is full, or may not be written to."""

    # EX_IOERR of sysexits.h.
    exit_code = 74


class Stopped(Exception):  # noqa: N818 - nothing went wrong
    """A command was asked to stop and has saved its work; started again, it goes on from there."""

    # EX_TEMPFAIL of sysexits.h: "the user is invited to retry".
    exit_code = 75
