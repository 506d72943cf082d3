"""The page's files, as the server gives them."""

from __future__ import annotations

import re

import pytest
from tests.serve.running import Running

from mustela.serve.site import FOLDER


def test_every_file_of_the_page_comes_with_its_type_and_policy(server: Running) -> None:
    kinds = {".js": "text/javascript", ".css": "text/css", ".html": "text/html", ".svg": "image/svg+xml"}
    for path in FOLDER.rglob("*"):
        if path.is_dir():
            continue
        reply = server.get(f"/page/{path.relative_to(FOLDER).as_posix()}")
        assert reply.body == path.read_bytes()
        assert reply.headers["content-type"].startswith(kinds.get(path.suffix, ""))
        assert reply.headers["x-content-type-options"] == "nosniff"
    index = server.get("/")
    assert index.body == (FOLDER / "index.html").read_bytes()
    policy = dict(part.strip().split(" ", 1) for part in index.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'self'"
    assert policy["frame-ancestors"] == policy["object-src"] == policy["base-uri"] == "'none'"
    assert "unsafe" not in index.headers["content-security-policy"]
    assert not re.search(rb'(?:src|href)="(?:https?:)?//', index.body)


def test_a_file_that_is_known_is_not_sent_again(server: Running) -> None:
    tag = server.get("/page/app.js").headers["etag"]
    reply = server.get("/page/app.js", **{"if-none-match": tag})
    assert (reply.status, reply.body) == (304, b"")


@pytest.mark.parametrize(
    "path", ["/page/none.js", "/page/../schema.py", "/page/%2e%2e/schema.py", "/x", "/docs"]
)
def test_nothing_else_is_there(server: Running, path: str) -> None:
    reply = server.get(path)
    assert (reply.status, "error" in reply.json) == (404, True)


def test_the_description_has_the_chat_endpoint(server: Running) -> None:
    described = server.get("/openapi.json").json
    post = described["paths"]["/v1/chat/completions"]["post"]
    names = re.findall(r"#/components/schemas/(\w+)", str(described))
    assert set(names) <= set(described["components"]["schemas"])
    assert post["requestBody"]["content"]["application/json"]["schema"]["$ref"].endswith("/ChatRequest")


def test_metrics_are_prometheus(server: Running) -> None:
    reply = server.get("/metrics")
    assert reply.headers["content-type"].startswith("text/plain; version=")
    assert b"mustela_request_seconds_bucket" in reply.body
