"""What the server accepts at most, and how it refuses the rest."""

import dataclasses

_KIBIBYTE, _MEBIBYTE = 1024, 1024 * 1024


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one client may ask for, and what all of them may ask for together.

    Attributes:
        connections: open at a time; above it, the one that has waited longest is closed.
        header_bytes: size of a request's line and headers.
        header_seconds: until a request's headers have arrived.
        body_bytes: size of a request's body.
        body_seconds: until its body has arrived.
        pixels: of all images of a request together, read before any is decoded.
        batch: images of a request.
        requests: with images, held in memory at a time, from the first byte of the body to the
            last byte of the answer.
        queue: requests that wait for the one that is computed.
        compute_seconds: until an answer is computed, waiting included.
        write_seconds: until it has been read.
    """

    connections: int = 2048
    header_bytes: int = 16 * _KIBIBYTE
    header_seconds: float = 10.0
    body_bytes: int = 16 * _MEBIBYTE
    body_seconds: float = 20.0
    pixels: int = 4096 * 2160
    batch: int = 8
    requests: int = 32
    queue: int = 16
    compute_seconds: float = 60.0
    write_seconds: float = 30.0

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            least = 0 if field.name == "queue" else 1e-3
            if not least <= value < float("inf"):
                raise ValueError(f"`{field.name}` must be positive. Received: {value}")


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
