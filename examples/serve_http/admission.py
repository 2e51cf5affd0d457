"""Bounds the requests in memory: when one is let in, how its body comes, how its answer goes."""

import asyncio
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_http.limits import Limits, RefusedError, busy
from serve_http.metrics import Metrics

_MOST_HEADERS = 100
# Answers are handed on in pieces, so that one which is not read stays with its request, where it
# is counted, and not with the connection.
_PIECE_BYTES = 64 * 1024


class Counting:
    """Counts answers by path and status, and refuses requests with too many headers."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str]) -> None:
        self._app, self._metrics, self._paths = app, metrics, paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                path = scope["path"] if scope["path"] in self._paths else "other"
                self._metrics.count("requests_total", path=path, status=message["status"])
            await send(message)

        if len(scope["headers"]) > _MOST_HEADERS:
            error = {"code": "too_many_headers", "message": f"At most {_MOST_HEADERS} headers."}
            await JSONResponse({"error": error}, 431)(scope, receive, counted)
            return
        await self._app(scope, receive, counted)


class Places:
    """How many requests with images may be in memory, and how many are."""

    def __init__(self, most: int, metrics: Metrics) -> None:
        self._most, self._taken, self._metrics = most, 0, metrics

    def take(self) -> None:
        """Takes a place.

        Raises:
            RefusedError: there is none.
        """
        if self._taken >= self._most:
            raise busy(f"{self._taken} requests are being answered already.")
        self._change(1)

    def give_back(self) -> None:
        """Gives a place back."""
        self._change(-1)

    def _change(self, by: int) -> None:
        self._taken += by
        self._metrics.gauge("requests_in_memory", self._taken)


class Admission:
    """Lets a request in where there is a place, which it keeps until its answer has been read."""

    def __init__(self, app: ASGIApp, places: Places) -> None:
        self._app, self._places = app, places

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on, or refuses it."""
        self._places.take()
        try:
            await self._app(scope, receive, send)
        finally:
            self._places.give_back()


class PiecemealResponse(Response):
    """A response that is handed on no faster than its client reads it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the response."""
        start = {"type": "http.response.start", "status": self.status_code}
        await send({**start, "headers": self.raw_headers})
        for at in range(0, len(self.body), _PIECE_BYTES):
            piece = self.body[at : at + _PIECE_BYTES]
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


class PiecemealJson(JSONResponse, PiecemealResponse):
    """The same as JSON."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the response."""
        await PiecemealResponse.__call__(self, scope, receive, send)


async def read_body(request: Request, limits: Limits) -> bytes:
    """Reads a body that is neither too large nor too slow.

    Raises:
        RefusedError: with status 408, 411 or 413.
        ClientDisconnect: the client left.
    """
    if "transfer-encoding" in request.headers:
        raise RefusedError(
            411, "no_length", "A body must come with a Content-Length, and not in chunks."
        )
    too_large = RefusedError(
        413, "too_many_bytes", f"A request's body has at most {limits.body_bytes} bytes."
    )
    if int(request.headers.get("content-length", 0)) > limits.body_bytes:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(limits.body_seconds):
            async for chunk in request.stream():
                body += chunk
                if len(body) > limits.body_bytes:
                    raise too_large
    except TimeoutError as error:
        raise RefusedError(
            408, "too_slow", f"The body must arrive within {limits.body_seconds:g} seconds."
        ) from error
    return bytes(body)


async def client_left(request: Request) -> Any:
    """Returns when the client of a request whose body was read has gone."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
