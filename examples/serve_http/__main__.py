"""Starts the server: `python -m serve_http --model=FOLDER` from the folder `examples`."""

import argparse
import dataclasses
import os
import signal
import socket
import sys
from pathlib import Path

from serve_http.limits import Limits
from serve_http.orientation import RULES as EXIF_RULES

# Of the kernel, for each connection; what a client does not read beyond it is the server's.
_SEND_BUFFER_BYTES = 256 * 1024
_SWITCH_SECONDS = 0.0005


def main() -> int:
    """Parses the command line and serves until it is told to stop (SIGTERM, SIGINT)."""
    parser = argparse.ArgumentParser(prog="python -m serve_http", description=__doc__)
    parser.add_argument("--model", required=True, help="folder of a SavedModel of c3tf.export")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at")
    parser.add_argument("--port", type=int, default=8080, help="port to listen at")
    parser.add_argument(
        "--exif",
        choices=EXIF_RULES,
        default=EXIF_RULES[0],
        help="what becomes of images whose metadata (EXIF) say that they are to be turned",
    )
    for field in dataclasses.fields(Limits):
        parser.add_argument(f"--{field.name}", type=field.type, default=field.default)
    values = vars(parser.parse_args())
    model, host, port, exif = (values.pop(name) for name in ("model", "host", "port", "exif"))
    for needed in ("saved_model.pb", "model_card.json"):
        if not (Path(model) / needed).is_file():
            parser.error(f"--model must be a SavedModel of c3tf.export; {model} has no {needed}")
    from serve_http import connections

    try:
        limits = Limits(**values)
        connections.reserve_files(limits.connections)
        listener = _listen(host, port)
    except (ValueError, OSError, OverflowError) as error:
        parser.error(str(error))
    _serve(model, limits, listener, exif)
    # TensorFlow cannot be stopped while it computes what nobody waits for any more.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _listen(host: str, port: int) -> socket.socket:
    """Listens at once, before the model is loaded, and alone: a port has one server.

    Raises:
        OSError: another process listens there already.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER_BYTES)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise OSError(f"cannot listen at {host}, port {port}: {error.strerror}") from error
    return listener


def _serve(model: str, limits: Limits, listener: socket.socket, exif: str) -> None:
    # These import TensorFlow, which a wrong command line need not wait for.
    import uvicorn

    from serve_http import app, connections
    from serve_http.metrics import Metrics

    metrics = Metrics()
    config = uvicorn.Config(
        app.create(model, limits, metrics, exif),
        loop="asyncio",
        http=connections.bounded(limits, metrics),
        ws="none",
        lifespan="on",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=connections.at_a_time(limits),
        timeout_keep_alive=connections.KEEP_ALIVE_SECONDS,
        h11_max_incomplete_event_size=limits.header_bytes,
        # A request in flight is answered before the process ends.
        timeout_graceful_shutdown=int(
            limits.body_seconds + limits.compute_seconds + limits.write_seconds + 1
        ),
    )
    server = connections.Server(config)
    # Uvicorn raises the signal again when it has stopped; having stopped is success.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, server.handle_exit)
    # Every read and write of a connection would wait so long for the thread of the model.
    sys.setswitchinterval(_SWITCH_SECONDS)
    server.run(sockets=[listener])


if __name__ == "__main__":
    sys.exit(main())
