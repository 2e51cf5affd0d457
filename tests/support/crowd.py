"""Clients of the HTTP example that never read what they are sent."""

import contextlib
import resource
import select
import socket
import threading
from collections.abc import Sequence

_CLOSED = select.POLLHUP | select.POLLERR | select.POLLRDHUP


class Crowd:
    """Many connections, each of which is opened again when the server closes it.

    Args:
        port: of the server on this machine.
        count: connections.
        requests: what they send, in turns; may be a part of a request, or nothing.
    """

    def __init__(self, port: int, count: int, requests: Sequence[bytes]) -> None:
        self._port, self._requests = port, requests
        self._sockets: list[socket.socket | None] = [None] * count
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep)
        self.opened = 0
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4 * count + 1024), hard))

    def __enter__(self) -> "Crowd":
        for index in range(len(self._sockets)):
            self._open(index)
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._ended.set()
        self._thread.join()
        for client in self._sockets:
            if client is not None:
                client.close()

    def _open(self, index: int) -> None:
        client = socket.socket()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.settimeout(5)
        try:
            client.connect(("127.0.0.1", self._port))
            client.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                client.send(self._requests[index % len(self._requests)])
        except OSError:
            client.close()
            self._sockets[index] = None
            return
        self._sockets[index], self.opened = client, self.opened + 1

    def _keep(self) -> None:
        """Twice a second, opens again what was closed."""
        while not self._ended.wait(0.5):
            poll = select.poll()
            places = {}
            for index, client in enumerate(self._sockets):
                if client is None:
                    self._open(index)
                else:
                    poll.register(client, select.POLLRDHUP)
                    places[client.fileno()] = index
            for number, events in poll.poll(0):
                if events & _CLOSED:
                    self._sockets[places[number]].close()
                    self._open(places[number])
