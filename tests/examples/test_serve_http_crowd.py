"""The HTTP example under a crowd: 10,000 requests of 64 clients beside 1,100 that never read."""

import contextlib
import json
import os
import subprocess
import sys
import time

import pytest
import tensorflow as tf

import hostile_http
import http_load
import http_server
import tiny_network
from c3tf.serving import saved_model

REQUESTS, BODY_BYTES = 10_000, 200_000
# What the README says: memory beyond the loaded model's.
REQUEST_BYTES, CONNECTION_BYTES = 3 * BODY_BYTES, 100_000
# What TensorFlow takes for one request of this size, and allocators keep.
COMPUTING_BYTES = 128 << 20
LIMITS = {"pixels": 120_000, "batch": 3, "body_bytes": BODY_BYTES}


@pytest.mark.slow
def test_ten_thousand_requests_beside_a_thousand_clients_that_never_read(repository, tmp_path):
    model = saved_model.save(tiny_network.build(), tiny_network.LABEL_MAP, tmp_path / "model")
    serve = tf.saved_model.load(str(model)).signatures["image_bytes"]
    http_load.write_expected(
        tmp_path / "expected.npz",
        lambda data: serve(image_bytes=tf.constant([data]))["class_map"].numpy()[0],
    )
    health, by_clock, silent = 0.0, 0.0, 0
    with http_server.serving_at(model, repository, tmp_path / "log", **LIMITS) as (process, port):
        peak = before = http_server.resident_bytes(process)
        command = [sys.executable, http_load.__file__, f"--port={port}", f"--requests={REQUESTS}"]
        command += [f"--expected={tmp_path / 'expected.npz'}", f"--body_bytes={BODY_BYTES}"]
        paths = os.pathsep.join([str(repository), str(repository / "tests/support")])
        load = subprocess.Popen(
            command, stdout=subprocess.PIPE, env={**os.environ, "PYTHONPATH": paths}, text=True
        )
        while load.poll() is None:
            began, stolen = time.monotonic(), http_server.seconds_without_processor(process)
            silent += 1
            with contextlib.suppress(OSError):
                silent -= hostile_http.request(port, "GET", "/healthz").status == 200
            took = time.monotonic() - began
            stolen = http_server.seconds_without_processor(process) - stolen
            # Other programs of this machine are not the server's doing.
            health, by_clock = max(health, took - stolen), max(by_clock, took)
            peak = max(peak, http_server.resident_bytes(process))
            time.sleep(0.5)
    found = json.loads(load.stdout.read())
    print(
        f"{found}; health {health:.2f} s ({by_clock:.2f} s by the clock); "
        f"{(peak - before) >> 20} MiB more"
    )
    assert load.returncode == 0
    assert not found["problems"]
    assert not silent
    assert found["slowest"] < 60
    assert health < 2
    assert found["statuses"]["200"] > REQUESTS // 10
    assert found["never_reading_opened"] > 1100
    assert peak - before < 32 * REQUEST_BYTES + 2048 * CONNECTION_BYTES + COMPUTING_BYTES
    assert "Traceback" not in (tmp_path / "log").read_text()
