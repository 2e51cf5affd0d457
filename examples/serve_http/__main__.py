"""Starts the server: `python -m serve_http --model=FOLDER` from the folder `examples`."""

import argparse
import dataclasses
import functools
import sys
from pathlib import Path

from granian import Granian
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings

from serve_http.limits import Limits


def main() -> int:
    """Parses the command line and serves until it is told to stop (SIGTERM, SIGINT)."""
    parser = argparse.ArgumentParser(prog="python -m serve_http", description=__doc__)
    parser.add_argument("--model", required=True, help="folder of a SavedModel of c3tf.export")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen at")
    parser.add_argument("--port", type=int, default=8080, help="port to listen at")
    for field in dataclasses.fields(Limits):
        parser.add_argument(f"--{field.name}", type=field.type, default=field.default)
    values = vars(parser.parse_args())
    model, host, port = (values.pop(name) for name in ("model", "host", "port"))
    for needed in ("saved_model.pb", "model_card.json"):
        if not (Path(model) / needed).is_file():
            parser.error(f"--model must be a SavedModel of c3tf.export; {model} has no {needed}")
    try:
        limits = Limits(**values)
    except ValueError as error:
        parser.error(str(error))
    # Imports TensorFlow, which a wrong command line need not wait for.
    from serve_http import app

    server = Granian(
        "serve_http.app",
        address=host,
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        http1_settings=HTTP1Settings(header_read_timeout=int(limits.header_seconds * 1000)),
        # A request in flight is answered before the process ends.
        workers_kill_timeout=int(limits.body_seconds + limits.compute_seconds) + 1,
    )
    server.serve(target_loader=functools.partial(app.create, model, limits), wrap_loader=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
