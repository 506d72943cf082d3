"""A server with scripted answers in the place of the model, which keeps what the page sends."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from mimetypes import guess_type
from typing import Any

from mustela.serve.site import FOLDER, POLICY


@dataclass
class Script:
    """What the server says next, and what it was sent.

    An answer is a list of chunks of text, with the regions of the whole text; or a status with a message.
    `hold` stops the stream before its last chunk until it is set.
    """

    chunks: list[str] = field(default_factory=lambda: ["Yes."])
    regions: list[dict[str, Any]] = field(default_factory=list)
    finish: str = "stop"
    refusals: list[tuple[int, dict[str, str], str]] = field(default_factory=list)
    key: str | None = None
    models: list[str] = field(default_factory=lambda: ["scripted"])
    requests: list[dict[str, Any]] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)
    hung_up: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.hold.set()

    def says(self, text: str, *boxes: tuple[str, list[float]], repaired: bool = False) -> None:
        """Answer `text`; each box is the words of it that stand for the box, and its corners in pixels."""
        self.chunks = [text[at : at + 7] for at in range(0, len(text), 7)]
        self.regions = []
        start = 0
        for words, numbers in boxes:
            start = text.index(words, start)
            name = "box_xyxy" if len(numbers) == 4 else "point_xy"
            span = [start, start + len(words)]
            self.regions.append({name: numbers, "span": span, "repaired": repaired})
            start += len(words)


class ScriptedServer(ThreadingHTTPServer):
    """Serves the page and its script, which may be replaced, on a free port of this machine."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"http://127.0.0.1:{self.server_port}/"
        self.script = Script()


@contextmanager
def serving() -> Iterator[ScriptedServer]:
    """Run a server until the block ends."""
    with ScriptedServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: ScriptedServer
    protocol_version = "HTTP/1.1"

    @property
    def script(self) -> Script:
        return self.server.script

    def log_message(self, *_: object) -> None:
        """Say nothing on the terminal."""

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path == "/v1/models":
            if self._allowed():
                models = [{"id": name, "object": "model"} for name in self.script.models]
                self._send(200, json.dumps({"object": "list", "data": models}).encode(), "application/json")
            return
        file = FOLDER / ("index.html" if path == "/" else path.removeprefix("/page/"))
        if not file.is_file():
            self._send(404, b"", "text/plain")
            return
        kind = guess_type(file)[0] or "application/octet-stream"
        self._send(200, file.read_bytes(), kind, {"Cache-Control": "max-age=600"})

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        script = self.script
        if not self._allowed():
            return
        script.requests.append(body)
        if script.refusals:
            status, headers, message = script.refusals.pop(0)
            self._refuse(status, message, headers)
            return
        if not body.get("stream"):
            message = {"role": "assistant", "content": "".join(script.chunks), "regions": script.regions}
            answer = {
                "id": "x",
                "object": "chat.completion",
                "created": 0,
                "model": body["model"],
                "choices": [{"index": 0, "message": message, "finish_reason": script.finish}],
            }
            self._send(200, json.dumps(answer).encode(), "application/json")
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            self._stream()
        except OSError:
            script.hung_up.set()

    def _stream(self) -> None:
        *first, last = self.script.chunks
        for chunk in first:
            self._event({"choices": [{"index": 0, "delta": {"content": chunk}}]})
        while not self.script.hold.wait(0.05):
            # A client that left is only noticed by writing to it.
            self.wfile.write(b": still here\n\n")
            self.wfile.flush()
        self._event({"choices": [{"index": 0, "delta": {"content": last}}]})
        end = {"index": 0, "delta": {"regions": self.script.regions}, "finish_reason": self.script.finish}
        self._event({"choices": [end]})
        self.wfile.write(b"data: [DONE]\n\n")

    def _event(self, data: dict[str, Any]) -> None:
        self.wfile.write(b"data: " + json.dumps(data).encode() + b"\n\n")
        self.wfile.flush()

    def _allowed(self) -> bool:
        key = self.script.key
        if key is None or self.headers["Authorization"] == f"Bearer {key}":
            return True
        self._refuse(401, "The API key is missing or wrong.", {})
        return False

    def _refuse(self, status: int, message: str, headers: dict[str, str]) -> None:
        self._send(status, json.dumps({"error": {"message": message}}).encode(), "application/json", headers)

    def _send(self, status: int, body: bytes, kind: str, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", POLICY)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
