"""The HTTP example: right answers to good requests, refusals of all others, flat memory."""

import concurrent.futures
import importlib
import json
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

import hostile_http
import http_server
import image_files
import tiny_network
from c3tf.inference import reading
from c3tf.inference.image_files import Input
from c3tf.serving import saved_model

REQUESTS, CLIENTS, BODY_BYTES = 500, 8, 200_000
LIMITS = {
    "body_bytes": BODY_BYTES,
    "pixels": 120_000,
    "batch": 3,
    "header_seconds": 2,
    "body_seconds": 2,
    "queue": CLIENTS,
}
MEBIBYTE = 1024 * 1024


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return saved_model.save(
        tiny_network.build(), tiny_network.LABEL_MAP, tmp_path_factory.mktemp("http") / "model"
    )


@pytest.fixture(scope="module")
def server(model, repository, tmp_path_factory):
    log = tmp_path_factory.mktemp("log") / "server.log"
    with http_server.serving_at(model, repository, log, **LIMITS) as (process, port):
        yield process, port, log


def check(case, port, expected):
    """Sends a request and compares what comes back; gives what is wrong, if anything."""
    answer = case.send(port)
    if answer.status not in case.statuses:
        return f"{case.name}: {answer.status}, expected {case.statuses}: {answer.body[:200]}"
    if not case.images:
        if answer.body and set(json.loads(answer.body)["error"]) != {"code", "message"}:
            return f"{case.name}: {answer.body[:200]}"
        return None
    found = hostile_http.class_maps_of(answer)
    wanted = [expected[data] for data in case.images]
    same = len(found) == len(wanted) and all(map(np.array_equal, found, wanted))
    return None if same else f"{case.name}: another class map"


@pytest.fixture(scope="module")
def expected(model):
    """The SavedModel's own class map of every good image."""
    serve = tf.saved_model.load(str(model)).signatures["image_bytes"]
    images = {data for case in hostile_http.good_cases() for data in case.images}
    return {data: serve(image_bytes=tf.constant([data]))["class_map"].numpy()[0] for data in images}


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads memory from /proc")
def test_mixed_good_and_hostile_requests_from_several_clients(server, expected):
    process, port, log = server
    good, bad = hostile_http.good_cases(), hostile_http.bad_cases(BODY_BYTES)
    slow = hostile_http.slow_cases()
    draw = random.Random(0)
    mixed = [case for _ in range(4) for case in slow] + bad * 3
    mixed += draw.choices(good, k=REQUESTS - len(mixed))
    draw.shuffle(mixed)
    assert len(mixed) == REQUESTS
    assert sum(bool(case.images) for case in mixed) > 200

    def send(cases):
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as clients:
            found = list(clients.map(lambda case: check(case, port, expected), cases))
        return [problem for problem in found if problem]

    assert not send(good * 2 + bad), "before memory is measured"
    before = http_server.resident_bytes(process)
    assert not send(mixed)
    grown = (http_server.resident_bytes(process) - before) / MEBIBYTE
    assert grown < 16, f"{grown:.0f} MiB more than before {REQUESTS} requests"
    assert hostile_http.request(port, "GET", "/healthz").status == 200
    assert "Traceback" not in log.read_text()


def test_it_says_what_it_serves(server):
    _, port, _ = server
    card = json.loads(hostile_http.request(port, "GET", "/v1/model").body)
    names = [entry["name"] for entry in card["classes"]]
    assert names == list(tiny_network.LABEL_MAP.class_names)
    image = hostile_http.encoded(tiny_network.noise(0, 33, 47), "png")
    answer = hostile_http.request(
        port, "POST", "/v1/segment", image, Content_Type="image/png", Accept="application/json"
    )
    given = json.loads(answer.body)
    (class_map,) = hostile_http.class_maps_of(answer)
    assert (given["height"], given["width"]) == class_map.shape == (33, 47)
    counts = {entry["name"]: entry["pixels"] for entry in given["classes"]}
    assert counts == {
        names[i]: int(n) for i, n in zip(*np.unique(class_map, return_counts=True), strict=True)
    }


@pytest.mark.parametrize("exif", ["refuse", "apply", "ignore"])
def test_an_image_that_notes_a_rotation_is_read_as_predict_reads_it(
    model, repository, tmp_path, monkeypatch, exif
):
    monkeypatch.syspath_prepend(repository / "examples")
    limits, metrics, segmenter = (
        importlib.import_module(f"serve_http.{name}") for name in ("limits", "metrics", "segmenter")
    )
    served = segmenter.Segmenter(str(model), limits.Limits(), metrics.Metrics(), exif)
    served._load()
    pixels = tiny_network.noise(3, 33, 47)
    files = [image_files.turned(pixels, kind, 6) for kind in ("JPEG", "PNG")]
    (tmp_path / "image").write_bytes(files[0])
    (loaded,) = next(reading.batches([Input(tmp_path / "image", "image")], 1, exif=exif))
    if exif == "refuse":
        assert "EXIF orientation 6" in loaded.problem
        with pytest.raises(limits.RefusedError, match="EXIF orientation 6"):
            served.class_maps(files)
        return
    by_predict = tf.saved_model.load(str(model)).signatures["serving_default"]
    wanted = by_predict(images=tf.constant(loaded.image[None]))["class_map"].numpy()
    np.testing.assert_array_equal(served.class_maps(files[:1]), wanted)
    sides = (47, 33) if exif == "apply" else (33, 47)
    assert wanted.shape[1:] == sides
    upright = image_files.encode(np.zeros((*sides, 3), np.uint8), "PNG")
    assert served.class_maps([*files, upright]).shape == (3, *sides)
    with pytest.raises(limits.RefusedError, match="must be of one size"):
        served.class_maps(
            [files[0], image_files.encode(np.zeros((*sides[::-1], 3), np.uint8), "PNG")]
        )


def test_more_than_it_can_do_is_refused_with_a_time_to_come_back(server, expected):
    _, port, _ = server
    case = max(hostile_http.good_cases(), key=lambda case: sum(map(len, case.images)))
    together = threading.Barrier(60)

    def send(_):
        together.wait()
        return case.send(port)

    with concurrent.futures.ThreadPoolExecutor(60) as clients:
        answers = list(clients.map(send, range(60)))
    refused = [answer for answer in answers if answer.status == 503]
    assert refused
    assert all(answer.headers["retry-after"] == "1" for answer in refused)
    assert all(json.loads(answer.body)["error"]["code"] == "busy" for answer in refused)
    right = [answer for answer in answers if answer.status == 200]
    assert len(right) >= LIMITS["queue"]
    assert len(right) + len(refused) == len(answers)
    wanted = [expected[data] for data in case.images]
    assert all(np.array_equal(hostile_http.class_maps_of(answer), wanted) for answer in right)
    assert check(case, port, expected) is None, "it goes on as before"


def test_a_request_in_flight_is_answered_before_it_ends(model, repository, tmp_path, expected):
    data = next(iter(expected))
    kind = b"image/png" if data.startswith(hostile_http.PNG_SIGNATURE) else b"image/jpeg"
    head = b"POST /v1/segment HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Type: " + kind
    head += b"\r\nContent-Length: %d\r\n\r\n" % len(data)
    with (
        http_server.serving_at(model, repository, tmp_path / "log") as (process, port),
        socket.create_connection(("127.0.0.1", port), timeout=30) as client,
    ):
        client.sendall(head + data[:100])
        time.sleep(0.5)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.5)
        client.sendall(data[100:])
        answer = client.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200")
        png = answer[answer.index(hostile_http.PNG_SIGNATURE) :]
        found = hostile_http.Answer(200, png, {"content-type": "image/png"})
        np.testing.assert_array_equal(hostile_http.class_maps_of(found)[0], expected[data])
        assert process.wait(30) == 0


def test_a_model_that_cannot_be_loaded_is_told_by_health(model, repository, tmp_path, expected):
    damaged = tmp_path / "model"
    shutil.copytree(model, damaged)
    (damaged / "variables/variables.index").write_bytes(b"no index")
    with http_server.serving_at(damaged, repository, tmp_path / "log") as (_, port):
        assert hostile_http.request(port, "GET", "/healthz").status == 500
        assert hostile_http.request(port, "GET", "/readyz").status == 503
        (case, *_) = hostile_http.good_cases()
        assert case.send(port).status == 503
    assert f"{damaged} cannot be loaded" in (tmp_path / "log").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model=nowhere"], "nowhere has no saved_model.pb"),
        (["--exif=up"], "argument --exif: invalid choice: 'up'"),
        (["--batch=0"], "`batch` must be positive"),
        (["--header_seconds=-1"], "`header_seconds` must be positive"),
        (["--write_seconds=inf"], "`write_seconds` must be positive"),
        (["--connections=2000000000"], "`connections` must be at most"),
        (["--port=70000"], "port must be 0-65535"),
        (["--host=192.0.2.1"], "cannot listen at 192.0.2.1"),
    ],
)
def test_bad_options_are_refused_at_the_start(model, repository, arguments, message):
    command = [sys.executable, "-m", "serve_http", f"--model={model}", *arguments]
    done = subprocess.run(
        command, cwd=repository / "examples", capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert message in done.stderr.splitlines()[-1]
