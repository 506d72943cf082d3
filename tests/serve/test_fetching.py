"""Addresses of pictures: what is fetched, and what never."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from mustela.serve.errors import ApiError
from mustela.serve.fetching import Fetcher

PUBLIC = "93.184.216.34"
PRIVATE = [
    "127.0.0.1",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "224.0.0.1",
    "255.255.255.255",
    "::1",
    "fe80::1%eth0",
    "fd00::1",
    "::ffff:127.0.0.1",
    "::ffff:a9fe:a9fe",
    "2002:7f00:1::",
    "64:ff9b::7f00:1",
]


class Elsewhere(BaseHTTPRequestHandler):
    """A host with pictures."""

    def do_GET(self) -> None:
        if self.path.startswith("/to?"):
            self.send_response(302)
            self.send_header("Location", self.path[4:])
            self.end_headers()
            return
        self.send_response(404 if self.path == "/none" else 200)
        self.end_headers()
        self.wfile.write(b"x" * 200 if self.path == "/large" else b"picture")

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def port() -> Iterator[int]:
    with HTTPServer(("127.0.0.1", 0), Elsewhere) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server.server_port
        server.shutdown()
        thread.join()


@pytest.fixture
def fetcher(monkeypatch: pytest.MonkeyPatch) -> Fetcher:
    """A fetcher to whom the host in this process has a public address."""
    connect = socket.create_connection

    def to_here(address: tuple[str, int], **settings: Any) -> socket.socket:
        assert address[0] == PUBLIC, "only the address that was looked at is connected to"
        return connect(("127.0.0.1", address[1]), **settings)

    monkeypatch.setattr("mustela.serve.fetching.socket.create_connection", to_here)
    hosts = ("pictures.example", "*.cdn.example")
    return Fetcher(hosts=hosts, max_bytes=100, resolve=lambda host, port: [PUBLIC])


def refusal(fetcher: Fetcher, url: str) -> ApiError:
    with pytest.raises(ApiError) as caught:
        fetcher.fetch(url)
    return caught.value


def test_allowed_hosts_are_fetched_and_redirects_among_them_followed(fetcher: Fetcher, port: int) -> None:
    for url in (
        f"http://pictures.example:{port}/a.png",
        f"http://PICTURES.example.:{port}/a.png",
        f"http://a.b.cdn.example:{port}/a.png?x=1",
        f"http://pictures.example:{port}/to?/a.png",
        f"http://pictures.example:{port}/to?http://a.cdn.example:{port}/a.png",
    ):
        assert fetcher.fetch(url) == b"picture"


@pytest.mark.parametrize(
    "url",
    [
        "http://other.example/a.png",
        "http://cdn.example/a.png",
        "http://notpictures.example/a.png",
        "http://pictures.example@other.example/a.png",
        "http://me:secret@pictures.example/a.png",
        "http://pictures.example:{port}/to?http://other.example/",
        "http://pictures.example:{port}/to?file:///etc/passwd",
        "http://pictures.example:{port}/to?gopher://pictures.example/",
        "file:///etc/passwd",
        "http://[::1/a.png",
        "http://pictures.example:99999/a.png",
        "",
    ],
)
def test_others_are_not(fetcher: Fetcher, port: int, url: str) -> None:
    assert refusal(fetcher, url.replace("{port}", str(port))).status == 400


def test_it_goes_on_only_so_long(fetcher: Fetcher, port: int) -> None:
    address = f"http://pictures.example:{port}"
    around = f"{address}/to?" * 6 + f"{address}/a.png"
    assert "one to the next" in refusal(fetcher, around).message
    assert refusal(fetcher, f"{address}/large").status == 413
    assert refusal(fetcher, f"{address}/none").code == "address_unreachable"


@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_that_leads_to_a_private_address_is_refused(address: str) -> None:
    fetcher = Fetcher(hosts=("pictures.example",), resolve=lambda host, port: [PUBLIC, address])
    assert "public" in refusal(fetcher, "http://pictures.example/a.png").message


def test_files_are_read_below_allowed_folders_only(tmp_path: Path) -> None:
    folder, outside = tmp_path / "images", tmp_path / "secret.png"
    folder.mkdir()
    outside.write_bytes(b"secret")
    (folder / "a b.png").write_bytes(b"picture")
    (folder / "large.png").write_bytes(b"x" * 200)
    (folder / "link.png").symlink_to(outside)
    fetcher = Fetcher(folders=(folder,), max_bytes=100)
    assert fetcher.fetch(f"file://{folder}/a%20b.png") == b"picture"
    assert refusal(fetcher, f"file://{folder}/large.png").status == 413
    for path in ("link.png", "../secret.png", "%2e%2e/secret.png", "none.png", "", "a\0b"):
        assert refusal(fetcher, f"file://{folder}/{path}").code == "address_not_allowed"
    assert refusal(fetcher, f"file://elsewhere{folder}/a%20b.png").code == "address_not_allowed"
    assert refusal(fetcher, f"{folder}/a%20b.png").code == "address_not_allowed"
