"""The base class of every complaint about data."""

from c3tf.errors import UserError


class DataError(UserError):
    """Data on disk is missing, damaged, or not what was asked for.

    The message names the file or directory, says what is wrong and what to do; commands print it
    as one line, without a traceback.
    """
