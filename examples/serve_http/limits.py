"""What the server accepts at most, and how it refuses the rest."""

import dataclasses

_MEBIBYTE = 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one client may ask for, and what all of them may ask for together.

    Attributes:
        body_bytes: size of a request's body.
        pixels: of all images of a request together, read before any is decoded.
        batch: images of a request.
        header_seconds: until a request's headers have arrived.
        body_seconds: until its body has arrived.
        compute_seconds: until its answer is computed, waiting included.
        uploads: requests whose bodies are read at a time.
        queue: requests that wait for the one that is computed.
    """

    body_bytes: int = 16 * _MEBIBYTE
    pixels: int = 4096 * 2160
    batch: int = 8
    header_seconds: float = 10.0
    body_seconds: float = 20.0
    compute_seconds: float = 60.0
    uploads: int = 64
    queue: int = 16

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name == "queue" else 1e-3
            if value < least:
                raise ValueError(f"`{field.name}` must be positive. Received: {value}")
        if self.header_seconds > 60:
            raise ValueError(
                f"`header_seconds` must be at most 60. Received: {self.header_seconds}"
            )


class RefusedError(Exception):
    """A request that is answered with an error.

    Attributes:
        status: HTTP status.
        code: short name of the reason, for programs.
        message: what is wrong and what to do, for people.
        headers: added to the answer.
    """

    def __init__(
        self, status: int, code: str, message: str, headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.headers = headers or {}


def busy(message: str) -> RefusedError:
    """Makes the refusal of a request that may succeed a little later."""
    return RefusedError(503, "busy", message, {"Retry-After": "1"})
