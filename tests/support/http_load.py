"""Mixed requests to the HTTP example beside clients that never read, from a process of its own.

    python tests/support/http_load.py --port=8080 --expected=FILE.npz --requests=10000

prints what came back as JSON. `FILE.npz` is what `write_expected` wrote.
"""

import argparse
import collections
import hashlib
import json
import os
import random
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np

import crowd
import hostile_http
import tiny_network

HEAD = (
    b"POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Type: image/png\r\nContent-Length: %d\r\n\r\n"
)


def write_expected(path, serve):
    """Writes the class map that `serve` gives for every good image."""
    images = {data for case in hostile_http.good_cases() for data in case.images}
    np.savez(path, **{_name(data): serve(data) for data in images})


def never_read():
    """What the clients send that never read an answer."""
    small = hostile_http.encoded(tiny_network.noise(0, 64, 96), "png")
    post = HEAD % len(small) + small
    return [
        b"",
        b"GET /healthz HTTP/1.1\r\nHo",
        post,
        post * 20,
        b"GET /v1/model HTTP/1.1\r\nHost: x\r\n\r\n" * 50,
    ]


class Load:
    """Sends cases from many threads and notes what comes back."""

    def __init__(self, port, expected):
        self._port, self._expected = port, expected
        self._lock = threading.Lock()
        self.problems, self.statuses = [], collections.Counter()
        self.slowest = 0.0

    def send(self, case):
        began = time.monotonic()
        try:
            answer = case.send(self._port)
            problem = self._problem(case, answer)
        except OSError as error:
            # A refused body may still be on its way when the connection is closed.
            answer, problem = hostile_http.Answer(0), repr(error) if case.images else None
        with self._lock:
            self.slowest = max(self.slowest, time.monotonic() - began)
            self.statuses[answer.status] += 1
            if problem:
                self.problems.append(f"{case.name}: {problem}")
        if answer.status == 503:
            time.sleep(0.05)

    def _problem(self, case, answer):
        if answer.status == 503:
            return None
        if answer.status not in case.statuses:
            return f"status {answer.status}"
        if case.images:
            found = hostile_http.class_maps_of(answer)
            wanted = [self._expected[_name(data)] for data in case.images]
            if len(found) != len(wanted) or not all(map(np.array_equal, found, wanted)):
                return "another class map"
        return None


def _name(data):
    return hashlib.sha256(data).hexdigest()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--expected", required=True)
    parser.add_argument("--requests", type=int, default=10_000)
    parser.add_argument("--clients", type=int, default=64)
    parser.add_argument("--never_reading", type=int, default=1100)
    parser.add_argument("--body_bytes", type=int, default=200_000)
    flags = parser.parse_args()
    # As if it came from other machines: it does not take the server's processors.
    os.nice(10)
    draw = random.Random(0)
    good, bad = hostile_http.good_cases(), hostile_http.bad_cases(flags.body_bytes)
    cases = draw.choices(good, k=flags.requests * 3 // 4)
    cases += draw.choices(bad, k=flags.requests - len(cases))
    draw.shuffle(cases)
    load = Load(flags.port, np.load(flags.expected))
    with crowd.Crowd(flags.port, flags.never_reading, never_read()) as never_reading:
        began = time.monotonic()
        with ThreadPoolExecutor(flags.clients) as clients:
            list(clients.map(load.send, cases))
    result = {
        "statuses": dict(sorted(load.statuses.items())),
        "seconds": time.monotonic() - began,
        "slowest": load.slowest,
        "never_reading_opened": never_reading.opened,
        "problems": collections.Counter(load.problems).most_common(20),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    sys.exit(main())
