"""The errors that a user can cause and mend."""


class UserError(ValueError):
    """Something given to a command is wrong; the message says what it was and what to do.

    Commands print the message as one line and exit with code 2, without a traceback.
    """
