"""The sentence of TensorFlow's messages that says what happened."""

import re

# Its names of functions and operations.
_NOISE = re.compile(r"\{\{function_node .*?\}\} ?|\s*\[Op:.*")
# What a line says that a check has failed with.
_CHECKS = ("Received:", "assertion failed")


def reason(error: Exception) -> str:
    """Keeps the sentence of an error, not the listing of the graph after it; never empty."""
    text = str(getattr(error, "message", error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    said = [line for line in lines if any(check in line for check in _CHECKS)]
    return _NOISE.sub("", (said or lines or [type(error).__name__])[0])
