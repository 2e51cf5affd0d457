"""Requests to the HTTP example: good ones of every kind, and bad ones of many."""

import base64
import contextlib
import dataclasses
import http.client
import io
import json
import select
import socket
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

import image_files
import tiny_network

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
SIZES = ((64, 96), (33, 47), (200, 260))


@dataclasses.dataclass(frozen=True)
class Answer:
    """What came back; status 0 stands for a connection closed without an answer."""

    status: int
    body: bytes = b""
    headers: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Case:
    """A request and what must come of it.

    Attributes:
        name: for messages.
        send: takes the port.
        statuses: the acceptable ones.
        images: of a good request, the encoded images whose class maps must come back.
    """

    name: str
    send: Callable[[int], Answer]
    statuses: tuple[int, ...]
    images: tuple[bytes, ...] = ()


def request(port, method, path, body=None, **headers):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    with contextlib.closing(connection):
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, body, names)
        response = connection.getresponse()
        return Answer(response.status, response.read(), dict(response.getheaders()))


def post(path, body, **headers):
    return lambda port: request(port, "POST", path, body, **headers)


def raw(data, pause=0.0, step=None):
    """Sends bytes as they are, in small steps where asked, until something comes back."""

    def send(port):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.settimeout(30)
            answered = select.poll()
            answered.register(client, select.POLLIN)
            try:
                for start in range(0, len(data), step or len(data)):
                    client.sendall(data[start : start + (step or len(data))])
                    # Not `select`, which takes no more than 1,024 files.
                    if answered.poll(1000 * pause):
                        break
                line = client.makefile("rb").readline().split()
            except (BrokenPipeError, ConnectionResetError):
                line = []
            return Answer(int(line[1]) if line else 0)

    return send


def encoded(image, kind, mode="RGB", **options):
    buffer = io.BytesIO()
    Image.fromarray(image).convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def scans(width, height, count):
    """A progressive JPEG of so many scans, each of which passes over all pixels for a few bytes."""
    image = encoded(np.zeros((height, width, 3), np.uint8), "jpeg", progressive=True)
    last = image.rindex(b"\xff\xda")
    return image[:last] + image[last:-2] * count + image[-2:]


def png(width, height, *chunks, bits=8):
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, 2, 0, 0, 0))
    return PNG_SIGNATURE + header + b"".join(chunks) + chunk(b"IEND", b"")


def good_cases():
    """Images of every kind that JPEG and PNG allow, one by one and in batches."""
    cases = []
    for index, (height, width) in enumerate(SIZES):
        image = tiny_network.noise(index, height, width)
        files = {
            "jpeg": encoded(image, "jpeg", quality=90),
            "progressive": encoded(image, "jpeg", progressive=True),
            "grey": encoded(image, "jpeg", mode="L"),
            "png": encoded(image, "png"),
            "alpha": encoded(image, "png", mode="RGBA"),
            "palette": encoded(image, "png", mode="P"),
        }
        for name, data in files.items():
            kind = "image/png" if data.startswith(PNG_SIGNATURE) else "image/jpeg"
            accept = "application/json" if name in ("grey", "palette") else "image/png"
            send = post("/v1/segment", data, Content_Type=kind, Accept=accept)
            cases.append(Case(f"{name} {width}x{height}", send, (200,), (data,)))
        pair = (files["jpeg"], files["png"])
        cases.append(Case(f"batch {width}x{height}", batch(*pair), (200,), pair))
    return cases


def batch(*images):
    body = json.dumps({"images": [base64.b64encode(one).decode() for one in images]})
    return post("/v1/segment_batch", body, Content_Type="application/json")


def bad_cases(body_bytes):
    """Damaged and hostile images, bodies and requests; `body_bytes` is the server's limit."""
    image = tiny_network.noise(0, 64, 96)
    jpeg, ok_png = encoded(image, "jpeg"), encoded(image, "png")
    # Headers of the largest size that JPEG decoders take, and of a larger one, in front of a small
    # image's data.
    at = jpeg.index(b"\xff\xc0") + 5
    wide_jpeg, wider_jpeg = (
        jpeg[:at] + 2 * side.to_bytes(2) + jpeg[at + 4 :] for side in (65500, 65535)
    )
    text_bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(100_000_000), 9))
    small_bomb = chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(7_900_000), 9))
    bodies = {
        "empty": (b"", 400),
        "text": (b"no image at all", 400),
        "zeros": (bytes(5000), 400),
        "half a jpeg": (jpeg[: len(jpeg) // 2], 400),
        "half a png": (ok_png[: len(ok_png) // 2], 400),
        "jpeg marker": (b"\xff\xd8\xff", 400),
        "png signature": (PNG_SIGNATURE, 400),
        "gif": (encoded(image, "gif"), 400),
        "bmp": (encoded(image, "bmp"), 400),
        "pixel bomb": (png(30000, 30000, chunk(b"IDAT", zlib.compress(bytes(10**7)))), 413),
        "negative png": (png(2**32 - 1, 2**32 - 1, chunk(b"IDAT", b"")), 413),
        "one row": (png(60000, 1, chunk(b"IDAT", zlib.compress(bytes(180_001)))), 413),
        "no pixels": (png(0, 0, chunk(b"IDAT", zlib.compress(b""))), 400),
        "missing pixels": (png(64, 96, chunk(b"IDAT", zlib.compress(bytes(9)))), 400),
        "text bomb": (png(64, 96, text_bomb), 400),
        "many text bombs": (png(64, 96, *[small_bomb] * 20), 413),
        "wide jpeg": (wide_jpeg, 413),
        "wider jpeg": (wider_jpeg, 400),
        "fill bytes": (b"\xff\xd8" + b"\xff" * (body_bytes - 2), 400),
        "stuffed bytes": ((b"\xff\xd8\xff\xe0\0\4ab" + b"\xff\0" * (body_bytes // 3)), 400),
        "markers": (b"\xff\xd8" + b"\xff\xe0\0\2" * (body_bytes // 5), 400),
        "scans": (scans(64, 96, body_bytes // 12), 413),
        "16 bits": (png(64, 96, bits=16), 400),
        "cmyk of nobody's": (encoded(image, "jpeg", "CMYK").replace(b"Adobe", b"Abode"), 400),
        "turned": (image_files.turned(image, "jpeg", 6), 400),
        "too many bytes": (bytes(body_bytes + 1), 413),
    }
    cases = [
        Case(name, post("/v1/segment", body, Content_Type="image/png"), (status,))
        for name, (body, status) in bodies.items()
    ]
    return cases + _bad_types(jpeg) + _bad_json(jpeg) + _bad_http(body_bytes, jpeg)


def _bad_types(jpeg):
    return [
        Case("no type", post("/v1/segment", jpeg), (415,)),
        Case("text type", post("/v1/segment", jpeg, Content_Type="text/plain"), (415,)),
        Case("gif type", post("/v1/segment", jpeg, Content_Type="image/gif"), (415,)),
        Case("form", post("/v1/segment", b"a=1", Content_Type="multipart/form-data"), (415,)),
        Case(
            "gzip",
            post("/v1/segment", jpeg, Content_Type="image/jpeg", Content_Encoding="gzip"),
            (415,),
        ),
        Case(
            "accept",
            post("/v1/segment", jpeg, Content_Type="image/jpeg", Accept="text/html"),
            (406,),
        ),
    ]


def _bad_json(jpeg):
    bodies = [
        b"",
        b"{",
        b"[" * 60_000,
        b'{"a":' * 20_000,
        b"\xff\xfe\x00",
        b"9" * 50_000,
        b"null",
        b"{}",
        b'{"images": 5}',
        b'{"images": []}',
        b'{"images": [5]}',
        b'{"images": ["***"]}',
        b'{"images": ["aGVsbG8="]}',
        b'{"images": [' + b"[]," * 60_000 + b"[]]}",
        b'{"images": [' + b'"a",' * 40_000 + b'"a"]}',
    ]
    cases = [
        Case(f"json {i}", post("/v1/segment_batch", body, Content_Type="application/json"), (400,))
        for i, body in enumerate(bodies)
    ]
    other = encoded(tiny_network.noise(1, 33, 47), "png")
    return [
        *cases,
        Case("two sizes", batch(jpeg, other), (400,)),
        Case("too many images", batch(*[jpeg] * 4), (413,)),
    ]


def _bad_http(body_bytes, jpeg):
    head = b"POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
    long_chunk = b"%x\r\n" % (body_bytes * 2) + bytes(body_bytes * 2) + b"\r\n0\r\n\r\n"
    return [
        Case("bad chunk", raw(head + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n"), (400, 411)),
        Case("huge length", raw(head + b"Content-Length: 99999999999\r\n\r\n"), (413,)),
        Case("negative length", raw(head + b"Content-Length: -5\r\n\r\n"), (400,)),
        Case("chunks", raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + long_chunk), (411,)),
        Case("one chunk", raw(head + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), (411,)),
        Case(
            "tiny chunks",
            raw(head + b"Transfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * body_bytes),
            (411, 0),
        ),
        Case("no http", raw(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"), (400,)),
        Case("many headers", raw(head + b"A: 1\r\n" * 500 + b"\r\n"), (431,)),
        Case("long header", raw(head + b"A: " + b"1" * 100_000 + b"\r\n\r\n"), (400, 0)),
        Case("endless line", raw(b"GET /" + b"1" * 100_000), (400, 0)),
        Case("two lengths", raw(head + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n"), (400,)),
        Case("no path", lambda port: request(port, "GET", "/v1/none"), (404,)),
        Case("up", lambda port: request(port, "GET", "/../../etc/passwd"), (404,)),
        Case("get", lambda port: request(port, "GET", "/v1/segment"), (405,)),
        Case("put", lambda port: request(port, "PUT", "/v1/segment", jpeg), (405,)),
        Case("gone", gone(head + b"Content-Length: 5000\r\n\r\n" + jpeg[:100]), (0,)),
    ]


def slow_cases():
    """Clients that hold a connection open as long as they can."""
    head = b"POST /v1/segment HTTP/1.1\r\nHost: x\r\nContent-Type: image/jpeg\r\n"
    return [
        Case("slow headers", raw(head + b"A: 1\r\n" * 500, pause=0.2, step=20), (0, 408)),
        Case(
            "slow body",
            raw(head + b"Content-Length: 5000\r\n\r\n" + bytes(4000), pause=0.3, step=120),
            (408,),
        ),
        Case("stalled", raw(head + b"Content-Length: 5000\r\n\r\n" + bytes(40)), (408,)),
    ]


def gone(data):
    """Sends a part of a request and hangs up."""

    def send(port):
        with socket.create_connection(("127.0.0.1", port), timeout=30) as client:
            client.sendall(data)
        return Answer(0)

    return send


def class_maps_of(answer):
    """Reads the class maps of a good answer, whatever its form."""
    if answer.headers["content-type"] == "image/png":
        pngs = [answer.body]
    else:
        given = json.loads(answer.body)
        pngs = given.get("class_maps") or [given["class_map"]]
        pngs = [base64.b64decode(one) for one in pngs]
    return [np.asarray(Image.open(io.BytesIO(one))) for one in pngs]
