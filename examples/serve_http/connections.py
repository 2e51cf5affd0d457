"""Connections with deadlines: what uvicorn leaves open for as long as a client likes.

Uvicorn bounds the size of headers, closes idle connections and stops gracefully. It does not bound
how long headers take to arrive, how long an answer takes to be read, or how many connections there
are; a class of its own protocol does so here.
"""

import asyncio
import json
import os
import resource
import socket
from collections.abc import Callable
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from serve_http.limits import Limits
from serve_http.metrics import Metrics

KEEP_ALIVE_SECONDS = 5
# Connections that the kernel keeps for the server.
BACKLOG = 1024
# For a client that goes on sending after its refusal: what comes is dropped until then, because
# closing at once could take the refusal from it.
_LINGER_SECONDS = 2.0
_PIECE_BYTES = 1024
# Requests that came before the answer to the one before, of all connections together.
_EARLY_A_SECOND = 200
# Files that the process opens besides its connections.
_OTHER_FILES = 128


class Connection(H11Protocol):
    """One client's connection; `bounded` makes the class that a server uses."""

    limits: Limits
    metrics: Metrics
    # Those that the server waits for, the longest waiting first; a dictionary keeps the order.
    waiting: dict["Connection", None]
    _deadline: asyncio.TimerHandle | None = None
    _turn: asyncio.TimerHandle | None = None
    # Answered for the last time: what still comes is dropped.
    _answered: bool = False

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begins to wait for headers, and makes room where there are too many connections."""
        super().connection_made(_Transport(transport, self._lingers))
        self.metrics.gauge("connections", len(self.connections))
        self._wait("headers", self.limits.header_seconds)
        if len(self.connections) > self.limits.connections:
            next(iter(self.waiting))._end("room")

    def connection_lost(self, exc: Exception | None) -> None:
        """Forgets the connection."""
        self._stop_waiting()
        if self._turn is not None:
            self._turn.cancel()
        super().connection_lost(exc)
        self.metrics.gauge("connections", len(self.connections))

    def data_received(self, data: bytes) -> None:
        """Takes a part of a request; a part of its headers does not prolong their time."""
        if self._answered:
            return
        while data and not self._in_chunks() and not self.transport.is_closing():
            # Little by little until it is known how the body comes.
            piece = len(data) if self.conn.their_state is h11.SEND_BODY else _PIECE_BYTES
            super().data_received(data[:piece])
            data = data[piece:]
        if self._busy():
            self._stop_waiting()

    def handle_events(self) -> None:
        """Takes the next request, unless it came before its turn."""
        if self._turn is None:
            super().handle_events()

    def pause_writing(self) -> None:
        """Begins to wait for the client to read; reading a little does not prolong its time."""
        super().pause_writing()
        if self not in self.waiting:
            self._wait("reading", self.limits.write_seconds)

    def on_response_complete(self) -> None:
        """Waits for the rest to be read and for the next request."""
        self._stop_waiting()
        if self.conn.their_state is h11.DONE and self.conn.trailing_data[0]:
            # Who sends requests without waiting for answers waits here, so that a thousand who
            # do are not before all others.
            seconds = len(self.connections) / _EARLY_A_SECOND
            seconds = min(seconds, self.limits.header_seconds / 2)
            self._turn = self.loop.call_later(seconds, self._take_turn)
        super().on_response_complete()
        if self._turn is not None:
            self._unset_keepalive_if_required()
            self.flow.pause_reading()
        if self._busy():
            return
        if self.conn.their_state is h11.SEND_BODY:
            self._wait("body", _LINGER_SECONDS)
        elif self.transport.get_write_buffer_size():
            self._wait("reading", self.limits.write_seconds)
        else:
            self._wait("headers", self.limits.header_seconds)

    def send_400_response(self, msg: str) -> None:
        """Refuses what is no HTTP in the form of all other refusals."""
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self._end("protocol")
            return
        if self._busy():
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        body = json.dumps({"error": {"code": "bad_request", "message": msg}}).encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"connection", b"close"),
        ]
        events = (h11.Response(status_code=400, headers=headers), h11.Data(data=body))
        for event in (*events, h11.EndOfMessage()):
            self.transport.write(self.conn.send(event))
        self.metrics.count("requests_total", path="other", status=400)
        self.transport.close()

    def _lingers(self) -> bool:
        """Says whether the client is still sending what nobody waits for any more."""
        self._answered = self._answered or self.conn.their_state is h11.SEND_BODY
        return self._answered

    def _take_turn(self) -> None:
        self._turn = None
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self.handle_events()
            if self._busy():
                self._stop_waiting()

    def _in_chunks(self) -> bool:
        """Says whether a body in chunks is coming: it is refused, and what comes is dropped.

        A chunk of one byte costs as much as one of many, and there could be millions.
        """
        if self.conn.their_state is not h11.SEND_BODY:
            return False
        return any(name == b"transfer-encoding" for name, _ in self.headers)

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _wait(self, why: str, seconds: float) -> None:
        self._stop_waiting()
        self.waiting[self] = None
        self._deadline = self.loop.call_later(seconds, self._end, why)

    def _stop_waiting(self) -> None:
        self.waiting.pop(self, None)
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _end(self, why: str) -> None:
        self._stop_waiting()
        self.metrics.count("connections_ended_total", reason=why)
        # Closing would wait for what was not read yet.
        self.transport.abort()


class _Transport:
    """A transport that ends its own side alone while the client is still sending.

    Uvicorn closes after the last answer of a connection, and what was not read by then would take
    the answer from the client; `Connection` closes after it has lingered.
    """

    def __init__(self, transport: asyncio.Transport, lingers: Callable[[], bool]) -> None:
        self._transport, self._lingers = transport, lingers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def close(self) -> None:
        """Closes the connection, or what is sent on it."""
        if not self._lingers():
            self._transport.close()
        elif self._transport.can_write_eof():
            self._transport.write_eof()


class Server(uvicorn.Server):
    """A server that lets more connections wait than it takes at a time."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begins to take connections."""
        await super().startup(sockets)
        # Event loops take as many at a time as they let wait.
        for listener in sockets or ():
            listener.listen(BACKLOG)


def at_a_time(limits: Limits) -> int:
    """Returns how many connections are taken before requests are read again.

    Fewer, and those that wait would wait for many rounds; more, and a crowd could drive out a
    client whose request has arrived.
    """
    # Between being taken and being read lie two rounds or three.
    return max(1, min(BACKLOG, limits.connections // 8))


def bounded(limits: Limits, metrics: Metrics) -> type[Connection]:
    """Makes the protocol class of one server."""
    return type("Bounded", (Connection,), {"limits": limits, "metrics": metrics, "waiting": {}})


def reserve_files(connections: int) -> None:
    """Lets the process hold so many connections.

    Raises:
        ValueError: the system does not allow it.
    """
    needed = connections + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and needed > hard:
        raise ValueError(
            f"`connections` must be at most {hard - _OTHER_FILES}: process {os.getpid()} may open "
            f"{hard} files (`ulimit -Hn`). Received: {connections}"
        )
    if soft != resource.RLIM_INFINITY and needed > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))
