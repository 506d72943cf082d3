"""A client of OpenAI-compatible chat servers: one request, tried again where that can help."""

from __future__ import annotations

import base64
import io
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image

from mustela.errors import ConfigError, MustelaError

_RETRIED = frozenset({408, 409, 425, 429, 500, 502, 503, 504})


class RequestError(MustelaError):
    """A server gave no usable answer."""


@dataclass(frozen=True)
class Reply:
    """A server's answer and the tokens that it counted."""

    text: str
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class ChatClient:
    """Asks a chat server.

    `address` is what stands before `/chat/completions`, such as `http://localhost:8000/v1`; `wait` is called
    with the seconds between two tries.
    """

    address: str
    model: str
    key: str | None = None
    timeout: float = 120.0
    tries: int = 4
    wait: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        """Refuse an address that isn't http."""
        if not self.address.startswith(("http://", "https://")):
            raise ConfigError(f"{self.address!r} is no address: it starts with http:// or https://.")

    def ask(
        self, messages: Sequence[Mapping[str, Any]], *, max_tokens: int, temperature: float = 0.0
    ) -> Reply:
        """Return the answer to messages.

        Refused connections, overload and errors of the server are tried again, each time after twice as long;
        a refused request is not. Raises RequestError.
        """
        body = {
            "model": self.model,
            "messages": list(messages),
            "max_tokens": max_tokens,
            "temperature": temperature,
        }
        trouble = ""
        for attempt in range(self.tries):
            if attempt:
                self.wait(0.5 * 2**attempt)
            try:
                return self._once(body)
            except urllib.error.HTTPError as error:
                trouble = f"status {error.code}: {error.read(300).decode('utf-8', 'replace')}"
                if error.code not in _RETRIED:
                    break
            except (OSError, TimeoutError) as error:
                trouble = str(error)
            except (KeyError, IndexError, TypeError, ValueError) as error:
                trouble = f"an answer that is no chat completion ({error!r})"
                break
        raise RequestError(f"{self.address} gave no answer: {trouble}.")

    def _once(self, body: Mapping[str, Any]) -> Reply:
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(
            self.address.rstrip("/") + "/chat/completions", json.dumps(body).encode(), headers
        )
        with urllib.request.urlopen(request, timeout=self.timeout) as response:
            answer = json.loads(response.read())
        usage = answer.get("usage") or {}
        return Reply(
            text=answer["choices"][0]["message"]["content"] or "",
            prompt_tokens=int(usage.get("prompt_tokens", 0)),
            completion_tokens=int(usage.get("completion_tokens", 0)),
        )


def user_message(text: str, images: Sequence[Image.Image] = ()) -> dict[str, Any]:
    """Return a user's message with pictures in front of its text."""
    if not images:
        return {"role": "user", "content": text}
    shown = [{"type": "image_url", "image_url": {"url": _data_uri(image)}} for image in images]
    return {"role": "user", "content": [*shown, {"type": "text", "text": text}]}


def _data_uri(image: Image.Image) -> str:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
