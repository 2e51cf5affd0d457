"""Sends one request again and again from several clients, in a process of its own.

    python tests/support/http_flood.py PORT FILE CLIENTS

where `FILE` holds the request's bytes. It goes on until it is terminated.
"""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time


@contextlib.contextmanager
def flooding(port, request, folder, clients=8):
    """Floods a port of this machine with a request while the context lasts."""
    file = folder / "request"
    file.write_bytes(request)
    command = [sys.executable, __file__, str(port), str(file), str(clients)]
    process = subprocess.Popen(command)
    try:
        yield
        assert process.poll() is None
    finally:
        process.terminate()
        process.wait(30)


def _send(port, request):
    while True:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", port), timeout=60) as client,
        ):
            client.sendall(request)
            client.recv(65536)
        time.sleep(0.02)


def main():
    port, file, clients = sys.argv[1:]
    with open(file, "rb") as source:
        request = source.read()
    # As if it came from other machines: it does not take the server's processors.
    os.nice(10)
    threads = [
        threading.Thread(target=_send, args=(int(port), request)) for _ in range(int(clients))
    ]
    for thread in threads:
        thread.start()


if __name__ == "__main__":
    main()
