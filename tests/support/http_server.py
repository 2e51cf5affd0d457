"""The HTTP example as a process of its own."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import hostile_http


@contextlib.contextmanager
def serving_at(model, folder, log, **limits):
    """Starts the server and waits until it answers; gives its process and port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "serve_http", f"--model={model}", f"--port={port}"]
    command += [f"--{name}={value}" for name, value in limits.items()]
    # Nothing of this project is on the server's path.
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    with open(log, "wb") as output:
        process = subprocess.Popen(
            command, cwd=folder / "examples", env=environment, stdout=output, stderr=output
        )
    try:
        wait_until_loaded(process, port, log)
        yield process, port
    finally:
        process.terminate()
        process.wait(30)


def wait_until_loaded(process, port, log):
    """Waits until the model is loaded, or has turned out not to be loadable."""
    deadline = time.monotonic() + 180
    while time.monotonic() < deadline:
        assert process.poll() is None, Path(log).read_text()
        with contextlib.suppress(OSError):
            ready = hostile_http.request(port, "GET", "/readyz").status == 200
            if ready or hostile_http.request(port, "GET", "/healthz").status == 500:
                return
        time.sleep(0.1)
    raise AssertionError(Path(log).read_text())


def resident_bytes(process):
    """Resident memory of the server, which is one process."""
    assert not Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    pages = int(Path(f"/proc/{process.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def seconds_without_processor(process):
    """Time in which the server's connections, or this thread, waited for others to run."""
    paths = (f"/proc/{process.pid}/schedstat", "/proc/thread-self/schedstat")
    return sum(int(Path(path).read_text().split()[1]) for path in paths) / 1e9


def metric(port, name, **labels):
    """Reads one number of the server's metrics; 0 where it was never counted."""
    return metric_in(hostile_http.request(port, "GET", "/metrics").body.decode(), name, **labels)


def metric_in(text, name, **labels):
    """Finds one number in the text of metrics."""
    listed = ",".join(f'{key}="{value}"' for key, value in labels.items())
    start = f"serve_http_{name}" + (f"{{{listed}}}" if listed else "") + " "
    lines = text.splitlines()
    return sum(float(line.removeprefix(start)) for line in lines if line.startswith(start))
