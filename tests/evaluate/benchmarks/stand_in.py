"""A chat server on this machine that stands in for a model behind an OpenAI-compatible address."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from mustela.evaluate.chat_client import ChatClient

Reply = Callable[[dict[str, Any]], str | int]


class StandIn:
    """A chat server; `reply` gives the text for a request, or a status."""

    def __init__(self) -> None:
        self.reply: Reply = lambda request: "A"
        self.requests: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                outer.requests.append(request)
                outer.keys.append(self.headers.get("Authorization"))
                found = outer.reply(request) if self.path == "/v1/chat/completions" else 404
                if isinstance(found, int):
                    self.send_error(found)
                    return
                usage = {"prompt_tokens": 100, "completion_tokens": 10}
                body = json.dumps({"choices": [{"message": {"content": found}}], "usage": usage}).encode()
                self.send_response(200)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.server.server_port}/v1"

    def client(self, **options: Any) -> ChatClient:
        return ChatClient(self.address, "stand-in", wait=lambda seconds: None, **options)
