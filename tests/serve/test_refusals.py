"""What a server refuses, and that it goes on afterwards."""

from __future__ import annotations

import io
import json
import socket
import struct
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.serve.running import Running, data_url, picture, question, running

from mustela.infer import Predictor
from mustela.serve.limits import Limits


def bomb(width: int, height: int) -> bytes:
    """A small PNG file that says it has very many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100_000)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


BOX = {"type": "box", "xyxy": [1, 2, 30, 40]}
URLS = [
    "/etc/passwd",
    "file:///etc/passwd",
    "../../etc/passwd",
    "http://169.254.169.254/latest/",
    "http://127.0.0.1:22/",
    "https://example.org/a.png",
    "ftp://example.org/a.png",
    "data:text/plain,root:x:0:0",
    "data:image/png;base64,%%%%",
    data_url(b"root:x:0:0:root:/root:/bin/bash"),
    data_url(b""),
    data_url(bomb(100_000, 100_000)),
    data_url(bomb(4000, 4000)[:60]),
]


@pytest.mark.parametrize("url", URLS, ids=lambda url: url[:40])
def test_a_picture_comes_in_the_request_or_not_at_all(
    server: Running, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("the server opened a connection")

    body = json.dumps(question("What is it?", image=url)).encode()
    with monkeypatch.context() as patched:
        patched.setattr("mustela.serve.fetching.socket.create_connection", refuse)
        patched.setattr("mustela.serve.fetching.socket.getaddrinfo", refuse)
        # http.client of this test connects by itself.
        with socket.socket() as own:
            own.connect(("127.0.0.1", server.port))
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
            own.sendall(head.encode() + b"Content-Type: application/json\r\nConnection: close\r\n\r\n" + body)
            said = b"".join(iter(lambda: own.recv(65536), b""))
    assert said.startswith(b"HTTP/1.1 400 "), said
    assert b"root" not in said
    assert b"Traceback" not in said
    assert len(said) < 1200
    assert server.get("/readyz").status == 200


def with_messages(*messages: dict[str, Any]) -> dict[str, Any]:
    return {**question("Is it?"), "messages": list(messages)}


USER = {"role": "user", "content": "Is it?"}
BAD: list[tuple[Any, str]] = [
    (b"", "EOF"),
    (b"{", "EOF"),
    (b"[1, 2]", "object"),
    (b'{"model": "tiny", "messages": [{"role": "user", "content": "\\ud800"}]}', "hex escape"),
    (b"[" * 100_000, "recursion"),
    ({**question("Is it?"), "messages": []}, "at least 1"),
    ({**question("Is it?"), "max_tokens": 0}, "max_tokens"),
    ({**question("Is it?"), "max_tokens": 100_000}, "at most 1024"),
    ({**question("Is it?"), "max_tokens": 800}, "takes 512 together"),
    ({**question("Is it?"), "temperature": -1}, "temperature"),
    ({**question("Is it?"), "top_p": 0}, "top_p"),
    ({**question("Is it?"), "n": 100}, "at most 8"),
    ({**question("Is it?"), "stop": ["a"] * 9}, "at most 8"),
    ({**question("Is it?"), "stop": ""}, "stop"),
    ({**question("Is it?"), "logprobs": True}, "logprobs can only be False"),
    ({**question("Is it?"), "tools": [{}]}, "tools can only be []"),
    ({**question("Is it?"), "unheard_of": 1}, "unheard_of"),
    (with_messages(USER, USER), "take turns"),
    (with_messages({"role": "assistant", "content": "It is."}), "last message"),
    (with_messages({"role": "tool", "content": "x"}), "messages.0.role"),
    (with_messages({"role": "user", "content": "x" * 40_000}), "characters of text"),
    (with_messages(*[USER, {"role": "assistant", "content": "No."}] * 200, USER), "at most 256"),
    (question("What is <region>?", regions=[BOX]), "no picture"),
    (question("What is <region>?", image=picture(), regions=[BOX, BOX]), "1 <region> placeholders but 2"),
    (question("<region> or <region2>?", image=picture(), regions=[BOX, BOX]), "not both"),
    (question("What is <region>?", image=picture(), regions=[{"type": "circle"}]), "region type is 'circle'"),
    (
        question("What is <region>?", image=picture(), regions=[{**BOX, "image_index": 1}]),
        "there are 1 pictures",
    ),
    (question("What?", image=picture(), regions=[BOX] * 100), "at most 64"),
    (
        question("<region>", image=picture(), regions=[{"type": "mask", "size": [9, 9], "counts": [1, 80]}]),
        "9",
    ),
]


@pytest.mark.parametrize(("body", "reason"), BAD, ids=[reason for _, reason in BAD])
def test_a_bad_request_is_told_why(server: Running, body: Any, reason: str) -> None:
    reply = server.post(body)
    assert reply.status == 400, reply.body
    assert reason in reply.fault
    assert len(reply.fault) <= 600


def test_outlines_of_very_many_numbers_or_lines_are_refused(tiny: Predictor) -> None:
    with running(tiny, limits=Limits(region_numbers=1000, region_edges=10_000)) as server:
        for points in (600, 400):
            flat = [value for n in range(points) for value in (n % 2 * 60, n % 2 * 40)]
            body = question("<region>", image=picture(), regions=[{"type": "polygon", "rings": [flat]}])
            reply = server.post(body)
            assert (reply.status, reply.json["error"]["code"]) == (400, "region_too_complex")


def test_a_large_body_is_refused_unread(tiny: Predictor) -> None:
    with running(tiny, limits=Limits(body_bytes=10_000, bodies_bytes=15_000)) as server:
        reply = server.post(b"x" * 50_000)
        assert (reply.status, reply.json["error"]["code"]) == (413, "request_too_large")
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            client.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
            client.sendall(b"3000\r\n" + b"x" * 0x3000 + b"\r\n")
            assert client.recv(100).startswith(b"HTTP/1.1 413")
        assert server.post(question("Is it?")).status == 200


def test_fifty_megabytes_are_refused_by_their_length(server: Running) -> None:
    with socket.create_connection(("127.0.0.1", server.port)) as client:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        client.sendall(head + b"Content-Length: 52428800\r\n\r\n")
        assert client.recv(100).startswith(b"HTTP/1.1 413")
    assert server.get("/readyz").status == 200


def test_a_large_picture_is_refused(tiny: Predictor) -> None:
    with running(tiny, limits=Limits(image_bytes=2000, image_pixels=5000)) as server:
        assert server.post(question("?", image=picture(0, (60, 50)))).status == 413
        buffer = io.BytesIO()
        picture(0, (4, 4)).resize((100, 80), 0).save(buffer, "png")
        reply = server.post(question("?", image=buffer.getvalue()))
        assert (reply.status, "100 x 80" in reply.fault) == (400, True)


def test_no_answer_is_longer_than_may_be_asked_for(tiny: Predictor) -> None:
    with running(tiny, limits=Limits(new_tokens=3)) as server:
        body = question("Is it?")
        body.pop("max_tokens", None)
        assert server.post(body).json["usage"]["completion_tokens"] <= 3


@pytest.mark.parametrize(
    "place", [{"type": "box", "xyxy": [0.1, 0.2, 0.5, 0.6]}, {"type": "point", "xy": [900, 9]}]
)
def test_a_region_in_other_units_or_outside_is_refused(server: Running, place: dict[str, object]) -> None:
    reply = server.post(question("What is <region>?", image=picture(), regions=[place]))
    assert reply.status == 400
    assert "Regions are in pixels of the picture, which has 64 x 48" in reply.fault


def test_only_json_is_read(server: Running) -> None:
    body = json.dumps(question("Is it?")).encode()
    for kind in ("text/plain", "application/x-www-form-urlencoded", ""):
        assert server.post(body, **{"content-type": kind}).status == 415


def test_a_full_server_tells_when_to_come_back(tiny: Predictor) -> None:
    with running(tiny, limits=Limits(requests=2)) as server, ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: server.post(question("Is it?", max_tokens=20)), range(8)))
        busy = [reply for reply in replies if reply.status == 429]
        assert {reply.status for reply in replies} == {200, 429}
        assert {reply.headers["retry-after"] for reply in busy} == {"1"}
        assert server.post(question("Is it?")).status == 200


def test_an_answer_that_takes_too_long_is_given_up(tiny: Predictor) -> None:
    with running(tiny, limits=Limits(seconds=0.02)) as server:
        reply = server.post(question("Is it?", max_tokens=200))
        assert (reply.status, reply.json["error"]["code"]) == (504, "timeout")
        stream = server.post(question("Is it?", max_tokens=200, stream=True))
        assert b'"code": "timeout"' in stream.body
        assert b"[DONE]" not in stream.body


def test_a_body_that_trickles_in_is_given_up(tiny: Predictor) -> None:
    with (
        running(tiny, limits=Limits(body_seconds=0.05)) as server,
        socket.create_connection(("127.0.0.1", server.port)) as client,
    ):
        head = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        client.sendall(head + b"Content-Length: 100\r\n\r\n{")
        assert client.recv(100).startswith(b"HTTP/1.1 408")


@pytest.mark.parametrize("stream", [False, True])
def test_nothing_is_made_for_a_client_that_left(tiny: Predictor, stream: bool) -> None:
    with running(tiny) as server:
        body = json.dumps(question("Is it?", max_tokens=200, stream=stream)).encode()
        with socket.create_connection(("127.0.0.1", server.port)) as client:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n"
            client.sendall(head.encode() + b"Content-Type: application/json\r\n\r\n" + body)
            wait_for(lambda: server.metric("mustela_answers_running") == 1)
        wait_for(lambda: server.metric("mustela_requests_cancelled_total") == 1)
        wait_for(lambda: server.metric("mustela_answers_running") == 0)
        assert server.metric("mustela_answer_tokens_total") == 0
        assert server.post(question("Is it?")).status == 200


def wait_for(condition: Any) -> None:
    until = time.monotonic() + 60
    while time.monotonic() < until:
        if condition():
            return
        time.sleep(0.002)
    raise AssertionError("it never came")


def test_keys(tiny: Predictor) -> None:
    with running(tiny, keys=["first", "second"]) as server:
        for headers in ({}, {"authorization": "Bearer third"}, {"authorization": "Basic first"}):
            reply = server.post(question("Is it?"), **headers)
            assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")
            assert server.get("/v1/models", **headers).status == 401
            assert server.get("/metrics", **headers).status == 401
        assert server.post(question("Is it?"), authorization="Bearer second").status == 200
        for path in ("/", "/page/app.js", "/healthz", "/readyz"):
            assert server.get(path).status == 200


def test_a_name_of_elsewhere_is_not_answered(tiny: Predictor) -> None:
    with running(tiny, hosts=["localhost", "127.0.0.1", "::1"]) as server:
        assert server.get("/v1/models").status == 200
        for host in ("localhost:8000", "127.0.0.1", "[::1]:80", "LOCALHOST"):
            assert server.get("/v1/models", host=host).status == 200
        for host in ("evil.example", "localhost.evil.example:8000", "127.0.0.1.evil.example", ""):
            assert server.get("/v1/models", host=host).status == 421


def test_other_origins_get_no_leave(server: Running) -> None:
    headers = {"origin": "https://evil.example", "access-control-request-method": "POST"}
    reply = server.send("OPTIONS", "/v1/chat/completions", headers=headers)
    assert reply.status == 405
    for each in (reply, server.post(question("Is it?"), origin="https://evil.example")):
        assert not [name for name in each.headers if name.startswith("access-control")]


def test_a_model_that_is_being_loaded_is_told() -> None:
    with running(None) as server:
        assert (server.get("/healthz").status, server.get("/readyz").status) == (200, 503)
        assert server.get("/v1/models").status == 503
        reply = server.post(question("Is it?"))
        assert (reply.status, reply.headers["retry-after"]) == (503, "2")


def test_nothing_of_a_request_is_logged(
    server: Running,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server.post(question("my secret", image=picture(), max_tokens=2))
    server.post(b'{"messages": "my secret"')
    server.get("/my-secret?my=secret")

    words = "my secret"

    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError(words)

    monkeypatch.setattr("mustela.serve.chat.Chat.begin", broken)
    reply = server.post(question("my secret", max_tokens=2))
    assert (reply.status, reply.json["error"]["code"]) == (500, "internal_error")
    wait_for(lambda: "a request failed with RuntimeError" in caplog.text)
    assert "secret" not in caplog.text + "".join(capfd.readouterr())


@pytest.mark.slow
def test_one_bad_row_does_not_spoil_the_others(tiny: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    from mustela.serve import batching

    decode = batching.decode_rows
    barrier = threading.Event()

    def fails_for_seven(model: Any, processor: Any, rows: Any, **settings: Any) -> None:
        barrier.wait(5)
        if any(row._max_new_tokens == 7 for row in rows):
            raise RuntimeError("seven")
        decode(model, processor, rows, **settings)

    monkeypatch.setattr(batching, "decode_rows", fails_for_seven)
    with running(tiny) as server, ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(server.post, question("Is it?", max_tokens=n)) for n in (6, 7, 8)]
        wait_for(lambda: server.metric("mustela_answers_waiting") + server.metric("mustela_answers_running"))
        barrier.set()
        assert [future.result().status for future in asked] == [200, 500, 200]
