"""A server in a thread, and how tests ask it."""

from __future__ import annotations

import base64
import http.client
import io
import json
import socket
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import uvicorn
from PIL import Image

from mustela.infer import Predictor
from mustela.serve.app import make_app
from mustela.serve.fetching import Fetcher
from mustela.serve.limits import Limits
from mustela.serve.service import Service

MODEL = "tiny"


@dataclass
class Reply:
    """A response."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """The chunks of a stream, without its end mark."""
        lines = [line for line in self.body.decode().split("\n\n") if line]
        assert lines[-1] == "data: [DONE]"
        return [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]

    @property
    def text(self) -> str:
        text: str = self.json["choices"][0]["message"]["content"]
        return text

    @property
    def fault(self) -> str:
        message: str = self.json["error"]["message"]
        return message


@dataclass
class Running:
    """A server that listens."""

    service: Service
    port: int
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def send(
        self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(method, path, body, {**self.headers, **(headers or {})})
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Reply(response.status, found, response.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Reply:
        return self.send("GET", path, headers=headers)

    def post(self, body: Any, **headers: str) -> Reply:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        kind = {"content-type": "application/json"}
        return self.send("POST", "/v1/chat/completions", content, {**kind, **headers})

    def metric(self, name: str) -> float:
        """Return the sum of a counter over its labels."""
        lines = self.service.metrics.text().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


@contextmanager
def running(
    predictor: Predictor | None,
    *,
    limits: Limits | None = None,
    fetcher: Fetcher | None = None,
    keys: Sequence[str] = (),
    hosts: Sequence[str] | None = None,
) -> Iterator[Running]:
    """Serve a model, or, with None, a server whose model is still being loaded."""
    service = Service(MODEL, limits=limits or Limits(), fetcher=fetcher or Fetcher())
    if predictor is not None:
        service.start(predictor.model, predictor.processor)
    config = uvicorn.Config(
        make_app(service, keys=keys, hosts=hosts),
        log_level="warning",
        access_log=False,
        lifespan="off",
        ws="none",
        http="h11",
        timeout_graceful_shutdown=5,
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.005)
        try:
            yield Running(service, listener.getsockname()[1])
        finally:
            server.should_exit = True
            thread.join()
            service.close()


def picture(seed: int = 0, size_wh: tuple[int, int] = (64, 48)) -> Image.Image:
    """A picture of noise."""
    rng = np.random.default_rng(seed)
    return Image.fromarray(rng.integers(0, 256, size=(size_wh[1], size_wh[0], 3), dtype=np.uint8))


def data_url(image: Image.Image | bytes) -> str:
    content = image
    if isinstance(content, Image.Image):
        buffer = io.BytesIO()
        content.save(buffer, "png")
        content = buffer.getvalue()
    return "data:image/png;base64," + base64.b64encode(content).decode()


def question(text: str, *, image: Image.Image | bytes | str | None = None, **settings: Any) -> dict[str, Any]:
    """The body of a request with one question, about a picture or the address of one."""
    content: list[dict[str, Any]] = [{"type": "text", "text": text}]
    if image is not None:
        url = image if isinstance(image, str) else data_url(image)
        content.insert(0, {"type": "image_url", "image_url": {"url": url}})
    body = {"model": MODEL, "messages": [{"role": "user", "content": content}], "max_tokens": 12}
    return {**body, **settings}
