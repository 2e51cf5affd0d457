"""The routes: images in, class maps out, and every refusal as JSON."""

import asyncio
import base64
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any, TypeVar

import numpy as np
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from serve_http import admission, images
from serve_http.limits import Limits, RefusedError
from serve_http.metrics import Metrics
from serve_http.segmenter import Segmenter

_Result = TypeVar("_Result")


def create(model: str, limits: Limits, metrics: Metrics, exif: str) -> Starlette:
    """Makes the application.

    Args:
        model: folder of a SavedModel.
        limits: what it accepts.
        metrics: where it counts.
        exif: what becomes of rotations that images' metadata note, one of `orientation.RULES`.

    Returns:
        An ASGI application; it begins to load the model when the server starts it.
    """
    handlers = _Handlers(Segmenter(model, limits, metrics, exif), limits, metrics)

    @contextlib.asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        handlers.segmenter.start()
        yield
        handlers.segmenter.stop()

    # One count for both: what they bound is memory.
    admitted = [Middleware(admission.Admission, admission.Places(limits.requests, metrics))]
    routes = [
        Route("/healthz", handlers.health),
        Route("/readyz", handlers.readiness),
        Route("/metrics", handlers.metrics),
        Route("/v1/model", handlers.model),
        Route("/v1/segment", handlers.segment, methods=["POST"], middleware=admitted),
        Route("/v1/segment_batch", handlers.segment_batch, methods=["POST"], middleware=admitted),
    ]
    paths = frozenset(route.path for route in routes)
    return Starlette(
        routes=routes,
        middleware=[Middleware(admission.Counting, metrics, paths)],
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

    def __init__(self, segmenter: Segmenter, limits: Limits, metrics: Metrics) -> None:
        self.segmenter, self._limits, self._metrics = segmenter, limits, metrics

    async def health(self, _: Request) -> Response:
        """Says whether the process should be kept; 500 when the model cannot be loaded."""
        failed = self.segmenter.failed
        return JSONResponse({"status": "failed" if failed else "ok"}, 500 if failed else 200)

    async def readiness(self, _: Request) -> Response:
        """Says whether requests should be sent here: 200 or 503."""
        ready = self.segmenter.ready
        return JSONResponse({"status": "ready" if ready else "not ready"}, 200 if ready else 503)

    async def metrics(self, _: Request) -> Response:
        """Returns counters and gauges in Prometheus' text format."""
        return PlainTextResponse(self._metrics.text())

    async def model(self, _: Request) -> Response:
        """Returns the model card: classes, colours, where the model comes from."""
        return JSONResponse(self.segmenter.card, 200 if self.segmenter.ready else 503)

    async def segment(self, request: Request) -> Response:
        """Takes one image as the body; returns its class map as a PNG, or JSON on request."""
        _check_type(request, images.TYPES)
        as_json = _wants_json(request)

        def answer(body: bytes) -> Response:
            (class_map,) = self.segmenter.class_maps([body])
            png = images.to_png(class_map)
            if not as_json:
                return admission.PiecemealResponse(png, media_type="image/png")
            height, width = class_map.shape
            return admission.PiecemealJson(
                {
                    "height": height,
                    "width": width,
                    "classes": self._counts(class_map),
                    "class_map": base64.b64encode(png).decode(),
                }
            )

        return await self._computed(request, answer)

    async def segment_batch(self, request: Request) -> Response:
        """Takes `{"images": [base64, ...]}` of one size; returns `{"class_maps": [...]}`."""
        _check_type(request, ("application/json",))

        def answer(body: bytes) -> Response:
            class_maps = self.segmenter.class_maps(images.parse_batch(body, self._limits))
            pngs = [base64.b64encode(images.to_png(one)).decode() for one in class_maps]
            return admission.PiecemealJson({"class_maps": pngs})

        return await self._computed(request, answer)

    async def _computed(self, request: Request, answer: Callable[[bytes], Response]) -> Response:
        """Reads the body and computes the answer, unless its client leaves before its turn."""
        self.segmenter.check_ready()
        body = await admission.read_body(request, self._limits)
        computing = asyncio.create_task(self.segmenter.run(lambda: answer(body)))
        leaving = asyncio.create_task(admission.client_left(request))
        try:
            await asyncio.wait({computing, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if computing.done():
                return computing.result()
            raise ClientDisconnect
        finally:
            computing.cancel()
            leaving.cancel()

    def _counts(self, class_map: np.ndarray) -> list[dict[str, Any]]:
        """Lists the classes of a class map with their pixels."""
        names = [entry["name"] for entry in self.segmenter.card["classes"]]
        pixels = np.bincount(class_map.ravel(), minlength=len(names))
        return [
            {"id": i, "name": names[i], "pixels": int(n)} for i, n in enumerate(pixels) if n > 0
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
    return _error(499, "disconnected", "The client has gone.")


async def _failed(_: Request, error: Exception) -> Response:
    return _error(500, "failed", "The server has failed; its log says why.")
