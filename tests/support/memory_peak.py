"""What a piece of code takes of memory at most."""

import contextlib
import tracemalloc
from collections.abc import Iterator


@contextlib.contextmanager
def below(most: int) -> Iterator[None]:
    """Fails when what is inside holds more than `most` bytes at a time, as far as Python knows."""
    tracemalloc.start()
    try:
        yield
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < most, f"{peak} bytes, allowed are {most}"
