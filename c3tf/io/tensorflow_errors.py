"""TensorFlow's errors about data, and the sentence of their messages that says what happened."""

import re

# Its names of functions and operations.
_NOISE = re.compile(r"\{\{function_node .*?\}\} ?|\s*\[Op:.*")
# What a line says that a check has failed with.
_CHECKS = ("Received:", "assertion failed")


def of_data() -> tuple[type[Exception], ...]:
    """Returns what reading damaged data raises.

    A message that quotes bytes of the data which are no text is an error of its own: TensorFlow
    cannot hand it over.
    """
    # Imported where it is caught: conversion and its worker processes work without TensorFlow.
    import tensorflow as tf

    return tf.errors.OpError, UnicodeDecodeError


def message(error: Exception) -> str:
    """Returns all that an error says, bytes that are no text escaped."""
    if isinstance(error, UnicodeDecodeError):
        return error.object.decode(errors="backslashreplace")
    return str(getattr(error, "message", error))


def reason(error: Exception) -> str:
    """Keeps the sentence of an error, not the listing of the graph after it; never empty."""
    text = message(error)
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if any(check in line for check in _CHECKS)]
    sentence = _NOISE.sub("", (said or lines or [type(error).__name__])[0])
    return f"{sentence} (no UTF-8)" if isinstance(error, UnicodeDecodeError) else sentence
