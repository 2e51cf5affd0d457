"""The routes: images in, class maps out, and every refusal as JSON."""

import asyncio
import base64
import binascii
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from serve_http import images
from serve_http.limits import Limits, RefusedError, busy
from serve_http.segmenter import Segmenter


def create(model: str, limits: Limits) -> Starlette:
    """Makes the application.

    Args:
        model: folder of a SavedModel.
        limits: what it accepts.

    Returns:
        An ASGI application; it begins to load the model when the server starts it.
    """
    handlers = _Handlers(Segmenter(model, limits), limits)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        handlers.segmenter.start()
        yield
        handlers.segmenter.stop()

    return Starlette(
        routes=[
            Route("/healthz", handlers.health),
            Route("/readyz", handlers.readiness),
            Route("/v1/model", handlers.model),
            Route("/v1/segment", handlers.segment, methods=["POST"]),
            Route("/v1/segment_batch", handlers.segment_batch, methods=["POST"]),
        ],
        exception_handlers={
            RefusedError: _refused,
            HTTPException: _http_error,
            ClientDisconnect: _gone,
            Exception: _failed,
        },
        lifespan=lifespan,
    )


class _Handlers:
    """Answers requests."""

    def __init__(self, segmenter: Segmenter, limits: Limits) -> None:
        self.segmenter, self._limits = segmenter, limits
        self._uploads = 0

    async def health(self, _: Request) -> Response:
        """Says whether the process should be kept; 500 when the model cannot be loaded."""
        failed = self.segmenter.failed
        return JSONResponse({"status": "failed" if failed else "ok"}, 500 if failed else 200)

    async def readiness(self, _: Request) -> Response:
        """Says whether requests should be sent here: 200 or 503."""
        ready = self.segmenter.ready
        return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)

    async def model(self, _: Request) -> Response:
        """Returns the model card: classes, colours, where the model comes from."""
        return JSONResponse(self.segmenter.card, 200 if self.segmenter.ready else 503)

    async def segment(self, request: Request) -> Response:
        """Takes one image as the body; returns its class map as a PNG, or JSON on request."""
        _check_type(request, images.TYPES)
        as_json = _wants_json(request)
        body = await self._body(request)
        (class_map,) = await self.segmenter.class_maps([body])
        png = images.to_png(class_map)
        if not as_json:
            return Response(png, media_type="image/png")
        height, width = class_map.shape
        return JSONResponse(
            {
                "height": height,
                "width": width,
                "classes": self._counts(class_map),
                "class_map": base64.b64encode(png).decode(),
            }
        )

    async def segment_batch(self, request: Request) -> Response:
        """Takes `{"images": [base64, ...]}` of one size; returns `{"class_maps": [...]}`."""
        _check_type(request, ("application/json",))
        encoded = _parse_batch(await self._body(request))
        class_maps = await self.segmenter.class_maps(encoded)
        pngs = [base64.b64encode(images.to_png(one)).decode() for one in class_maps]
        return JSONResponse({"class_maps": pngs})

    async def _body(self, request: Request) -> bytes:
        """Reads a body that is neither too large nor too slow."""
        limit, seconds = self._limits.body_bytes, self._limits.body_seconds
        too_large = RefusedError(
            413, "too_many_bytes", f"A request's body has at most {limit} bytes."
        )
        if int(request.headers.get("content-length", 0)) > limit:
            raise too_large
        if self._uploads >= self._limits.uploads:
            raise busy(f"{self._uploads} requests are being received already.")
        self._uploads += 1
        body = bytearray()
        try:
            async with asyncio.timeout(seconds):
                async for chunk in request.stream():
                    body += chunk
                    if len(body) > limit:
                        raise too_large
        except TimeoutError as error:
            raise RefusedError(
                408, "too_slow", f"The body must arrive within {seconds:g} seconds."
            ) from error
        finally:
            self._uploads -= 1
        return bytes(body)

    def _counts(self, class_map: np.ndarray) -> list[dict[str, Any]]:
        """Lists the classes of a class map with their pixels."""
        ids, pixels = np.unique(class_map, return_counts=True)
        names = [entry["name"] for entry in self.segmenter.card["classes"]]
        return [
            {"id": int(i), "name": names[i], "pixels": int(n)}
            for i, n in zip(ids, pixels, strict=True)
        ]


def _check_type(request: Request, types: tuple[str, ...]) -> None:
    """Refuses bodies of another type, or compressed on top."""
    received = request.headers.get("content-type", "")
    if received.split(";")[0].strip().lower() not in types:
        raise RefusedError(
            415,
            "wrong_type",
            f"The Content-Type must be one of {', '.join(types)}. Received: {received[:80]!r}",
        )
    if request.headers.get("content-encoding", "identity") != "identity":
        raise RefusedError(415, "wrong_encoding", "The body must have no Content-Encoding.")


def _wants_json(request: Request) -> bool:
    accept = request.headers.get("accept", "*/*").lower()
    if "application/json" in accept:
        return True
    if any(kind in accept for kind in ("image/png", "image/*", "*/*")):
        return False
    raise RefusedError(406, "not_acceptable", "Answers are image/png or application/json.")


def _parse_batch(body: bytes) -> list[bytes]:
    try:
        given = json.loads(body)["images"]
        if not isinstance(given, list):
            raise TypeError("no list")
        return [base64.b64decode(one, validate=True) for one in given]
    except (ValueError, KeyError, TypeError, RecursionError, binascii.Error) as error:
        raise RefusedError(
            400, "bad_json", 'The body must be {"images": [...]} with base64 strings.'
        ) from error


def _error(
    status: int, code: str, message: str, headers: dict[str, str] | None = None
) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status, headers)


async def _refused(_: Request, error: RefusedError) -> Response:
    return _error(error.status, error.code, error.message, error.headers)


async def _http_error(_: Request, error: HTTPException) -> Response:
    return _error(error.status_code, "bad_request", error.detail, error.headers)


async def _gone(_: Request, error: ClientDisconnect) -> Response:
    # Nobody reads it; without a handler it would be logged as a fault of the server.
    return _error(400, "disconnected", "The client has gone.")


async def _failed(_: Request, error: Exception) -> Response:
    return _error(500, "failed", "The server has failed; its log says why.")
